"""Which namespaces there are, and who is in them."""

from __future__ import annotations

from _struct import iter_unpack
from errno import ENOENT, ENOSYS
from itertools import islice

from ._call import call, decode, directories, ffi, lib, number
from ._errors import (
    KernelError,
    NotFoundError,
    NotNamespaceError,
    NotPermittedError,
    from_native,
    step_text,
    wrong_type,
    wrong_value,
)
from ._handle import NetNS, from_pid, open, opened
from ._lazy import Lazy
from ._lazy import _types as t
from ._names import nsids_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import _holder
else:
    _holder = Lazy("netns._holder")


_KINDS = ("descriptor", "socket", "mount")  # enum netns_holder_kind


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
        holders: what else holds it, where none of these does (tuple of
            `Holder`); only with ``descriptors``.

    It keeps nothing alive: use `open` for a handle. Without paths, pids,
    threads and holders it is held by a mount that another one covers or, with
    ``descriptors``, by nothing in sight: by a descriptor that is on its way
    through a socket, say.
    """

    __slots__ = (
        *("_cookie", "_owner_uid", "dev", "holders"),
        *("ino", "names", "paths", "pids", "threads"),
    )

    _cookie: t.Optional[int]
    _owner_uid: t.Optional[int]

    def __init__(
        self,
        dev: int,
        ino: int,
        names: tuple[str, ...],
        paths: tuple[str, ...],
        pids: tuple[int, ...],
        threads: tuple[int, ...],
        holders: tuple[_holder.Holder, ...] = (),
        cookie: int = 0,
    ) -> None:
        self.dev = dev
        self.ino = ino
        self.names = names
        self.paths = paths
        self.pids = pids
        self.threads = threads
        self.holders = holders
        if cookie:
            self._cookie = cookie

    def open(self) -> NetNS:
        """A handle on it, by whatever holds it still, or by its cookie.

        Returns:
            A handle; its `path` tells how it was got.

        Raises:
            NotFoundError: nothing that held it leads to it any more.
            NotPermittedError: what does may not be used.

        Thread: any. Privilege: as `netns.open` for paths, `from_pid` for
            processes and threads; for sockets PTRACE_MODE_ATTACH (ptrace(2))
            and Linux 5.6. Since: Linux 4.9. Source: as these.
        """
        refused: t.Optional[Exception] = None
        holders: tuple[t.Union[str, int, _holder.Holder], ...]
        holders = (*self.paths, *self.pids, *self.threads, *self.holders)
        for holder in holders:
            try:
                ns = _open_by(holder)
            except (NotFoundError, NotNamespaceError):
                continue
            except PermissionError as error:
                refused = error
                continue
            if (ns.dev, ns.ino) == (self.dev, self.ino):
                return ns
            ns.close()
        cookie = getattr(self, "_cookie", None)
        if cookie:
            try:
                return opened(lib.netns_from_cookie, cookie, self.ino)
            except NotFoundError:
                pass
            except KernelError as error:
                if error.errno != ENOSYS:
                    raise
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
            self._owner_uid = self._ask(lambda ns: ns.owner_uid)
        return self._owner_uid

    @property
    def cookie(self) -> t.Optional[int]:
        """As `NetNS.cookie`; None where it is gone or may not be asked.

        Asked when first used, as `owner_uid`, unless the kernel told it with
        the namespace.
        """
        try:
            return self._cookie
        except AttributeError:
            self._cookie = self._ask(lambda ns: ns.cookie)
        return self._cookie

    def _ask(self, question: t.Callable[[NetNS], t.Optional[int]]) -> t.Optional[int]:
        try:
            with self.open() as ns:
                return question(ns)
        except (NotFoundError, PermissionError, KernelError):
            return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Found):
            return NotImplemented
        return (self.dev, self.ino) == (other.dev, other.ino)

    def __hash__(self) -> int:
        return hash((self.dev, self.ino))

    def __repr__(self) -> str:
        return (
            f"<Found net:[{self.ino}] names={self.names!r} paths={self.paths!r} "
            f"pids={self.pids!r} threads={self.threads!r}"
            f"{f' holders={self.holders!r}' if self.holders else ''}>"
        )


def _open_by(holder: t.Union[str, int, _holder.Holder]) -> NetNS:
    if isinstance(holder, str):
        return open(holder)
    if isinstance(holder, int):
        return from_pid(holder)
    if holder.path is not None:
        return open(f"/proc/{holder.pid}/root{holder.path}")
    return opened(lib.netns_from_descriptor, holder.pid, holder.fd)


class Discovery(list[Found]):
    """What `discover` returns: a list of `Found`, by inode number.

    Attributes:
        hidden: how many processes could not be looked at (int). With 0 the
            list is complete as far as `discover` can see.
    """

    __slots__ = ("hidden",)

    hidden: int


_FOUND = "=QQIIIIIIII"  # struct netns_found
_HOLDER = "=iii"  # struct netns_holder


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
    return decode(bytes(ffi.buffer(block.texts, block.texts_size))).split("\0")


def _holders(block: t.Any) -> t.Any:
    size = ffi.sizeof("struct netns_holder")
    return iter_unpack(_HOLDER, ffi.buffer(block.holders, block.holders_count * size))


def discover(*, descriptors: bool = False, rundir: t.Optional[t.Directory] = None) -> Discovery:
    """Every network namespace of the host, named or not, each once.

    Those that are pinned anywhere in the caller's mount namespace, and those
    that processes and their threads are in.

    Args:
        descriptors: also those that only a descriptor (an open handle), a
            socket, /dev/net/tun or a mount in another mount namespace holds;
            `Found.holders` tells whose. From Linux 6.19 on also those that
            tasks, descriptors and mounts out of sight hold, as a descriptor
            that is on its way through a socket, but never those that only
            sockets out of sight do.
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
        several. With descriptors one more for each open descriptor, five for
        each socket and, from Linux 6.19 on, three for each namespace. Nothing
        is kept, so scanning again costs the same, less what the kernel has
        cached: the first scan takes two to three times as long.
    Thread: any; does not move it. On hosts with hundreds of processes up to
        three helpers of its own, which end with the call.
    Privilege: none for one's own processes, else CAP_SYS_PTRACE; see `hidden`.
        Where /proc is mounted with hidepid=2 others' are not even counted.
        For sockets of others PTRACE_MODE_ATTACH over the process (ptrace(2)),
        and CAP_NET_ADMIN in the user namespace that owns the namespace. For
        the kernel's own list CAP_SYS_ADMIN, outside of containers.
    Since: Linux 4.9; sockets 5.6; what nothing in sight holds 6.19.
    Source: proc_pid_ns(5), proc_pid_mountinfo(5), proc_pid_fd(5),
        pidfd_getfd(2), listns(2).
    """
    what = lib.NETNS_PINS | (lib.NETNS_DESCRIPTORS if descriptors else lib.NETNS_THREADS)
    where, *others = directories(rundir)
    block = scan(what, where)
    dev, ids, strings = block.dev, tuple(numbers(block)), tuple(texts(block))
    holding = _holders(block)
    result = Discovery()
    result.hidden = block.hidden
    add = result.append
    text = 0  # where in strings the next one's begin
    for ino, cookie, named, paths, processes, elsewhere, held, _, first, _ in entries(block):
        path, thread = text + named, first + processes
        end = path + paths
        holders = []
        for kind, pid, fd in islice(holding, held):
            if kind == lib.NETNS_HELD_BY_MOUNT:
                holders.append(_holder.Holder(_KINDS[kind], pid, None, strings[end]))
                end += 1
            else:
                holders.append(_holder.Holder(_KINDS[kind], pid, fd, None))
        add(
            Found(
                dev,
                ino,
                strings[text:path],
                strings[path : path + paths],
                ids[first:thread],
                ids[thread : thread + elsewhere],
                tuple(holders),
                cookie,
            )
        )
        text = end
    if others:  # names that are not the user's own
        _add_names(result, pinned(rundir))
    return result


def _add_names(result: Discovery, pins: dict[str, Pin]) -> None:
    names: dict[int, list[str]] = {}
    for name, pin in sorted(pins.items()):
        names.setdefault(pin.ino, []).append(name)
    for found in result:
        found.names = tuple(names.get(found.ino, ()))


class Pin:
    """What has a name: a namespace, the mount of it, and that of the run directory."""

    __slots__ = ("below", "ino", "mount")

    def __init__(self, ino: int, mount: int, below: int) -> None:
        self.ino = ino
        self.mount = mount
        self.below = below

    def is_as(self, other: Pin) -> bool:
        """Whether the name has what it had.

        A mount is never the same again; but where the run directory is mounted
        anew, with all that is in it, so is each name. A mount that is not known (0)
        tells nothing.
        """
        unknown = not (self.mount and other.mount) or self.below != other.below
        return self.ino == other.ino and (unknown or self.mount == other.mount)


def pinned(rundir: t.Optional[t.Directory]) -> dict[str, Pin]:
    """What has each name in the run directory."""
    found: dict[str, Pin] = {}
    for where in reversed(directories(rundir)):
        block = scan(lib.NETNS_PINS | lib.NETNS_MOUNT_IDS, where)
        *mounts, below = ffi.unpack(block.mounts, block.mounts_count)
        mount = iter(mounts)
        strings, text = texts(block), 0
        for ino, _, named, paths, *_ in entries(block):
            for name in strings[text : text + named]:
                found[name] = Pin(ino, next(mount), below)
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
    directories(rundir)  # one that can't be is refused whatever the process
    with from_pid(number(pid, "a pid", 1)) as ns:
        return sorted(name for name, pin in pinned(rundir).items() if pin.ino == ns.ino)


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
        for ino, _, _, _, processes, _, _, _, first, _ in entries(block):
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
    return sorted(nsid for nsid, _ in nsids_of(None, None) if nsid is not None)


def from_cookie(cookie: int) -> NetNS:
    """The namespace that has a cookie, see `NetNS.cookie`.

    The kernel opens it (Linux 6.18 also wants the inode number, so that all
    that `discover` finds are tried); an older one is asked for the cookie of
    each.

    Args:
        cookie: the number, an int from 0.

    Returns:
        A handle.

    Raises:
        NotFoundError: none has it, or nothing that the caller may look at
            leads to it.
        InvalidTypeError, InvalidValueError: it cannot be a cookie.
        What `discover` raises.

    Cost: one call from Linux 6.19 on; before, in the worst case, that of
        ``discover(descriptors=True)``.
    Thread: any. Privilege: as `discover`. Since: Linux 5.14.
    Source: open_by_handle_at(2), Linux 6.18; SO_NETNS_COOKIE.
    """
    if not isinstance(cookie, int):
        raise wrong_type("a cookie is an int", cookie)
    if not 0 <= cookie < 2**64:
        raise wrong_value("a cookie is from 0 to 2**64 - 1", cookie)
    by_number = lib.netns_from_cookie
    try:
        return opened(by_number, cookie, 0)
    except NotFoundError:
        can_open = True
    except KernelError:
        can_open = False
    for everything in (False, True):
        for found in discover(descriptors=everything):
            try:
                ns = opened(by_number, cookie, found.ino) if can_open else found.open()
            except (NotFoundError, NotPermittedError, KernelError):
                continue
            try:
                if ns.cookie == cookie:
                    return ns
            except (NotPermittedError, KernelError):
                pass
            ns.close()
    raise from_native(ENOENT, lib.NETNS_STEP_OPEN_TARGET, b"cookie %d" % cookie)


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
