"""Namespaces made, named and unpinned."""

from __future__ import annotations

from errno import EINTR

from ._call import (
    SLASH,
    allocate,
    call,
    decode,
    directories,
    directory,
    encode,
    encode_name,
    ffi,
    lib,
    native,
)
from ._errors import Error, ExistsError, NotFoundError, from_native
from ._handle import NetNS, from_pid, open, open_name, opened
from ._lazy import _types as t


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
    return opened(lib.netns_new)


def create(name: str, *, exist_ok: bool = False, rundir: t.Optional[t.Directory] = None) -> NetNS:
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
    encoded, where = encode_name(name), directory(rundir)
    while True:
        try:
            return open_name(lib.netns_create, where, encoded)
        except ExistsError:
            if not exist_ok:
                raise
        try:
            return open(name, rundir=rundir)
        except FileNotFoundError:
            # Somebody deleted it in between, or its creator has not bound it yet.
            from time import sleep

            sleep(0.01)


def attach(name: str, pid: int, *, rundir: t.Optional[t.Directory] = None) -> NetNS:
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
    Privilege: as `from_pid` and `NetNS.pin`.
    Since: Linux 4.9. Source: ip-netns(8), proc_pid_ns(5).
    """
    encoded, where = encode_name(name), directory(rundir)
    ns = from_pid(pid)
    try:
        call(lib.netns_pin, native(ns), where, encoded)
        ns._name, ns._where = decode(encoded), decode(where)
    except BaseException:
        ns.close()
        raise
    return ns


def delete(*targets: t.Target, rundir: t.Optional[t.Directory] = None) -> None:
    """Unpin names or paths; each namespace lives until its last user is gone.

    Args:
        targets: each as for `open`. All are tried, even if one fails. Many
            names at once cost less than one by one: they share the kernel's
            grace periods.
        rundir: the run directory, as for `open`, which looks up names the same
            way.

    Raises:
        NotFoundError: nothing is there.
        NotNamespaceError: no network namespace is mounted there. Nothing was
            touched. What a creator left is removed all the same: an empty file
            at a name, or the file of `NetNS.pin` at a path. Of a name that is
            a link the link is removed, and never its target.
        NotPermittedError: see below.
        InvalidTypeError, InvalidValueError: no target; nothing was deleted.
        (The first of several errors; the others are in its ``others``.)

    Thread: any. Waits while another process holds the directory's lock.
    Privilege: CAP_SYS_ADMIN over the mount namespace; write access to the
        directory.
    Since: Linux 4.9. Source: ip-netns(8), umount(2).
    """
    where, *others = directories(rundir)
    failed = _delete(where, list(dict.fromkeys(encode(target) for target in targets)))
    for other in others:  # names that are not the user's own
        missing = [
            target
            for target, error in failed.items()
            if SLASH not in target and isinstance(error, NotFoundError)
        ]
        for target in missing:
            del failed[target]
        failed.update(_delete(other, missing))
    errors = list(failed.values())
    if errors:
        errors[0].others = tuple(errors[1:])
        raise errors[0]


def _delete(where: bytes, left: list[bytes]) -> dict[bytes, Error]:
    """Those that could not be deleted."""
    failed: dict[bytes, Error] = {}
    if len(left) == 1:
        try:
            call(lib.netns_delete, where, left[0])
        except Error as error:
            failed[left[0]] = error.with_traceback(None)
        return failed
    while left:
        texts = [ffi.new("char[]", target) for target in left]
        results = allocate("struct netns_error[]", len(left))
        lib.netns_delete_many(where, ffi.new("char *[]", texts), len(left), results)
        tried = list(zip(left, results))
        failed.update(
            (target, from_native(result.err, result.step, ffi.string(result.path)))
            for target, result in tried
            if result.err not in (0, EINTR)
        )
        left = [target for target, result in tried if result.err == EINTR]
        if left:
            lib.netns__wait_on()
    return failed
