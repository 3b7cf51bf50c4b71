"""The names in a run directory; the ids that a namespace has for others."""

from __future__ import annotations

from ._call import Handle, call, decode, directories, ffi, lib, native
from ._lazy import _types as t


def names(*, rundir: t.Optional[t.Directory] = None) -> list[str]:
    """The names in the run directory, sorted.

    Only those behind which there is a network namespace: no leftover of a
    creator that died, no other file. A link to one is a name, unless you may
    not follow it. Without a run directory there are none. Where users have a run
    directory of their own, with those of /run/netns.

    Args:
        rundir: the run directory, as for `open`.

    Returns:
        A list of str, decoded as file names are.

    Raises:
        NotNamespaceError: the run directory is a file.
        NotPermittedError: it may not be read.

    Thread: any. Privilege: read access to the run directory.
    Since: Linux 4.9. Source: ip-netns(8).
    """
    return sorted({name for where in directories(rundir) for name in _names(where)})


def _names(where: bytes) -> list[str]:
    found = ffi.new("char **")
    size = ffi.new("size_t *")
    count = call(lib.netns_names, where, found, size)
    block = ffi.gc(found[0], lib.netns_free)
    if not count:
        return []
    return list(map(decode, bytes(ffi.buffer(block, size[0] - 1)).split(b"\0")))


def nsids_given(namespaces: t.Iterable[Handle]) -> list[t.Optional[int]]:
    """What `NetNS.nsid` is for each, asked for over one socket."""
    handles = ffi.new("struct netns *[]", [*map(native, namespaces)])
    nsids = ffi.new("int32_t[]", len(handles))
    call(lib.netns_get_nsids, handles, len(handles), nsids)
    return [nsid if nsid >= 0 else None for nsid in nsids]


def nsids_of(
    target: t.Optional[int], only: t.Optional[int]
) -> list[tuple[t.Optional[int], t.Optional[int]]]:
    """Pairs of ids: that which the namespace `target` has for one, and the thread's own.

    Sorted by the first. Without a target the thread's own namespace's, as first
    ones; with `only` just that of the namespace that the thread's has under it.
    """
    ids = ffi.new("struct netns_nsid **")
    asked = [-1 if nsid is None else nsid for nsid in (target, only)]
    count = call(lib.netns_nsids, *asked, ids)
    block = ffi.gc(ids[0], lib.netns_free)
    pairs = sorted((each.nsid, each.current) for each in block[0:count]) if count else []
    return [(a if a >= 0 else None, b if b >= 0 else None) for a, b in pairs]
