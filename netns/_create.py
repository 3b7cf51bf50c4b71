"""Namespaces made, named and unpinned."""

from __future__ import annotations

from ._errors import Error, ExistsError, wrong_value
from ._handle import NetNS, call, encode, open, opened, run_directory
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._handle import Target


def new() -> NetNS:
    """A new namespace without a name.

    It is gone with its last handle, thread and socket, so also when the
    process is killed. Its loopback device is down, as in every new namespace.

    Returns:
        A handle.

    Raises:
        NotPermittedError: see below.
        KernelError: ENOSPC where user.max_net_namespaces is reached; no
            descriptor, memory or thread left.

    Thread: no thread of the caller's moves; one made for it does.
    Privilege: CAP_SYS_ADMIN in the thread's user namespace.
    Since: Linux 3.0. Source: unshare(2), network_namespaces(7).
    """
    return opened(lib.netns_new)


def create(name: str, *, exist_ok: bool = False) -> NetNS:
    """A new namespace with a name, as ``ip netns add`` makes it.

    Args:
        name: 1 to 255 bytes, without ``/`` and NUL, not ``.`` or ``..``.
        exist_ok: open the namespace of that name if there is one.

    Returns:
        A handle. The name stays until `delete`, or ``ip netns delete``.

    Raises:
        ExistsError: the name is taken.
        InvalidTypeError, InvalidValueError: not a name.
        NotPermittedError: see below.
        KernelError: ENOSPC where user.max_net_namespaces or fs.mount-max is
            reached; no descriptor, memory or thread left.

    Thread: no thread of the caller's moves. Waits while another process holds
        the run directory's lock.
    Privilege: CAP_SYS_ADMIN, also over the mount namespace; write access to
        the run directory, which is made where it is missing.
    Since: Linux 3.0. Source: ip-netns(8).
    """
    encoded = encode(name)
    if b"/" in encoded:
        raise wrong_value("a name has no '/'", name)
    path = f"{run_directory()}/{name}"
    while True:
        try:
            return opened(lib.netns_create, ffi.NULL, encoded, name=name, path=path)
        except ExistsError:
            if not exist_ok:
                raise
        try:
            return open(name)
        except FileNotFoundError:
            continue  # deleted in between


def delete(*targets: Target) -> None:
    """Unpin names or paths; each namespace lives on until its last user is gone.

    Args:
        targets: each as for `open`. All are tried, also behind one that fails.

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
    Since: Linux 3.0. Source: ip-netns(8), umount(2).
    """
    errors: list[Error] = []
    for encoded in [encode(target) for target in targets]:
        try:
            call(lib.netns_delete, ffi.NULL, encoded)
        except Error as error:
            errors.append(error)
    if errors:
        errors[0].others = tuple(errors[1:])
        raise errors[0]
