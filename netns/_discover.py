"""Which namespaces there are, and who is in them."""

from __future__ import annotations

import os
from _struct import iter_unpack

from ._call import call, directory, ffi, lib, number
from ._errors import NotFoundError, NotNamespaceError, step_text
from ._handle import NetNS, from_pid, open
from ._lazy import _types as t


def names(*, rundir: t.Optional[t.Directory] = None) -> list[str]:
    """The names in the run directory, sorted.

    Only those behind which there is a network namespace: no leftover of a
    creator that died, no other file. A link to one is a name, unless you may
    not follow it. Without a run directory there are none.

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
    found = ffi.new("char **")
    size = ffi.new("size_t *")
    count = call(lib.netns_names, directory(rundir), found, size)
    block = ffi.gc(found[0], lib.netns_free)
    if not count:
        return []
    return sorted(map(os.fsdecode, bytes(ffi.buffer(block, size[0] - 1)).split(b"\0")))


class Found:
    """A network namespace that `discover` found: what holds it, at that moment.

    Attributes:
        dev, ino: its identity (ints). Two are equal if these are.
        names: its names in the run directory (tuple of str, sorted).
        paths: where it is pinned (tuple of str, sorted): the names' paths,
            those of names that are links too, and all others that lead to it.
        pids: processes whose main thread is in it (tuple of int, ascending).
        threads: ids of threads in it whose process's main thread is elsewhere,
            or has ended (tuple of int, ascending).

    It keeps nothing alive: use `open` for a handle. Without paths, pids and
    threads it is held by a mount that another one covers.
    """

    __slots__ = ("_owner_uid", "dev", "ino", "names", "paths", "pids", "threads")

    _owner_uid: t.Optional[int]

    def __init__(
        self,
        dev: int,
        ino: int,
        names: tuple[str, ...],
        paths: tuple[str, ...],
        pids: tuple[int, ...],
        threads: tuple[int, ...],
    ) -> None:
        self.dev = dev
        self.ino = ino
        self.names = names
        self.paths = paths
        self.pids = pids
        self.threads = threads

    def open(self) -> NetNS:
        """A handle on it, by whatever holds it still.

        Returns:
            A handle; its `path` tells how it was got.

        Raises:
            NotFoundError: nothing that held it leads to it any more.
            NotPermittedError: what does may not be used.

        Thread: any. Privilege: as `netns.open` for paths and `from_pid` for
            processes and threads. Since: Linux 4.9. Source: as these.
        """
        refused: t.Optional[Exception] = None
        holders: tuple[t.Union[str, int], ...] = (*self.paths, *self.pids, *self.threads)
        for holder in holders:
            try:
                ns = open(holder) if isinstance(holder, str) else from_pid(holder)
            except (NotFoundError, NotNamespaceError):
                continue
            except PermissionError as error:
                refused = error
                continue
            if (ns.dev, ns.ino) == (self.dev, self.ino):
                return ns
            ns.close()
        if refused is not None:
            raise refused
        step = step_text(lib.NETNS_STEP_OPEN_TARGET)
        raise NotFoundError(2, step, f"net:[{self.ino}]")

    @property
    def owner_uid(self) -> t.Optional[int]:
        """As `NetNS.owner_uid`; None also where it is gone or may not be opened.

        Asked when first used, which takes a handle for a moment: more than
        finding the namespace did. Since: Linux 4.11.
        """
        try:
            return self._owner_uid
        except AttributeError:
            pass
        try:
            with self.open() as ns:
                self._owner_uid = ns.owner_uid
        except (NotFoundError, PermissionError):
            self._owner_uid = None
        return self._owner_uid

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Found):
            return NotImplemented
        return (self.dev, self.ino) == (other.dev, other.ino)

    def __hash__(self) -> int:
        return hash((self.dev, self.ino))

    def __repr__(self) -> str:
        return (
            f"<Found net:[{self.ino}] names={self.names!r} paths={self.paths!r} "
            f"pids={self.pids!r} threads={self.threads!r}>"
        )


class Discovery(list[Found]):
    """What `discover` returns: a list of `Found`, by inode number.

    Attributes:
        hidden: how many processes could not be looked at (int). With 0 the
            list is complete as far as `discover` can see.
    """

    __slots__ = ("hidden",)

    hidden: int


_FOUND = "=QIIIIII"  # struct netns_found


def scan(what: int, where: t.Any) -> t.Any:
    block = ffi.new("struct netns_discovery **")
    call(lib.netns_discover, where, what, block)
    return ffi.gc(block[0], lib.netns_free)


def entries(block: t.Any) -> t.Any:
    size = ffi.sizeof("struct netns_found")
    return iter_unpack(_FOUND, ffi.buffer(block.found, block.count * size))


def numbers(block: t.Any) -> list[int]:
    return memoryview(ffi.buffer(block.ids, 4 * block.ids_count)).cast("i").tolist()


def texts(block: t.Any) -> list[str]:
    return os.fsdecode(bytes(ffi.buffer(block.texts, block.texts_size))).split("\0")


def discover(*, rundir: t.Optional[t.Directory] = None) -> Discovery:
    """Every network namespace of the host, named or not, each once.

    Those that are pinned anywhere in the caller's mount namespace, and those
    that processes and their threads are in. Not those that only a descriptor
    (an open handle), a socket, or a mount in another mount namespace holds:
    no file system lists these.

    Args:
        rundir: the directory whose entries are `names`, as for `open`.

    Returns:
        A list of `Found`, by inode number, with an attribute `hidden`: how
        many processes could not be looked at. Processes that end meanwhile are
        skipped. It is no snapshot: one who moves meanwhile may be seen before
        or after.

    Raises:
        NotNamespaceError: the run directory is a file.
        NotPermittedError: the run directory may not be searched.
        InvalidTypeError, InvalidValueError: rundir cannot be one.
        NotFoundError: there is no /proc.
        KernelError: no descriptor or memory left. Nothing is left out for it.

    Cost: one native call, without the GIL, that reads the mounts once and asks
        the kernel two questions a process; three a thread of those that have
        several. Nothing is kept, so scanning again costs the same, less what
        the kernel has cached: the first scan takes two to three times as long.
    Thread: any; does not move it. On hosts with hundreds of processes up to
        three helpers of its own, which end with the call.
    Privilege: none for one's own processes, else CAP_SYS_PTRACE; see `hidden`.
        Where /proc is mounted with hidepid=2 others' are not even counted.
    Since: Linux 4.9. Source: proc_pid_ns(5), proc_pid_mountinfo(5).
    """
    block = scan(lib.NETNS_PINS | lib.NETNS_THREADS, directory(rundir))
    dev, ids, strings = block.dev, numbers(block), texts(block)
    result = Discovery()
    result.hidden = block.hidden
    add = result.append
    text = 0
    for ino, named, pinned, processes, others, _, first in entries(block):
        path = text + named
        thread = first + processes
        text = path + pinned
        add(
            Found(
                dev,
                ino,
                tuple(strings[path - named : path]),
                tuple(strings[path:text]),
                tuple(ids[first:thread]),
                tuple(ids[thread : thread + others]),
            )
        )
    return result


def pinned(rundir: t.Optional[t.Directory]) -> dict[str, int]:
    """Each name in the run directory with its namespace's inode number."""
    block = scan(lib.NETNS_PINS, directory(rundir))
    found: dict[str, int] = {}
    strings = texts(block)
    text = 0
    for ino, named, paths, *_ in entries(block):
        found.update(dict.fromkeys(strings[text : text + named], ino))
        text += named + paths
    return found


def identify(pid: int, *, rundir: t.Optional[t.Directory] = None) -> list[str]:
    """The names of a process's namespace, as ``ip netns identify`` gives them.

    Args:
        pid: a process id in the caller's pid namespace.
        rundir: the run directory, as for `open`.

    Returns:
        A sorted list of str; empty where it has no name.

    Raises:
        NotFoundError: no such process.
        NotPermittedError: its namespace may not be looked at.
        NotNamespaceError: the run directory is a file.
        InvalidTypeError, InvalidValueError: pid is not an int from 1.

    Thread: any. Privilege: PTRACE_MODE_READ over it (CAP_SYS_PTRACE).
    Since: Linux 4.9. Source: ip-netns(8), proc_pid_ns(5).
    """
    where = directory(rundir)
    with from_pid(number(pid, "a pid", 1)) as ns:
        block = scan(lib.NETNS_PINS, where)
        text = 0
        for ino, named, pinned, *_ in entries(block):
            if ino == ns.ino:
                return texts(block)[text : text + named]
            text += named + pinned
    return []


def pids(target: t.Union[t.Target, NetNS], *, rundir: t.Optional[t.Directory] = None) -> list[int]:
    """The processes in a namespace, as ``ip netns pids`` lists them.

    Args:
        target: as for `open`, or a handle.
        rundir: the run directory, as for `open`.

    Returns:
        The ids of processes whose main thread is in it, ascending. Those that
        may not be looked at are missing; for threads and for how many are
        missing see `discover`.

    Raises:
        As `open`; ClosedError: the handle is closed.

    Thread: any. Privilege: as `open`; CAP_SYS_PTRACE to see others' processes.
    Since: Linux 4.9. Source: ip-netns(8), proc_pid_ns(5).
    """
    # A handle of its own: the inode number is not reused while it is open.
    with target._duplicate() if isinstance(target, NetNS) else open(target, rundir=rundir) as ns:
        block = scan(lib.NETNS_PROCESSES, ffi.NULL)
        for ino, _, _, processes, _, _, first in entries(block):
            if ino == ns.ino:
                return numbers(block)[first : first + processes]
    return []


def nsids() -> list[int]:
    """The ids that the calling thread's namespace has given to others.

    Returns:
        A sorted list of int, as ``ip netns list-id`` has them. Whose each is
        tells `NetNS.nsid`. A kernel that ends its list with the first message
        (6.18 does) gives some 1,100 of more.

    Raises:
        KernelError: no descriptor or memory left.

    Thread: the calling thread's namespace. Privilege: none.
    Since: Linux 4.0. Source: rtnetlink(7), ip-netns(8).
    """
    ids = ffi.new("int32_t **")
    count = call(lib.netns_nsids, ids)
    block = ffi.gc(ids[0], lib.netns_free)
    return sorted(ffi.unpack(block, count)) if count else []


def check(path: t.Target) -> None:
    """Raise unless there is a network namespace at a path or name.

    Args:
        path: as for `open`.

    Raises:
        NotFoundError: nothing is there.
        NotNamespaceError: something else is.
        NotPermittedError: it may not be looked at.
        InvalidTypeError, InvalidValueError: it cannot be a path or a name.

    Thread: any. Privilege: search permission. Since: Linux 4.9.
    Source: ioctl_ns(2).
    """
    open(path).close()


def is_netns(path: t.Target) -> bool:
    """Whether there is a network namespace at a path or name.

    Args:
        path: as for `open`.

    Returns:
        False where `check` raises NotFoundError or NotNamespaceError.

    Raises:
        The other errors of `check`, which leave it open.

    Thread: any. Privilege: search permission. Since: Linux 4.9.
    Source: ioctl_ns(2).
    """
    try:
        check(path)
    except (NotFoundError, NotNamespaceError):
        return False
    return True
