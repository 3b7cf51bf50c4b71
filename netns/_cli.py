"""The command line: `netns`, and python -m netns."""

from __future__ import annotations

import errno
import io
import os
import sys

import netns

from ._call import call, decode, directory, lib, native
from ._errors import step_text
from ._names import nsids_given, nsids_of
from ._words import FAILED, REFUSED, WRONG, identifier, in_full, simple

# Most of the time of a command is that of its imports: what only some commands need is
# imported by these.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, NoReturn
else:
    import _signal as signal  # without the enumerations

UNPRIVILEGED = "NETNS_DEMO_IN_USER_NAMESPACE"
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as a shell has it


def shown(text: str) -> str:
    """A name as it may be printed: on a terminal, without what would steer it."""
    if text.isprintable() or not sys.stdout.isatty():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, for people; the last one as long as it is."""
    lines = [tuple(heads), *(tuple(shown(str(cell)) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads) - 1)]
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line, widths)]
        print(*padded, line[-1], sep="  ")


def output(data: Any) -> None:
    """For programs: names that are no text are given as Python has them (surrogates)."""
    import json

    json.dump(data, sys.stdout, indent=2)
    print()


def numbers(values: Sequence[int], most: int = 8) -> str:
    shown_values = " ".join(map(str, values[:most]))
    return shown_values + (f" (+{len(values) - most})" if len(values) > most else "")


def held_by(found: netns.Found) -> str:
    if found.names or found.paths:
        return " ".join(found.names or found.paths)
    if found.holders:
        return ", ".join(
            f"pid {holder.pid} {holder.kind} {holder.path or holder.fd}"
            for holder in found.holders[:8]
        )
    if found.pids or found.threads:
        return f"pid {numbers(found.pids)}" if found.pids else f"thread {numbers(found.threads)}"
    return "(nothing in sight, as a mount that another one covers)"


# Names


def warn(error: object) -> None:
    print(f"netns: warning: {error}", file=sys.stderr)


def has_ids() -> bool:
    """Whether there are any ids; without rtnetlink a warning says that they are left out."""
    try:
        return bool(nsids_of(None, None))
    except netns.Error as error:
        warn(f"ids are left out: {error}")
        return False


def named(args: Any, ids: bool = True) -> Iterator[tuple[str, int, int | None]]:
    """Each name with the inode number and the id; one that is deleted meanwhile is left out.

    As many as may surely be open at once are asked for their ids together.
    """
    names = netns.names(rundir=args.rundir)
    most = os.sysconf("SC_OPEN_MAX") // 2
    while names:
        opened: dict[str, netns.NetNS] = {}
        try:
            for name in names[:most]:
                try:
                    opened[name] = netns.open(name, rundir=args.rundir)
                except netns.NotFoundError:
                    continue
            nsids = nsids_given(opened.values()) if ids else [None] * len(opened)
            yield from [(name, opened[name].ino, nsid) for name, nsid in zip(opened, nsids)]
        finally:
            for ns in opened.values():
                ns.close()
        names = names[most:]


def list_names(args: Any) -> int:
    ids = has_ids()
    if args.json:
        output(
            [
                {"name": name, **({} if nsid is None else {"id": nsid}), "ino": ino}
                for name, ino, nsid in named(args, ids)
            ]
        )
        return 0
    if ids:
        lines = [
            shown(name) + ("" if nsid is None else f" (id: {nsid})")
            for name, _, nsid in named(args)
        ]
    else:
        lines = [shown(name) for name in netns.names(rundir=args.rundir)]
    print("".join(f"{line}\n" for line in lines), end="")
    return 0


def add(args: Any) -> int:
    try:
        netns.create(args.name, rundir=args.rundir).close()
    except netns.ExistsError:
        return refused(f"the name {args.name!r} exists already; see netns list")
    return 0


def attach(args: Any) -> int:
    try:
        netns.attach(args.name, args.pid, rundir=args.rundir).close()
    except netns.ExistsError:
        return refused(f"the name {args.name!r} exists already; see netns list")
    return 0


def delete(args: Any) -> int:
    if args.all == bool(args.target):
        return usage("delete takes either names and paths, or --all")
    if not args.all:
        netns.delete(*args.target, rundir=args.rundir)
        return 0
    rundir = decode(directory(args.rundir))  # of two, the user's own
    try:
        netns.delete(*netns.names(rundir=rundir), rundir=rundir)
    except netns.Error as error:
        # What somebody else deleted meanwhile is deleted.
        left = [e for e in (error, *error.others) if not isinstance(e, netns.NotFoundError)]
        for failed in left:
            print(f"netns: {failed}", file=sys.stderr)
        return int(bool(left))
    return 0


def identify(args: Any) -> int:
    names = netns.identify(os.getpid() if args.pid is None else args.pid, rundir=args.rundir)
    if args.json:
        output(names)
    else:
        print(*map(shown, names), sep="\n")  # without a name an empty line, as ip has it
    return 0


def pids(args: Any) -> int:
    found = netns.pids(args.target, rundir=args.rundir)
    if args.json:
        output(found)
    else:
        for pid in found:
            print(pid)
    return 0


def discover(args: Any) -> int:
    found = netns.discover(descriptors=args.descriptors, rundir=args.rundir)
    if args.json:
        namespaces = [
            {
                "ino": each.ino,
                "dev": each.dev,
                "names": each.names,
                "paths": each.paths,
                "pids": each.pids,
                "threads": each.threads,
                "owner_uid": each.owner_uid,
                "cookie": each.cookie,
                **({"holders": [h._asdict() for h in each.holders]} if args.descriptors else {}),
            }
            for each in found
        ]
        output({"namespaces": namespaces, "hidden": found.hidden})
        return 0
    table(
        ("INO", "OWNER", "PROCESSES", "THREADS", "HELD BY"),
        (
            (
                each.ino,
                "?" if each.owner_uid is None else each.owner_uid,
                len(each.pids),
                len(each.threads),
                held_by(each),
            )
            for each in found
        ),
    )
    if found.hidden:
        print(
            f"({found.hidden} processes could not be looked at, for lack of permission)",
            file=sys.stderr,
        )
    return 0


def watch(args: Any) -> int:
    import json

    # As ip says it.
    words = {"appeared": "add", "disappeared": "delete"} if args.verb == "monitor" else {}
    with netns.watch(timeout=args.timeout, rundir=args.rundir) as changes:
        for change in changes:
            if args.json:
                print(json.dumps(change._asdict()), flush=True)
            else:
                print(words.get(change.kind, change.kind), shown(change.name), flush=True)
    return 0


# Ids


def set_id(args: Any) -> int:
    with netns.open(args.name, rundir=args.rundir) as ns:
        try:
            ns.nsid = -1 if args.id == "auto" else int(args.id)
        except netns.ExistsError:
            if ns.nsid is None:
                taken = f"the id {args.id} is that of another namespace; see netns list-id"
            else:
                taken = f"{args.name!r} has the id {ns.nsid} already, and ids are for good"
            return refused(taken, REFUSED)
    return 0


def filters(words: Sequence[str]) -> dict[str, int]:
    """``target-nsid NUMBER`` and ``nsid NUMBER``, each at most once."""
    found: dict[str, int] = {}
    words = [*words]
    while words:
        word = words.pop(0)
        if word not in ("target-nsid", "nsid") or word in found or not words:
            raise ValueError(f"list-id takes nsid ID and target-nsid ID, not {word!r}")
        found[word] = int(identifier(words.pop(0), auto=False))
    return found


def list_ids(args: Any) -> int:
    try:
        wanted = filters(args.filter)
    except ValueError as error:
        usage(str(error))
        return WRONG
    target, only = wanted.get("target-nsid"), wanted.get("nsid")
    owners: dict[int | None, list[str]] = {}
    for name, _, nsid in named(args):
        owners.setdefault(nsid, []).append(name)
    entries = []
    try:
        pairs = nsids_of(target, only)
    except netns.Error as error:
        print(f"netns: {error}", file=sys.stderr)
        return FAILED if only is None else REFUSED
    for nsid, current in pairs:
        mine = nsid if target is None else current
        names = owners.get(mine, []) if mine is not None else []
        entries.append((nsid, current, names))
    if args.json:
        output(
            [
                {
                    **({} if nsid is None else {"nsid": nsid}),
                    **({} if current is None else {"current-nsid": current}),
                    **({"name": names[0], "names": names} if names else {}),
                }
                for nsid, current, names in entries
            ]
        )
        return 0
    for nsid, current, names in entries:
        line = f"nsid {'unassigned' if nsid is None else nsid} "
        if target is not None:
            line += f"current-nsid {'unassigned' if current is None else current} "
        print(line + "".join(f"(iproute2 netns name: {shown(name)})" for name in names[:1]))
    return 0


# Commands inside


def move_in(ns: netns.NetNS) -> None:
    """For good; where that is refused, by way of the user namespace that owns it."""
    try:
        ns.set()
        return
    except netns.NotPermittedError as error:
        refused = error
    try:
        call(lib.netns_join_owner, native(ns))
    except netns.Error:
        raise refused from None
    ns.set()


def become(ns: netns.NetNS, name: str | None, command: list[str]) -> int:
    """Go inside for good, set up /sys and /etc as `ip netns exec`, and become the command."""
    with ns:
        move_in(ns)
    from ._threads import try_setup_exec

    for left_out in try_setup_exec(name):
        warn(f"left as it was: {left_out}")
    try:
        if not command[0]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        try:
            os.execvp(command[0], command)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            import shutil

            # A script that names no interpreter is the shell's, as for execvp(3).
            os.execv("/bin/sh", ["sh", shutil.which(command[0]) or command[0], *command[1:]])
    except OSError as error:
        print(f"netns: exec of {command[0]!r} failed: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE


def execute(args: Any) -> int:
    command = [*args.command]
    if command[:1] == ["--"]:
        command.pop(0)
    chosen = sum((args.all, args.new, args.pid is not None))
    if chosen > 1:
        return usage("exec takes only one of --all, --new and --pid")
    target = command.pop(0) if command and not chosen else None
    if command[:1] == ["--"]:
        command.pop(0)
    if not command:
        return usage("exec needs a command to run")
    if args.all:
        return execute_in_all(args, command)
    try:
        if args.new:
            return become(netns.new(), None, command)
        if args.pid is not None:
            return become(netns.from_pid(args.pid), None, command)
        assert target is not None
        ns = netns.open(target, rundir=args.rundir)
        return become(ns, ns.name, command)
    except netns.Error as error:
        print(f"netns: {error}", file=sys.stderr)
        return WRONG


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Children:
    """Runs one child after the other, and passes on what would have ended this process.

    Not SIGINT, which a terminal sends to the child as well; whichever it was,
    the child decides what it means, and is the last one.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.told = False
        self.before = {number: signal.signal(number, self.take) for number in ENDING}
        # Where children's ends are ignored, nobody is told their status.
        self.before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def take(self, number: int, frame: object) -> None:
        self.told = True
        if self.pid and number != signal.SIGINT:
            os.kill(self.pid, number)

    def be_one(self, mask: set[int | signal.Signals], body: Callable[[], int]) -> NoReturn:
        status = 1
        try:
            for number, handler in self.before.items():
                ignored = handler == signal.SIG_IGN
                signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            status = body()
        except netns.Error as error:
            print(f"netns: {error}", file=sys.stderr)
        finally:
            os._exit(status)

    def run(self, body: Callable[[], int]) -> int:
        """The exit status of a child that runs it, or 128 and the signal that ended it."""
        # What comes before the child is known, or has handlers of its own, waits.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        # The child goes on in a function of its own and does not come back.
        self.pid = os.fork() or self.be_one(mask, body)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # Not taken away yet: while signals are passed on, the number is the child's.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        pid, self.pid = self.pid, 0
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status if status >= 0 else 128 - status


def execute_in_all(args: Any, command: list[str]) -> int:
    """One after the other, until a signal ends it; the first status that is not 0."""
    status = 0
    names = netns.names(rundir=args.rundir)
    progress = sys.stderr.isatty() and not sys.stdout.isatty()
    children = Children()
    for count, name in enumerate(names, 1):
        if progress:
            print(f"\r{count}/{len(names)}", end="", file=sys.stderr, flush=True)
        print(f"\nnetns: {shown(name)}", flush=True)

        def body(name: str = name) -> int:
            return become(netns.open(name, rundir=args.rundir), name, command)

        ended = children.run(body)
        status = status or ended
        if children.told:
            break
    if progress and names:
        print(file=sys.stderr)
    return status


def refused(message: str, status: int = FAILED) -> int:
    print(f"netns: {message}", file=sys.stderr)
    return status


def usage(message: str) -> int:
    print(f"netns: {message}; see netns --help", file=sys.stderr)
    return FAILED


# The rest


def demo(args: Any) -> int:
    import shutil

    try:
        from pyroute2 import IPRoute, NetlinkError
    except ImportError:
        return refused("the demo needs pyroute2: python3 -m pip install 'pynetns[demo]'")

    def add_link(route: IPRoute) -> str:
        refused = ""
        for kind in ("dummy", "ifb", "bridge"):  # some kernels lack the dummy driver
            try:
                route.link("add", ifname="dummy0", kind=kind)
                return kind
            except NetlinkError as error:
                refused = str(error)
        raise SystemExit(f"netns: no link can be added here: {refused}")

    def links() -> str:
        with IPRoute() as route:
            return ", ".join(link.get_attr("IFLA_IFNAME") for link in route.get_links())

    def body(host: netns.NetNS) -> None:
        with netns.current() as here, IPRoute() as route:
            print(f"inside {here}, called from {host}:")
            print(f"  added dummy0, of kind {add_link(route)}")
            print(f"  links: {links()}")

    try:
        made = netns.new()
    except netns.NotPermittedError as error:
        if UNPRIVILEGED in os.environ:
            raise
        if shutil.which("unshare") is None:
            return refused(
                f"{error}.\nEither be root, or install unshare (of util-linux), with which the"
                " demo makes a user namespace"
            )
        print(f"{error}.\nTrying as root of a user namespace:", flush=True)
        command = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "netns", "demo"]
        os.execvpe(command[0], command, {**os.environ, UNPRIVILEGED: "1"})
    with netns.current() as home, made as ns:
        print(f"home   {home}:\n  links: {links()}")
        ns.do(body)
        with netns.current() as here:
            print(f"home   {here}:\n  links: {links()}")
            came = here == home
    print(f"The thread is {'home again' if came else 'not at home'}.")
    return int(not came)


def config(args: Any) -> int:
    if not (args.cflags or args.libs):
        return usage("config takes --cflags, --libs or both")
    import shlex

    cflags = [f"-I{netns.get_include()}"] * args.cflags
    libs = [f"-L{netns.get_library_dir()}", "-lnetns", "-pthread"] * args.libs
    print(shlex.join(cflags + libs))
    return 0


# Completion

PREAMBLE = {
    "bash": """
_netns_complete_names() { compgen -W "$(netns list 2>/dev/null | cut -d' ' -f1)" -- "$1"; }
""",
    "zsh": """
_netns_complete_names() { compadd -- ${(f)"$(netns list 2>/dev/null | cut -d' ' -f1)"} }
""",
}


def print_help(args: Any) -> int:
    from ._arguments import parser

    print(parser().format_help(), end="")
    return 0


def completion(args: Any) -> int:
    try:
        import shtab
    except ImportError:
        return refused("completion needs shtab: python3 -m pip install 'pynetns[completion]'")
    from ._arguments import parser

    print(shtab.complete(parser(), args.shell, preamble=PREAMBLE[args.shell]))
    return 0


RUN = {
    "list": list_names,
    "show": list_names,
    "lst": list_names,
    "list-id": list_ids,
    "help": print_help,
    "add": add,
    "set": set_id,
    "delete": delete,
    "identify": identify,
    "pids": pids,
    "exec": execute,
    "monitor": watch,
    "attach": attach,
    "discover": discover,
    "watch": watch,
    "demo": demo,
    "config": config,
    "completion": completion,
}


def main() -> int:
    words = in_full(sys.argv[1:])
    # Python ignores these, and so would the commands run by exec; and who reads
    # no further ends this one, as any other.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names are bytes
    out = sys.stdout
    if out is None:  # it is closed: whether anything is printed tells whether that matters
        out = sys.stdout = io.StringIO()
    try:
        args = simple(words)
        if args is None:
            from ._arguments import parser

            args = parser().parse_args(words)
        if args.rundir is not None and not os.path.isdir(args.rundir):
            return usage(f"--rundir: there is no directory {args.rundir!r}")
        status: int = RUN[args.verb](args)
        out.flush()
        if isinstance(out, io.StringIO) and out.getvalue():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except netns.Error as error:
        for failed in (error, *error.others):
            print(f"netns: {failed}", file=sys.stderr)
        asked = (step_text(lib.NETNS_STEP_GET_NSID), step_text(lib.NETNS_STEP_SET_NSID))
        return REFUSED if error.step in asked else FAILED
    except OSError as error:
        print(f"netns: standard output: {error.strerror}", file=sys.stderr)
        import contextlib

        with contextlib.suppress(OSError):  # or the interpreter tries again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status
