"""Which namespaces there are."""

from __future__ import annotations

import os

from ._errors import NotFoundError, NotNamespaceError
from ._handle import call, open
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._handle import Target


def names() -> list[str]:
    """The names in the run directory, sorted.

    Only those behind which there is a network namespace: no leftover of a
    creator that died, no other file. Without a run directory there are none.

    Returns:
        A list of str, decoded as file names are.

    Raises:
        NotNamespaceError: the run directory is a file or a link.
        NotPermittedError: it may not be read.

    Thread: any. Privilege: read access to the run directory.
    Since: Linux 3.0. Source: ip-netns(8).
    """
    found = ffi.new("char **")
    size = ffi.new("size_t *")
    count = call(lib.netns_names, ffi.NULL, found, size)
    block = ffi.gc(found[0], lib.netns_free)
    if not count:
        return []
    return sorted(map(os.fsdecode, bytes(ffi.buffer(block, size[0] - 1)).split(b"\0")))


def check(path: Target) -> None:
    """Raise unless there is a network namespace at a path or name.

    Args:
        path: as for `open`.

    Raises:
        NotFoundError: nothing is there.
        NotNamespaceError: something else is.
        NotPermittedError: it may not be looked at.
        InvalidTypeError, InvalidValueError: it cannot be a path or a name.

    Thread: any. Privilege: search permission. Since: Linux 3.0.
    Source: ioctl_ns(2).
    """
    open(path).close()


def is_netns(path: Target) -> bool:
    """Whether there is a network namespace at a path or name.

    Args:
        path: as for `open`.

    Returns:
        False where `check` raises NotFoundError or NotNamespaceError.

    Raises:
        The other errors of `check`, which leave it open.

    Thread: any. Privilege: search permission. Since: Linux 3.0.
    Source: ioctl_ns(2).
    """
    try:
        check(path)
    except (NotFoundError, NotNamespaceError):
        return False
    return True
