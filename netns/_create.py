"""Namespaces made, named and unpinned."""

from __future__ import annotations

from errno import EINTR

from ._errors import Error, ExistsError, from_native, wrong_value
from ._handle import NetNS, allocate, call, directory, encode, from_pid, open
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._handle import Directory, Target


def new() -> NetNS:
    """A new namespace without a name.

    It is gone with its last handle, thread and socket, so also when the
    process is killed. Its loopback device is down, as in every new namespace.

    Returns:
        A handle.

    Raises:
        NotPermittedError: see below.
        RestoreError: the thread could not be brought home.
        KernelError: ENOSPC where user.max_net_namespaces is reached; no
            descriptor, memory or thread left.

    Thread: the calling thread is inside for one native call; where it could
        not come home, one made for it goes.
    Privilege: CAP_SYS_ADMIN in the thread's user namespace.
    Since: Linux 4.9. Source: unshare(2), network_namespaces(7).
    """
    return NetNS._new()


def checked(name: str) -> bytes:
    """A name as the core takes it."""
    encoded = encode(name)
    if b"/" in encoded:
        raise wrong_value("a name has no '/'", name)
    return encoded


def create(name: str, *, exist_ok: bool = False, rundir: Directory | None = None) -> NetNS:
    """A new namespace with a name, as ``ip netns add`` makes it.

    Args:
        name: 1 to 255 bytes, without ``/`` and NUL, not ``.`` or ``..``.
        exist_ok: open the namespace of that name if there is one.
        rundir: the run directory, as for `open`.

    Returns:
        A handle. The name stays until `delete`, or ``ip netns delete``.

    Raises:
        ExistsError: the name is taken.
        InvalidTypeError, InvalidValueError: not a name.
        NotPermittedError: see below.
        KernelError: ENOSPC where user.max_net_namespaces or fs.mount-max is
            reached; no descriptor, memory or thread left.

    Thread: as `new`. Waits while another process holds the run directory's
        lock.
    Privilege: CAP_SYS_ADMIN, also over the mount namespace; write access to
        the run directory, which is made where it is missing.
    Since: Linux 4.9. Source: ip-netns(8).
    """
    encoded = checked(name)
    where = directory(rundir)
    while True:
        try:
            return NetNS._create(where, encoded)
        except ExistsError:
            if not exist_ok:
                raise
        try:
            return open(name, rundir=rundir)
        except FileNotFoundError:
            # Deleted in between, or another's that is not bound over yet.
            from time import sleep

            sleep(0.01)


def attach(name: str, pid: int, *, rundir: Directory | None = None) -> NetNS:
    """Give the namespace of a process a name, as ``ip netns attach`` does.

    Args:
        name: as for `create`.
        pid: a process id in the caller's pid namespace.
        rundir: the run directory, as for `open`.

    Returns:
        A handle. The namespace outlives the process until `delete`.

    Raises:
        ExistsError: the name is taken.
        NotFoundError: no such process.
        NotPermittedError: see below.
        InvalidTypeError, InvalidValueError: not a name, or not an int from 1.
        KernelError: ENOSPC where fs.mount-max is reached, and the like.

    Thread: any. Waits while another process holds the run directory's lock.
    Privilege: that of `from_pid` and of `NetNS.pin`.
    Since: Linux 4.9. Source: ip-netns(8), proc_pid_ns(5).
    """
    encoded, where = checked(name), directory(rundir)
    ns = from_pid(pid)
    try:
        ns._set_name(where, encoded)
        call(lib.netns_pin, ns._cell[0], where, encoded)
    except BaseException:
        ns.close()
        raise
    return ns


def delete(*targets: Target, rundir: Directory | None = None) -> None:
    """Unpin names or paths; each namespace lives on until its last user is gone.

    Args:
        targets: each as for `open`. All are tried, also behind one that fails.
            Many names cost less at once than one by one: they share the
            kernel's waiting.
        rundir: the run directory, as for `open`.

    Raises:
        NotFoundError: nothing is there.
        NotNamespaceError: no network namespace is mounted there. It was not
            touched. Not for a name's leftover file, which is removed.
        NotPermittedError: see below.
        InvalidTypeError, InvalidValueError: no target; nothing was deleted.
        (Of several errors the first one; the others are in its ``others``.)

    Thread: any. Waits while another process holds the directory's lock.
    Privilege: CAP_SYS_ADMIN over the mount namespace; write access to the
        directory.
    Since: Linux 4.9. Source: ip-netns(8), umount(2).
    """
    where = directory(rundir)
    left = list(dict.fromkeys(encode(target) for target in targets))
    if len(left) == 1:
        call(lib.netns_delete, where, left[0])
        return
    errors: list[Error] = []
    while left:
        texts = [ffi.new("char[]", target) for target in left]
        results = allocate("struct netns_error[]", len(left))
        lib.netns_delete_many(where, ffi.new("char *[]", texts), len(left), results)
        tried = list(zip(left, results))
        errors += [
            from_native(result.err, result.step, ffi.string(result.path))
            for _, result in tried
            if result.err not in (0, EINTR)
        ]
        left = [target for target, result in tried if result.err == EINTR]
    if errors:
        errors[0].others = tuple(errors[1:])
        raise errors[0]
