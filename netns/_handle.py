"""NetNS: a handle on a network namespace, and the ways to get one."""

from __future__ import annotations

from errno import ENOTTY
from sys import modules

from ._call import (
    SLASH,
    call,
    decode,
    directories,
    directory,
    encode,
    ffi,
    lib,
    native,
    number,
    slot,
)
from ._errors import KernelError, NotFoundError, NotPermittedError, closed, wrong_type
from ._lazy import Lazy
from ._lazy import _types as t
from ._native import REFUSED, Guard, Handle, do_inside, forget_host, guard, hand_over
from ._switch import check_function, watch_for_await

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import _asyncio, _executor, _process, _socket, _threads
else:  # they import modules that are slow to import
    _asyncio = Lazy("netns._asyncio")
    _executor = Lazy("netns._executor")
    _process = Lazy("netns._process")
    _socket = Lazy("netns._socket")
    _threads = Lazy("netns._threads")


class NetNS(Handle):
    """A handle on a network namespace; the namespace lives while it is open.

    `current`, `new`, `create`, `open` and the ``from_`` functions make one.
    ``with ns:`` closes it at the end, as with files; dropping an open handle
    warns `ResourceWarning`. Threads may share a handle, and any of them may close
    it at any time. Two open handles are equal if they are on the same namespace;
    a closed one equals only itself.
    """

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        raise wrong_type("a handle is made by netns.open(), netns.new() and the like", self)

    # Running code inside

    def do(
        self,
        fn: t.Callable[t.Concatenate[NetNS, t.P], t.T],
        /,
        *args: t.P.args,
        **kwargs: t.P.kwargs,
    ) -> t.T:
        """Call ``fn(host, *args, **kwargs)`` inside and return its result.

        Args:
            fn: an ordinary callable. `host` is the namespace that the caller
                was in: a handle that is borrowed (closing it does nothing) and
                valid for as long as it is referenced.

        Returns:
            What fn returns.

        Raises:
            ClosedError: the handle is closed.
            InvalidTypeError: fn is a coroutine, generator or async generator
                function, whose body would run later, outside.
            NotPermittedError: the target may not be entered.
            RestoreError: the thread could not be brought home.
            Whatever fn raises; the thread is home by then.

        Thread: the calling thread alone moves; threads that fn starts begin
            inside and stay there. Where the thread would not be allowed to
            return (home is owned by a user namespace in which it may do
            nothing), fn runs on a thread made for it instead, with the
            caller's context variables.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.
        Since: Linux 4.9.
        Source: setns(2), network_namespaces(7).
        """
        result: t.T = do_inside(self, fn, args, kwargs)
        return self._do_in_thread(fn, args, kwargs) if result is REFUSED else result

    def do_in_thread(
        self,
        fn: t.Callable[t.Concatenate[NetNS, t.P], t.T],
        /,
        *args: t.P.args,
        **kwargs: t.P.kwargs,
    ) -> t.T:
        """As `do`, on a thread made for it, which moves for good and ends.

        For a body that may leave its thread in a state unfit for others. The
        caller waits; its context variables are copied. A signal handler that
        raises in the caller ends the wait, not the body.

        If the namespace was opened or created by name and has files in
        ``/etc/netns/NAME``, they lie over those of /etc on this thread, as with
        ``ip netns exec``: host names are looked up as its resolv.conf says.
        (`do` can't do that: its thread has to come home.)

        Raises:
            As `do`, except RestoreError. RuntimeError: no thread can be started.

        Thread: the calling thread does not move.
        Privilege: as `do`.
        Since: Linux 4.9.
        Source: setns(2).
        """
        check_function(fn)
        return self._do_in_thread(fn, args, kwargs)

    def _do_in_thread(
        self, fn: t.Callable[..., t.T], args: tuple[t.Any, ...], kwargs: dict[str, t.Any]
    ) -> t.T:
        host = opened(lib.netns_current)
        host._borrowed = True
        return _threads.run_in_thread(self, fn, (host, *args), kwargs)

    def enter(self) -> Guard:
        """A context manager whose body runs inside: ``with ns.enter() as host:``.

        In a task of asyncio, ``async with ns.enter() as host:`` is the same for a
        body that awaits. Each of the task's steps between two awaits runs inside,
        and while it waits the event loop is at home. So does all that the body
        starts, to its own end, whether the body is over or not: tasks, by whatever
        makes them; callbacks (``call_soon``, ``call_later``); handlers of servers;
        async generators; subprocesses; jobs of ``to_thread``, and of
        ``run_in_executor`` with the default executor or another
        `ThreadPoolExecutor`, name look-ups among them, as
        ``/etc/netns/NAME/resolv.conf`` says; and what such jobs send back to the
        loop. It is the context (`contextvars`) that names the namespace. Nested
        bodies may be in other namespaces, or plain ``with`` bodies.

        Not covered: callbacks of ``add_reader``, of signals, and data callbacks
        of protocols run at home (tasks and callbacks that they make, inside), and
        so do names that uvloop's own ``create_connection`` looks up. Threads and
        pools that are used without the loop, as by ``anyio.to_thread``, stay where
        they were started. A body must not ``yield``: its consumer would be inside.

        Returns:
            A guard, whose ``__enter__`` moves the thread and gives `host` as
            for `do`, and whose ``__exit__`` brings it home. ``async with`` gives
            what the context named before as `host`.

        Raises (at the start of the body):
            ClosedError: the handle is closed.
            InvalidTypeError: ``async with`` where no task of an asyncio event
                loop runs (trio), or the loop's methods can't be replaced.
            NotPermittedError: the target may not be entered, or the thread
                would not be allowed to return (`do` uses another thread there).
        Raises (at its end):
            OrderError: another guard of this thread is still inside, or the
                guard is left on another thread, or in another context.
            RestoreError: the thread could not be brought home.

        Thread: a ``with`` body must end on the thread it began on and must not
            await: in between, everything else on that thread is inside. In
            asyncio's debug mode such an await is reported to the loop's
            exception handler, with the task and the line. Through a
            `contextlib.ExitStack` or another context manager written in Python
            the body ends at home as well, but a signal handler that raises while
            that one's own code runs may find the thread inside until the
            exception has been handled: use ``with`` itself where it may.
            ``async with``: the event loop's, during steps; one that cannot be
            entered any more is reported there as well, and not run. The handle
            may be closed in the body: contexts share a duplicate, one for all tasks.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.
        Since: Linux 4.9.
        Source: setns(2).

        >>> async with ns.enter():
        ...     reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        """
        if "asyncio.events" in modules:
            return watch_for_await(guard(self), 2)
        return guard(self)

    def do_async(
        self,
        fn: t.Callable[t.Concatenate[NetNS, t.P], t.Coroutine[t.Any, t.Any, t.T]],
        /,
        *args: t.P.args,
        **kwargs: t.P.kwargs,
    ) -> t.Coroutine[t.Any, t.Any, t.T]:
        """``await ns.do_async(fn, ...)``: `do` for coroutine functions, under asyncio.

        Awaits ``fn(host, *args, **kwargs)`` in ``async with ns.enter() as host:``;
        see `enter`.

        Args:
            fn: a coroutine function. `host` is as for `do`.

        Returns:
            A coroutine, which gives what fn returns.

        Raises:
            InvalidTypeError: fn is no coroutine function (at once).
            Whatever ``async with ns.enter()`` and fn raise.

        Thread: as `enter`. Privilege: as `enter`. Since: Linux 4.9.
        Source: setns(2).
        """
        _asyncio.check_coroutine_function(fn)
        return _asyncio.run(self, fn, args, kwargs)

    def executor(
        self,
        max_workers: t.Optional[int] = None,
        thread_name_prefix: str = "",
        initializer: t.Optional[t.Callable[..., object]] = None,
        initargs: tuple[t.Any, ...] = (),
    ) -> _executor.Executor:
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
        ns = self._duplicate()  # for workers that start after the handle was closed
        ns._borrowed = True
        return _executor.Executor(ns, max_workers, thread_name_prefix, initializer, initargs)

    def set(self) -> None:
        """Move the calling thread into the namespace for good.

        For a thread of your own that is to live there. Inside a body, the end of
        the body still brings the thread home.

        Raises:
            ClosedError: the handle is closed.
            NotPermittedError: the namespace may not be entered.

        Thread: the calling thread alone.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.
        Since: Linux 4.9.
        Source: setns(2).
        """
        call(lib.netns_set, native(self))
        forget_host()

    def is_current(self) -> bool:
        """Whether the calling thread is in this namespace.

        Returns:
            A bool.

        Raises:
            ClosedError: the handle is closed.
            KernelError: as `current`.

        Thread: the calling thread. Privilege: none. Since: Linux 4.9.
        Source: namespaces(7), proc_pid_ns(5).
        """
        self.fileno()  # of a closed handle, the numbers may be another's by now
        with current() as here:
            return here == self

    # Things that live inside

    def run(
        self,
        argv: t.Any,
        *,
        input: t.Any = None,
        capture_output: bool = False,
        timeout: t.Optional[float] = None,
        check: bool = False,
        **kwargs: t.Any,
    ) -> t.CompletedProcess[t.Any]:
        """As `subprocess.run`, with the child born inside, as ``ip netns exec`` gives it.

        Its /sys shows this namespace and, of a namespace opened or created by
        name, the files of ``/etc/netns/NAME`` lie over those of /etc: in a
        mount namespace of the child's own. What is mounted below /sys stays.
        What can't be set up (where a sandbox covers parts of /sys, or a file
        has nothing to lie over) stays as it was, with a `RuntimeWarning`. (For
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
        return _process.run(self, argv, input, capture_output, timeout, check, kwargs)

    def popen(self, argv: t.Any, **kwargs: t.Any) -> t.Popen[t.Any]:
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
        return _process.popen(self, argv, kwargs)

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> t.Socket:
        """A socket that lives in the namespace, for use from anywhere.

        Args:
            family, type, proto: as for `socket.socket`.

        Returns:
            A `socket.socket`, close-on-exec, which is the caller's to close. It
            keeps the namespace alive.

        Raises:
            ClosedError: the handle is closed.
            NotPermittedError: the target may not be entered, or such a socket
                not be made there.
            RestoreError: the thread could not be brought home.
            KernelError: no such family, type or protocol; no descriptor left.

        Thread: as `do`.
        Privilege: CAP_SYS_ADMIN in the user namespace that owns the target, and
            CAP_NET_RAW there for raw and packet sockets.
        Since: Linux 4.9. Source: socket(2), network_namespaces(7).
        """
        return _socket.make_inside(self, _socket.make_socket, family, type, proto)

    def create_connection(
        self,
        address: tuple[t.Optional[str], int],
        timeout: t.Any = ...,
        source_address: t.Optional[tuple[str, int]] = None,
        *,
        all_errors: bool = False,
    ) -> t.Socket:
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
        return _socket.create_connection(self, address, timeout, source_address, all_errors)

    def create_server(self, address: t.Any, **kwargs: t.Any) -> t.Socket:
        """As `socket.create_server`, inside the namespace.

        Connections that it accepts live there too.

        Args:
            address, kwargs: as there.

        Returns:
            A `socket.socket` that listens.

        Raises:
            What `do` and `socket.create_server` raise.

        Thread: as `do`. Privilege: as `do`. Since: Linux 4.9.
        Source: socket(2), bind(2), listen(2).
        """
        return _socket.make_inside(self, _socket.create_server, address, kwargs)

    # Facts

    def fileno(self) -> int:
        """The handle's own descriptor: an int, close-on-exec, valid until closed.

        Raises:
            ClosedError: the handle is closed, or its descriptor was, by other code.

        Thread: any. Privilege: none. Since: Linux 4.9. Source: setns(2).
        """
        fd: int = lib.netns_fd(native(self))
        if fd < 0:
            raise closed(-fd)
        return fd

    @property
    def path(self) -> t.Optional[str]:
        """The path it was opened or created by, or None."""
        if self._name is None or self._where is None:
            return self._where
        return f"{self._where.rstrip('/')}/{self._name}"

    @property
    def name(self) -> t.Optional[str]:
        """The name in the run directory it was opened or created by, or None."""
        return self._name

    @property
    def ino(self) -> int:
        """The namespace's inode number, also known after closing.

        It identifies the namespace as long as something keeps that alive: the
        kernel reuses the numbers of dead namespaces.
        """
        return int(lib.netns_ino(native(self)))

    @property
    def dev(self) -> int:
        """The device of the file system of namespaces (nsfs), as st_dev."""
        return int(lib.netns_dev(native(self)))

    @property
    def cookie(self) -> int:
        """The kernel's number for the namespace, which it never gives again.

        Anybody may ask from Linux 6.18 on. Before, a socket made inside tells it,
        which needs the right to enter the namespace unless the calling thread is
        in it. On a kernel that has none it raises `KernelError` (ENOPROTOOPT).
        `from_cookie` leads back. Since: Linux 5.14.
        """
        cookie = ffi.new("uint64_t *")
        call(lib.netns_cookie, native(self), cookie)
        return int(cookie[0])

    @property
    def owner_uid(self) -> t.Optional[int]:
        """The user id of the creator of the user namespace that owns this one.

        As the caller's user namespace maps it. None if the kernel does not tell:
        the owner is neither the caller's user namespace nor a descendant of it,
        or the kernel is an older one. Since: Linux 4.11.
        """
        try:
            return call(lib.netns_owner_uid, native(self))
        except NotPermittedError:
            return None
        except KernelError as error:
            if error.errno != ENOTTY:  # as before Linux 4.11
                raise
            return None

    @property
    def nsid(self) -> t.Optional[int]:
        """The id that the calling thread's namespace has for this one; None without.

        rtnetlink names the peers of devices by these ids. Setting it assigns an
        id for good; -1 lets the kernel choose. It raises `ExistsError` if there is
        one already or the id is in use, and needs CAP_NET_ADMIN over the calling
        thread's namespace. Since: Linux 4.9.
        """
        nsid = ffi.new("int32_t *")
        call(lib.netns_get_nsid, native(self), nsid)
        return None if nsid[0] < 0 else int(nsid[0])

    @nsid.setter
    def nsid(self, nsid: int) -> None:
        call(lib.netns_set_nsid, native(self), number(nsid, "an id", -1))

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
        label = self._name or self.path
        return (
            f"<{'closed ' if self.closed else ''}NetNS"
            f"{f' {label!r}' if label else ''} net:[{self.ino}]>"
        )

    # Keeping and closing it

    def pin(self, target: t.Target, *, rundir: t.Optional[t.Directory] = None) -> None:
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
        call(lib.netns_pin, native(self), directory(rundir), encode(target))

    def _duplicate(self) -> NetNS:
        """Another handle on the same namespace, safe beside a close() of this one."""
        return opened(lib.netns_dup, native(self), name=self._name, where=self._where)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return bool(lib.netns_is_closed(native(self)))

    def close(self) -> None:
        """Give the namespace up; the handle raises `ClosedError` from now on.

        Closing twice is fine, and closing the borrowed host of a body does nothing.
        A use under way on another thread goes on to its end in this namespace.

        Thread: any. Privilege: none. Since: any. Source: close(2).
        """
        self._close()

    def __enter__(self) -> NetNS:
        if self.closed:
            raise closed()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_new = NetNS.__new__


def opened(
    function: t.Callable[..., int],
    *args: t.Any,
    name: t.Optional[str] = None,
    where: t.Optional[str] = None,
) -> NetNS:
    """A handle that a native function fills. It exists first, so nothing can be lost.

    Args:
        where: the path it is opened by or, of a name, the run directory.
    """
    ns: NetNS = _new(NetNS)
    ns._name, ns._where = name, where
    call(function, *args, slot(ns))
    return ns


def open_name(function: t.Callable[..., int], where: bytes, encoded: bytes) -> NetNS:
    """A handle that a native function opens by a name in the run directory `where`."""
    return opened(function, where, encoded, name=decode(encoded), where=decode(where))


def current() -> NetNS:
    """The namespace of the calling thread.

    A process has no network namespace; its threads have. (``/proc/self/ns/net``
    is the main thread's.)

    Returns:
        A handle.

    Raises:
        KernelError: no descriptor left; ENOSYS with neither /proc nor the
            pidfd call of Linux 6.11.

    Thread: the calling thread. Privilege: none. Since: Linux 4.9.
    Source: namespaces(7), proc_pid_ns(5).
    """
    return opened(lib.netns_current)


def open(target: t.Target, *, rundir: t.Optional[t.Directory] = None) -> NetNS:
    """The namespace at a name or a path.

    Args:
        target: a name (a str without ``/``) in the run directory; or a path
            (a str with ``/``, or any os.PathLike).
        rundir: the run directory; None for $NETNS_RUN_DIR, else, for users
            who don't own /var/run, $XDG_RUNTIME_DIR/netns, else /run/netns. In
            the user's own directory names are made; they are looked up there
            and then in /run/netns, as ``ip netns`` has them.

    Returns:
        A handle.

    Raises:
        NotFoundError: nothing is there, or at a name only an empty file that
            somebody left. Links are followed.
        NotNamespaceError: the target is not a network namespace. FIFOs and
            devices are refused without being opened.
        NotPermittedError: it may not be opened.
        InvalidTypeError, InvalidValueError: target is neither.

    Thread: any. Privilege: search permission; for paths under /proc/PID that
        of ptrace(2) (CAP_SYS_PTRACE).
    Since: Linux 4.9. Source: ioctl_ns(2), ip-netns(8).
    """
    encoded = encode(target)
    if SLASH in encoded:
        return opened(lib.netns_open, ffi.NULL, encoded, where=decode(encoded))
    where, *others = directories(rundir)
    try:
        return open_name(lib.netns_open, where, encoded)
    except NotFoundError:
        for other in others:
            try:
                return open_name(lib.netns_open, other, encoded)
            except NotFoundError:
                continue
        raise


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
    where = f"/proc/{number(pid, 'a pid', 1)}/ns/net"
    return opened(lib.netns_from_pid, pid, where=where)


def from_thread(tid: int, pid: t.Optional[int] = None) -> NetNS:
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
    where = f"/proc/{pid or 'self'}/task/{tid}/ns/net"
    return opened(lib.netns_from_thread, pid or 0, tid, where=where)


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
    return opened(lib.netns_from_fd, number(fd, "a descriptor", 0))


def from_socket(sock: t.Descriptor) -> NetNS:
    """The namespace that a socket lives in.

    Args:
        sock: a socket object, or its descriptor. It stays the caller's.

    Returns:
        A handle.

    Raises:
        NotNamespaceError: the socket or the descriptor is closed, or it is none
            of a socket.
        NotPermittedError: see below.
        InvalidTypeError, InvalidValueError: neither a socket nor an int from 0.
        KernelError: ENOTTY, a kind of socket or a kernel that does not tell.

    Thread: any. Privilege: CAP_NET_ADMIN in the user namespace that owns the
        namespace.
    Since: Linux 4.10. Source: SIOCGSKNS, socket(7).
    """
    if isinstance(sock, int):
        return opened(lib.netns_from_socket, number(sock, "a descriptor", 0))
    fd = getattr(sock, "fileno", lambda: None)()
    if fd is None:
        raise wrong_type("a socket, or its descriptor", sock)
    return opened(lib.netns_from_socket, number(fd, "a descriptor", -1))  # -1: it is closed


def do(
    target: t.Target,
    fn: t.Callable[t.Concatenate[NetNS, t.P], t.T],
    /,
    *args: t.P.args,
    **kwargs: t.P.kwargs,
) -> t.T:
    """Open target, call ``fn(host, *args, **kwargs)`` inside, close, return its result.

    Args:
        target: as for `open`.
        fn: as for `NetNS.do`.

    Returns:
        What fn returns.

    Raises:
        What `open` and `NetNS.do` raise, and whatever fn raises.

    Thread: the calling thread. Privilege: as `NetNS.do`. Since: Linux 4.9.
    Source: setns(2).
    """
    check_function(fn)
    with open(target) as ns:
        return ns.do(fn, *args, **kwargs)


# _asyncio is imported no sooner than it is used.
hand_over("netns.begin_async", lambda ns: _asyncio.begin(ns))
