"""The exceptions, and the one map from a native error to an exception."""

from __future__ import annotations

import errno as _errno
import os

from ._lazy import _types as t
from ._native import ffi, hand_over, lib


class Error(Exception):
    """The base class of this library's errors.

    Attributes:
        errno: the kernel's error number (int).
        step: the step that failed, in words (str).
        path: the path or name concerned (str), or None.
        others: the further errors of an operation on several (`delete`).

    Each kind is also the built-in exception that fits: ``except
    FileNotFoundError`` works as with the standard library.
    """

    errno: t.Optional[int]

    def __init__(self, errno: int, step: str, path: t.Optional[str] = None, why: str = "") -> None:
        super().__init__(errno, why or os.strerror(errno), path)
        self.errno = errno
        self.step = step
        self.path = path
        self.others: tuple[Error, ...] = ()
        self._why = why

    def __str__(self) -> str:
        text = f"{self.step}: {self._why or self.args[1]}"
        return text if self.path is None else f"{text}: {self.path!r}"

    def __reduce__(self) -> tuple[type[Error], tuple[t.Any, ...], dict[str, t.Any]]:
        args = (self.errno, self.step, self.path, self._why)
        return type(self), args, {"others": self.others}


class NotFoundError(Error, FileNotFoundError):
    """No such name, path, process or thread.

    Also raised for a name that its creator has not bound yet. Not raised for a
    file of another kind: that is NotNamespaceError.
    """


class ExistsError(Error, FileExistsError):
    """The name or path is taken. Nothing was made or changed."""


class NotNamespaceError(Error, OSError):
    """The target exists, but is not a network namespace. It was not opened for use.

    Also raised for a run directory that is no directory.
    """


class NotPermittedError(Error, PermissionError):
    """A capability or permission is missing; the message says which.

    The thread has not moved. Not raised if a body lost the right to return:
    that is RestoreError.
    """


class ClosedError(Error, ValueError):
    """The handle was closed before the operation began.

    Never raised in the middle of an operation: one that is under way has the
    namespace to its end. Also raised (ESTALE) if other code has closed
    or replaced the handle's descriptor, as a daemon that closes all of them does.
    """


class OrderError(Error, RuntimeError):
    """A guard was left out of order, on another thread, or twice, or entered twice.

    Out of order: all guards of the thread are void and it is at its outermost
    home. On another thread: the guard's own goes home when it leaves the guard
    (by the end of its body or by ``close()``), or before, at its next use of the
    library. What only reads a handle (``ino``, ``name``, ``closed``, ``fileno()``,
    ``==``, `repr`), ``guard.active`` and closing a handle are no such uses.
    Twice: nothing has changed.
    """


class RestoreError(Error, OSError):
    """The thread could not be brought home, or could not earlier and is used again.

    The body's own exception is its ``__context__``. The thread is still in
    the body's namespace: end the thread or the process. Not raised for a failure
    before the thread left.
    """


class InvalidValueError(Error, ValueError):
    """A name, pid, thread id or descriptor that cannot be one."""


class InvalidTypeError(Error, TypeError):
    """An argument of the wrong type."""


class KernelError(Error, OSError):
    """Any other refusal of the kernel: no descriptor, memory or space left, and so on."""


_BY_STEP = {
    lib.NETNS_STEP_CHECK_STRANDED: RestoreError,
    lib.NETNS_STEP_RETURN: RestoreError,
    lib.NETNS_STEP_CHECK_ORDER: OrderError,
    lib.NETNS_STEP_USE_HANDLE: ClosedError,
    lib.NETNS_STEP_CHECK_ARGUMENT: InvalidValueError,
}
_BY_ERRNO = {
    _errno.ENOENT: NotFoundError,
    _errno.ESRCH: NotFoundError,
    _errno.EEXIST: ExistsError,
    _errno.EPERM: NotPermittedError,
    _errno.EACCES: NotPermittedError,
}
_NOT_A_NAMESPACE = {
    lib.NETNS_STEP_CHECK_TYPE: {_errno.EINVAL},
    lib.NETNS_STEP_OPEN_TARGET: {_errno.EBADF, _errno.ENOTDIR, _errno.ELOOP, _errno.ENXIO},
    lib.NETNS_STEP_OPEN_SOCKET: {_errno.EBADF, _errno.ENOTSOCK},
    lib.NETNS_STEP_OPEN_RUNDIR: {_errno.ENOTDIR, _errno.ELOOP},
}
_TOO_OLD = {
    (lib.NETNS_STEP_OPEN_SOCKET, _errno.ENOTTY): (
        "this kind of socket or kernel does not tell (needs Linux 4.10)"
    ),
    (lib.NETNS_STEP_ASK_COOKIE, _errno.ENOPROTOOPT): "this kernel has none (needs Linux 5.14)",
}
_WHY = {
    lib.NETNS_STEP_CHECK_ARGUMENT: "not a name (1 to 255 bytes, no '/', not '.' or '..') or path",
    lib.NETNS_STEP_CHECK_STRANDED: "this thread could not be brought home earlier",
    lib.NETNS_STEP_CHECK_ORDER: "not the innermost guard of this thread",
    lib.NETNS_STEP_USE_HANDLE: "the handle is closed",
    lib.NETNS_STEP_CHECK_TYPE: "not a network namespace",
    lib.NETNS_STEP_CHECK_MOUNTS: "the thread has mounts of its own: no other would see the name",
}
_LOST = "other code has closed or replaced its descriptor"
_IGNORED = "is set, but programs with set-user-ID or file capabilities do not use it"
_NEEDS = {
    lib.NETNS_STEP_CHECK_RETURN: "CAP_SYS_ADMIN in the user namespace that owns home",
    lib.NETNS_STEP_ENTER: "CAP_SYS_ADMIN in the user namespace that owns the target; one of "
    "your own, as a rootless container's, is joined first by `netns exec` and by "
    "`nsenter --user --net --preserve-credentials`",
    lib.NETNS_STEP_MAKE_SOCKET: "CAP_NET_RAW in the user namespace that owns the target",
    lib.NETNS_STEP_UNSHARE: "CAP_SYS_ADMIN in the thread's user namespace",
    lib.NETNS_STEP_OPEN_TARGET: "CAP_SYS_PTRACE over the process, or search permission",
    lib.NETNS_STEP_OPEN_HOME: "a readable /proc",
    lib.NETNS_STEP_MAKE_RUNDIR: "write access to its parent (CAP_DAC_OVERRIDE), or a run "
    "directory of your own: set NETNS_RUN_DIR",
    lib.NETNS_STEP_OPEN_RUNDIR: "read access (CAP_DAC_READ_SEARCH)",
    lib.NETNS_STEP_SHARE_RUNDIR: "CAP_SYS_ADMIN over the mount namespace, or a run directory of "
    "your own: set NETNS_RUN_DIR",
    lib.NETNS_STEP_MAKE_MOUNT_POINT: "write access to the directory (CAP_DAC_OVERRIDE), or a "
    "run directory of your own: set NETNS_RUN_DIR",
    lib.NETNS_STEP_BIND: "CAP_SYS_ADMIN over the mount namespace",
    lib.NETNS_STEP_UNMOUNT: "CAP_SYS_ADMIN over the mount namespace",
    lib.NETNS_STEP_JOIN_OWNER: "CAP_SYS_ADMIN in the user namespace that owns the target",
    lib.NETNS_STEP_UNSHARE_MOUNTS: "CAP_SYS_ADMIN",
    lib.NETNS_STEP_MOUNT_SYSFS: "CAP_SYS_ADMIN in the user namespace that owns the namespace; in "
    "one that is not the host's also a /sys of which no part is covered",
    lib.NETNS_STEP_BIND_CONFIGURATION: "CAP_SYS_ADMIN",
    lib.NETNS_STEP_UNLINK: "write access to the directory (CAP_DAC_OVERRIDE)",
    lib.NETNS_STEP_OPEN_SOCKET: "CAP_NET_ADMIN in the user namespace that owns the socket's",
    lib.NETNS_STEP_SET_NSID: "CAP_NET_ADMIN in the user namespace that owns the thread's",
}
_LIMITS = {  # what ENOSPC means there
    lib.NETNS_STEP_UNSHARE: "the sysctl user.max_net_namespaces",
    lib.NETNS_STEP_UNSHARE_MOUNTS: "the sysctl user.max_mnt_namespaces",
    lib.NETNS_STEP_BIND: "the sysctl fs.mount-max",
}


def step_text(step: int) -> str:
    return str(ffi.string(lib.netns_step_text(step)).decode())


def _lock_holders(path: bytes) -> str:
    """Who holds the flock(2) of a directory, as lslocks(8) tells it."""
    holders = []
    try:
        ino = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            for line in locks:
                # 1: FLOCK  ADVISORY  WRITE 1234 00:19:5678 0 EOF
                fields = line.split()
                if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(ino):
                    holders.append(_process_name(fields[4]))
    except (OSError, IndexError):
        pass
    return f"held by {', '.join(holders) or 'a process that is not shown here'}"


def _process_name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return f"process {pid} ({comm.read().strip()})"
    except OSError:
        return f"process {pid}"


def from_native(errno: int, step: int, path: bytes) -> Error:
    """The exception for a failed native call."""
    kind: type[Error]
    why = _TOO_OLD.get((step, errno), "")
    if step in _BY_STEP and errno != _errno.ENAMETOOLONG:
        kind = _BY_STEP[step]
        why = _WHY.get(step, "")
    elif errno in _NOT_A_NAMESPACE.get(step, ()):
        kind = NotNamespaceError
        why = _WHY.get(step, "")
    else:
        kind = _BY_ERRNO.get(errno, KernelError)
    if errno == _errno.ESTALE and kind in (ClosedError, RestoreError):
        why = _LOST
    elif errno == _errno.EXDEV:
        why = _WHY.get(step, "")
    elif errno == _errno.ETIMEDOUT and step == lib.NETNS_STEP_LOCK_RUNDIR:
        why = f"{os.strerror(errno)}: {_lock_holders(path)}"
    elif errno == _errno.EPERM and path == b"NETNS_RUN_DIR":
        why = _IGNORED
    elif kind is NotPermittedError and step in _NEEDS:
        why = f"{os.strerror(errno)} (needs {_NEEDS[step]})"
    if errno == _errno.ENOSPC and step in _LIMITS:
        why = f"{os.strerror(errno)}: the limit is reached ({_LIMITS[step]})"
    return kind(errno, step_text(step), os.fsdecode(path) if path else None, why)


def check(result: int, error: t.Any) -> int:
    """Returns the result of a native call, or raises its error."""
    if result < 0:
        raise from_native(error.err, error.step, ffi.string(error.path))
    return result


def closed(errno: int = _errno.EBADF) -> Error:
    return from_native(errno, lib.NETNS_STEP_USE_HANDLE, b"")


def wrong_type(what: str, value: object) -> InvalidTypeError:
    return InvalidTypeError(
        _errno.EINVAL,
        step_text(lib.NETNS_STEP_CHECK_ARGUMENT),
        None,
        f"{what}, not {type(value).__name__}",
    )


def wrong_value(what: str, value: object) -> InvalidValueError:
    return InvalidValueError(
        _errno.EINVAL, step_text(lib.NETNS_STEP_CHECK_ARGUMENT), str(value), what
    )


hand_over("netns.from_native", from_native)
hand_over("netns.wrong_type", wrong_type)
