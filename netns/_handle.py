"""NetNS: a handle on a network namespace, and the ways to get one."""

from __future__ import annotations

import os
from errno import EINTR

from . import _switch
from ._errors import NotPermittedError, check, closed, wrong_type, wrong_value
from ._native import Guard, Handle, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio.subprocess
    import socket as sockets
    import subprocess
    from collections.abc import Callable, Coroutine
    from types import EllipsisType
    from typing import Any, Protocol, TypeVar, Union

    from typing_extensions import Concatenate, ParamSpec, Self

    from ._executor import Executor

    P = ParamSpec("P")
    T = TypeVar("T")
    Target = Union[str, "os.PathLike[str]"]
    Directory = Union[str, "os.PathLike[str]"]

    class Socket(Protocol):
        def fileno(self) -> int: ...


_LARGEST = 2**31 - 1  # pids, thread ids and descriptors are C ints


def encode(target: Target) -> bytes:
    """The target as the core takes it: with a '/' a path, without one a name."""
    if isinstance(target, str):  # asked first: the other question takes ten times as long
        path = target
    else:
        given: object = target.__fspath__() if isinstance(target, os.PathLike) else None
        if not isinstance(given, str):
            raise wrong_type("a target is a name (str) or a path (str, os.PathLike[str])", target)
        path = given if "/" in given else "./" + given
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise wrong_value("not encodable as a file name", ascii(path)) from None
    if b"\0" in encoded:
        raise wrong_value("a name or path has no NUL", path)
    return encoded


def directory(rundir: Directory | None) -> Any:
    """The run directory as the core takes it: NULL for that of its own rule."""
    if rundir is None:
        return ffi.NULL
    path: object = rundir.__fspath__() if isinstance(rundir, os.PathLike) else rundir
    if not isinstance(path, str):
        raise wrong_type("a run directory is a path (str, os.PathLike[str])", rundir)
    if not path:
        raise wrong_value("a run directory has a path", path)
    return encode(path)


def number(value: int, what: str, least: int) -> int:
    if not isinstance(value, int):
        raise wrong_type(f"{what} is an int", value)
    if not least <= value <= _LARGEST:
        raise wrong_value(f"{what} is from {least} to {_LARGEST}", value)
    return value


# Memory as it comes: what a native call leaves in it is written before it is read, and
# clearing a page for each path takes microseconds where the caches are cold.
allocate = ffi.new_allocator(should_clear_after_alloc=False)


def call(function: Callable[..., int], *args: Any) -> int:
    """One native call, begun again where a signal handler let it go on (PEP 475)."""
    error = allocate("struct netns_error *")
    result = function(*args, error)
    while result == -EINTR:
        result = function(*args, error)
    return check(result, error)


class NetNS(Handle):
    """A handle on a network namespace; the namespace lives while it is open.

    Made by `current`, `new`, `create`, `open` and the ``from_`` functions.
    ``with ns:`` closes it at the end, as with files; one that is dropped
    unclosed warns `ResourceWarning`. A handle may be shared by threads and
    closed by any of them at any time. Two open handles are equal if they are
    on the same namespace; a closed one equals only itself.
    """

    __slots__ = ("__weakref__", "_cell")

    _cell: Any  # the place of the native handle, which the base class owns

    def __init__(self) -> None:
        raise wrong_type("a handle is made by netns.open(), netns.new() and the like", self)

    # Where it is

    if TYPE_CHECKING:

        def do(
            self, fn: Callable[Concatenate[NetNS, P], T], /, *args: P.args, **kwargs: P.kwargs
        ) -> T: ...
    else:
        do = Handle.do  # in C: see its docstring there

    def do_in_thread(
        self, fn: Callable[Concatenate[NetNS, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `do`, on a thread made for it, which is moved for good and ends.

        For a body that may leave its thread in a state unfit for others. The
        caller waits; its context variables are copied. A signal handler that
        raises in the caller ends the wait, not the body.

        Of a namespace opened or created by name, the files of
        ``/etc/netns/NAME``, where there are any, lie over those of /etc on the
        thread, as with ``ip netns exec``: names are looked up as its
        resolv.conf says. (Not by `do`, whose thread has to come home.)

        Raises:
            As `do`, except RestoreError. RuntimeError: no thread can be started.

        Thread: the calling thread does not move.
        Privilege: as `do`.
        Since: Linux 4.9.
        Source: setns(2).
        """
        _switch.check_function(fn)
        return _switch.run_in_thread(self, fn, args, kwargs)

    if TYPE_CHECKING:

        def enter(self) -> Guard: ...
    else:
        enter = Handle.enter  # in C as well

    def do_async(
        self,
        fn: Callable[Concatenate[NetNS, P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, T]:
        """``await ns.do_async(fn, ...)``: `do` for coroutine functions, under asyncio.

        Each step of ``fn(host, *args, **kwargs)`` between two awaits runs
        inside; while it waits, the event loop is at home. Inside as well run
        the tasks that it makes, theirs, the clean-up of async generators that
        it drops, and what it sends to the loop's default executor:
        ``run_in_executor(None, ...)``, `asyncio.to_thread`, ``loop.getaddrinfo``
        (which use an executor of its own, that ends with it).

        Callbacks (``call_soon``, ``call_later``, those of protocols and
        futures) run at home, and with them the handlers of a server: sockets
        and connections are inside all the same, for they were made there. Not
        covered: threads and pools that the body starts by other means (anyio's
        ``to_thread`` among them) are born inside and stay there; uvloop's own
        ``create_connection`` looks names up at home; and a task that is still
        pending when it is dropped with its loop is closed wherever that happens
        (`asyncio.run` cancels them before).

        Args:
            fn: a coroutine function. `host` is as for `do`.

        Returns:
            A coroutine, which gives what fn returns. The handle may be closed
            once it runs.

        Raises:
            InvalidTypeError: fn is no coroutine function (at once).
            ClosedError: the handle is closed.
            NotPermittedError: the target may not be entered, or the thread
                could not come home (no other thread could drive the coroutine).
            OrderError: a ``with ns.enter()`` in the body awaited.
            RestoreError: the thread could not be brought home.
            Whatever fn raises.

        Thread: the event loop's, during steps.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.
        Since: Linux 4.9 (setns). Source: setns(2).
        """
        from . import _async

        _async.check_coroutine_function(fn)
        return _async.run(self, fn, args, kwargs)

    def executor(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Executor:
        """A `concurrent.futures.ThreadPoolExecutor` whose workers live in the namespace.

        Wherever a job is submitted from, also where that starts a worker; so
        ``loop.run_in_executor(ns.executor(), socket.getaddrinfo, ...)`` looks
        names up inside, as ``/etc/netns/NAME/resolv.conf`` says where there is
        one (see `do_in_thread`).

        Args:
            max_workers, thread_name_prefix, initializer, initargs: as there.

        Returns:
            The executor. It keeps the namespace until it is shut down, also
            when the handle is closed.

        Raises:
            ClosedError: the handle is closed.
            (Jobs: BrokenThreadPool where the worker could not enter.)

        Thread: any; its own ones move for good.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.
        Since: Linux 4.9. Source: setns(2).
        """
        from ._executor import Executor

        return Executor(self, max_workers, thread_name_prefix, initializer, initargs)

    def set(self) -> None:
        """Move the calling thread into the namespace for good.

        For threads of your own that shall live there. Inside a body, its end
        still brings the thread home.

        Raises:
            ClosedError: the handle is closed.
            NotPermittedError: the namespace may not be entered.

        Thread: the calling thread alone.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.
        Since: Linux 4.9.
        Source: setns(2).
        """
        call(lib.netns_set, self._cell[0])
        lib.netns__forget_host()

    # What lives in it

    def run(
        self,
        argv: Any,
        *,
        input: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """As `subprocess.run`, with the child born inside, as ``ip netns exec`` gives it.

        Its /sys shows this namespace and, of a namespace opened or created by
        name, the files of ``/etc/netns/NAME`` lie over those of /etc (one that
        /etc lacks is left out): in a mount namespace of the child's own. (For
        the network alone, call `subprocess.run` in `do`.)

        Args:
            argv, input, capture_output, timeout, check, kwargs: as there.

        Returns:
            A `subprocess.CompletedProcess`.

        Raises:
            ClosedError: the handle is closed.
            NotPermittedError: see below.
            What `subprocess.run` raises.

        Thread: the calling thread does not move. One made for it starts the
            child and ends: a child that asks to be killed with its parent
            (PR_SET_PDEATHSIG) would be killed at once.
        Privilege: CAP_SYS_ADMIN in the thread's user namespace, which must own
            the target.
        Since: Linux 4.9. Source: ip-netns(8), mount_namespaces(7).
        """
        from ._process import run

        return run(self, argv, input, capture_output, timeout, check, kwargs)

    def popen(self, argv: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        """As `subprocess.Popen`, with the child born inside, as by `run`.

        Args:
            argv, kwargs: as there.

        Returns:
            A `subprocess.Popen`.

        Raises:
            What `run` and `subprocess.Popen` raise. The child of a call that
            was interrupted is killed.

        Thread: as `run`. Privilege: as `run`. Since: Linux 4.9.
        Source: ip-netns(8), mount_namespaces(7).
        """
        from ._process import popen

        return popen(self, argv, kwargs)

    async def create_subprocess_exec(
        self,
        program: Any,
        *args: Any,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        limit: int = 65536,
        **kwds: Any,
    ) -> asyncio.subprocess.Process:
        """As `asyncio.create_subprocess_exec`, with the child born inside, as by `run`.

        The event loop runs on while the child is begun, and is at home; it
        needs no child watcher.

        Args:
            program, args, stdin, stdout, stderr, limit, kwds: as there.

        Returns:
            An `asyncio.subprocess.Process`.

        Raises:
            InvalidValueError: an option for text, for buffers or for a shell.
            What `popen` raises. When the call is cancelled, its child has been
            killed and waited for by the time that CancelledError is raised.

        Thread: the event loop's does not move; else as `run`. Privilege: as
            `run`.
        Since: Linux 4.9; from 5.3 on without a thread that waits for the child
            (pidfd_open).
        Source: ip-netns(8), mount_namespaces(7), pidfd_open(2).
        """
        from ._async_process import create

        pipes = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        return await create(self, [program, *args], limit, {**pipes, **kwds})

    if TYPE_CHECKING:

        def socket(self, family: int = -1, type: int = -1, proto: int = 0) -> sockets.socket: ...
    else:
        socket = Handle.socket  # in C: see its docstring there

    def create_connection(
        self,
        address: tuple[str | None, int],
        timeout: float | EllipsisType | None = ...,
        source_address: tuple[str, int] | None = None,
        *,
        all_errors: bool = False,
    ) -> sockets.socket:
        """As `socket.create_connection`, from inside the namespace.

        The host name is looked up inside, as by `do_in_thread`, and the
        connection waited for at home.

        Args:
            address, timeout, source_address, all_errors: as there. (all_errors
                needs Python 3.11. A timeout left out is the default timeout.)

        Returns:
            A `socket.socket`.

        Raises:
            What `do` and `socket` raise. OSError: of the last attempt to connect.

        Thread: as `do`. Privilege: as `do`. Since: Linux 4.9.
        Source: socket(2), connect(2).
        """
        from ._socket import create_connection

        return create_connection(self, address, timeout, source_address, all_errors)

    def create_server(
        self,
        address: tuple[str, int],
        *,
        family: int = -1,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> sockets.socket:
        """As `socket.create_server`, inside the namespace.

        Connections that it accepts live there too.

        Args:
            address, family, backlog, reuse_port, dualstack_ipv6: as there.

        Returns:
            A `socket.socket` that listens.

        Raises:
            What `do` and `socket.create_server` raise.

        Thread: as `do`. Privilege: as `do`. Since: Linux 4.9.
        Source: socket(2), bind(2), listen(2).
        """
        from ._socket import create_server

        return create_server(self, address, family, backlog, reuse_port, dualstack_ipv6)

    # What it is

    def fileno(self) -> int:
        """The handle's own descriptor: an int, close-on-exec, valid until closed.

        Raises:
            ClosedError: the handle is closed.

        Thread: any. Privilege: none. Since: Linux 4.9. Source: setns(2).
        """
        fd: int = lib.netns_fd(self._cell[0])
        if fd < 0:
            raise closed()
        return fd

    @property
    def path(self) -> str | None:
        """The path it was opened or created by, or None."""
        return self._path

    @property
    def name(self) -> str | None:
        """The name in the run directory it was opened or created by, or None."""
        return self._name

    @property
    def ino(self) -> int:
        """The namespace's inode number, known also after closing.

        It names the namespace while something keeps that alive: the kernel
        gives the numbers of dead namespaces to new ones.
        """
        return int(lib.netns_ino(self._cell[0]))

    @property
    def dev(self) -> int:
        """The device of the file system of namespaces (nsfs), as st_dev."""
        return int(lib.netns_dev(self._cell[0]))

    @property
    def cookie(self) -> int:
        """The kernel's number for the namespace, which none has had or will have.

        Asked of a socket made inside, on a thread made for it; the calling
        thread does not move. Needs Linux 5.14, and the right to enter the
        namespace unless the calling thread is in it.
        """
        cookie = ffi.new("uint64_t *")
        call(lib.netns_cookie, self._cell[0], cookie)
        return int(cookie[0])

    @property
    def owner_uid(self) -> int | None:
        """The user who made the user namespace that owns this one.

        As the caller's user namespace maps it. None where the kernel does not
        tell: the owner is neither the caller's user namespace nor one below.
        """
        try:
            return call(lib.netns_owner_uid, self._cell[0])
        except NotPermittedError:
            return None

    @property
    def nsid(self) -> int | None:
        """The id that the calling thread's namespace has for this one; None without.

        rtnetlink speaks of the peers of devices by these ids. Setting gives
        one, for good: `ExistsError` where there is one already or it is
        another's; -1 lets the kernel choose. Setting needs CAP_NET_ADMIN over
        the calling thread's namespace.
        """
        nsid = ffi.new("int32_t *")
        call(lib.netns_get_nsid, self._cell[0], nsid)
        return None if nsid[0] < 0 else int(nsid[0])

    @nsid.setter
    def nsid(self, nsid: int) -> None:
        call(lib.netns_set_nsid, self._cell[0], number(nsid, "an id", -1))

    def __getattr__(self, name: str) -> Any:
        # Made when it is asked for: most handles are opened, entered and closed.
        if name == "_cell":
            self._cell = ffi.cast("struct netns **", self._cell_address)
            return self._cell
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetNS):
            return NotImplemented
        if self is other:
            return True
        return (
            not self.closed and not other.closed and (self.dev, self.ino) == (other.dev, other.ino)
        )

    def __hash__(self) -> int:
        return hash((self.dev, self.ino))

    def __repr__(self) -> str:
        label = self._name or self._path
        return (
            f"<{'closed ' if self.closed else ''}NetNS"
            f"{f' {label!r}' if label else ''} net:[{self.ino}]>"
        )

    # How it is kept

    def pin(self, target: Target, *, rundir: Directory | None = None) -> None:
        """Give the namespace a name, or bind it at a path, so that it outlives its users.

        Args:
            target: a name (no ``/``) for the run directory, as `create` makes
                it; or a path (with ``/``, or an os.PathLike), whose file must
                not exist and whose directory must. `delete` undoes it.
            rundir: the run directory, where it is not the usual one.

        Raises:
            ClosedError: the handle is closed.
            ExistsError: the name or the file is there.
            InvalidTypeError, InvalidValueError: target cannot be one.
            NotFoundError: the path's directory is not there.
            NotPermittedError: see below.
            KernelError: ENOSPC where fs.mount-max is reached, and the like.

        Thread: any. Waits while another process holds the run directory's lock.
        Privilege: CAP_SYS_ADMIN over the mount namespace, and write access to
            the directory.
        Since: Linux 4.9; by descriptors alone from 5.2 (move_mount).
        Source: ip-netns(8), move_mount(2), mount(2).
        """
        call(lib.netns_pin, self._cell[0], directory(rundir), encode(target))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    if TYPE_CHECKING:

        def close(self) -> None: ...
    else:
        close = Handle.close  # in C: see its docstring there

    def __enter__(self) -> Self:
        if self.closed:
            raise closed()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def current() -> NetNS:
    """The namespace of the calling thread.

    Never that of the process, which has none: ``/proc/self/ns/net`` is that of
    its main thread.

    Returns:
        A handle.

    Raises:
        KernelError: no descriptor left; ENOSYS with neither /proc nor the
            pidfd call of Linux 6.11.

    Thread: the calling thread. Privilege: none. Since: Linux 4.9.
    Source: namespaces(7), proc_pid_ns(5).
    """
    return NetNS._current(False)


def open(target: Target, *, rundir: Directory | None = None) -> NetNS:
    """The namespace at a name or a path.

    Args:
        target: a name (a str without ``/``) in the run directory; or a path
            (a str with ``/``, or any os.PathLike).
        rundir: the run directory; None for $NETNS_RUN_DIR, else, for users
            who don't own /var/run, $XDG_RUNTIME_DIR/netns, else /run/netns.

    Returns:
        A handle.

    Raises:
        NotFoundError: nothing is there.
        NotNamespaceError: what is there is no network namespace. FIFOs and
            devices are refused without being opened, links as names too.
        NotPermittedError: it may not be opened.
        InvalidTypeError, InvalidValueError: target is neither.

    Thread: any. Privilege: search permission; for paths under /proc/PID that
        of ptrace(2) (CAP_SYS_PTRACE).
    Since: Linux 4.9. Source: ioctl_ns(2), ip-netns(8).
    """
    return NetNS._open(directory(rundir), encode(target))


def from_pid(pid: int) -> NetNS:
    """The namespace of a process's main thread.

    Args:
        pid: a process id in the caller's pid namespace.

    Returns:
        A handle.

    Raises:
        NotFoundError: no such process.
        NotPermittedError: its namespace may not be looked at.
        InvalidTypeError, InvalidValueError: pid is not an int from 1.

    Thread: any. Privilege: PTRACE_MODE_READ over it (CAP_SYS_PTRACE).
    Since: Linux 4.9. Source: proc_pid_ns(5), ptrace(2).
    """
    path = f"/proc/{number(pid, 'a pid', 1)}/ns/net"
    ns = NetNS._open_pid(pid)
    ns._path = path
    return ns


def from_thread(tid: int, pid: int | None = None) -> NetNS:
    """The namespace of one thread.

    Args:
        tid: the kernel's id of the thread (`threading.get_native_id`).
        pid: its process; None for the caller's own.

    Returns:
        A handle.

    Raises:
        NotFoundError: that process has no such thread.
        NotPermittedError: its namespace may not be looked at.
        InvalidTypeError, InvalidValueError: not ints from 1.

    Thread: any. Privilege: none for the caller's own threads; otherwise
        PTRACE_MODE_READ (CAP_SYS_PTRACE).
    Since: Linux 4.9. Source: proc_pid_task(5), ptrace(2).
    """
    number(tid, "a thread id", 1)
    if pid is not None:
        number(pid, "a pid", 1)
    path = f"/proc/{pid or 'self'}/task/{tid}/ns/net"
    ns = NetNS._open_thread(pid or 0, tid)
    ns._path = path
    return ns


def from_fd(fd: int) -> NetNS:
    """The namespace that a descriptor refers to.

    Args:
        fd: an open descriptor of a namespace file. It is duplicated, and stays
            the caller's to close.

    Returns:
        A handle.

    Raises:
        NotNamespaceError: the descriptor is closed, or of something else.
        InvalidTypeError, InvalidValueError: fd is not an int from 0.

    Thread: any. Privilege: none. Since: Linux 4.9. Source: ioctl_ns(2).
    """
    return NetNS._open_fd(number(fd, "a descriptor", 0))


def from_socket(sock: Socket | int) -> NetNS:
    """The namespace that a socket lives in.

    Args:
        sock: a socket object, or its descriptor. It stays the caller's.

    Returns:
        A handle.

    Raises:
        NotNamespaceError: the descriptor is closed, or no socket's.
        NotPermittedError: see below.
        InvalidTypeError, InvalidValueError: neither a socket nor an int from 0.
        KernelError: ENOTTY, a kind of socket or a kernel that does not tell.

    Thread: any. Privilege: CAP_NET_ADMIN in the user namespace that owns the
        namespace.
    Since: Linux 4.10. Source: SIOCGSKNS, socket(7).
    """
    fd = sock if isinstance(sock, int) else getattr(sock, "fileno", lambda: None)()
    if fd is None:
        raise wrong_type("a socket, or its descriptor", sock)
    return NetNS._open_socket(number(fd, "a descriptor", 0))
