"""Each system call of each operation fails in turn, and nothing is left or changed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netns
from netns._call import call, native
from netns._errors import check
from netns._native import ffi, lib
from support import LIBC, PREFIX, RUN, here, mountinfo, on_a_thread, world
from sweep import Fault, Outcome, calls, inject, plan, trace

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MNT_DETACH = 2
SIOCGSKNS = 0x894C
PIDFD_GET_NET_NAMESPACE = 0xFF04

pytestmark = [pytest.mark.seam, pytest.mark.timeout(600)]


class Stage:
    """The objects that the operations work on, and the operations themselves."""

    def __init__(self, tmp_path: Path) -> None:
        self.name = PREFIX + uuid.uuid4().hex[:12]
        self.path = tmp_path / "pinned"
        self.directory = str(tmp_path)
        self.ns = netns.new()
        self.other = netns.new()
        self.home = here()
        self.number = 0
        with contextlib.suppress(netns.KernelError):  # before Linux 5.14
            self.number = self.ns.cookie
        self.fault: Fault | None = None
        self.link = f"net:[{self.ns.ino}]"
        self.taken = f"{self.name}-taken"
        netns.create(self.taken).close()
        self.child = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.child.stdout is not None
        self.child.stdout.read(1)
        self.foreign = netns.from_pid(self.child.pid)
        self.socket = socket.socket()
        self.fresh: netns.NetNS | None = None

    def close(self) -> None:
        self.child.communicate()
        self.socket.close()
        for ns in (self.ns, self.other, self.foreign):
            ns.close()
        netns.delete(self.taken)

    # Methods of three kinds: they prepare an operation, do it, or undo it.

    def nothing(self) -> None:
        pass

    def warm(self) -> None:
        self.ns.do(lambda host: None)
        self.foreign.do(lambda host: None)

    def inside(self, host: netns.NetNS) -> str:
        return here()

    def do(self) -> None:
        assert self.ns.do(self.inside) == self.link

    def enter(self) -> None:
        with self.ns.enter() as host:
            assert here() == self.link
            assert host.ino == int(self.home[5:-1])

    def do_nested(self) -> None:
        def body(host: netns.NetNS) -> str:
            return self.ns.do(self.inside)

        assert self.other.do(body) == self.link

    def do_inside(self) -> None:
        assert self.ns.do(lambda host: self.ns.do(self.inside)) == self.link

    def do_foreign(self) -> None:
        assert self.foreign.do(self.inside) == f"net:[{self.foreign.ino}]"

    def do_in_thread(self) -> None:
        assert self.ns.do_in_thread(self.inside) == self.link

    def set(self) -> None:
        self.ns.set()
        assert here() == self.link

    def do_native(self) -> None:
        """The core's netns_do(), on a handle of the core's."""
        cell, error = ffi.new("struct netns **"), ffi.new("struct netns_error *")
        seen: list[str] = []

        @ffi.callback("int(struct netns *, void *)")  # type: ignore[untyped-decorator]
        def body(host: object, arg: object) -> int:
            seen.append(here())
            return 42

        check(lib.netns_from_fd(self.ns.fileno(), cell, error), error)
        try:
            ret = lib.netns_do(cell[0], body, ffi.NULL, error)
        finally:
            lib.netns_unref(cell[0])
        check(ret, error)
        assert (ret, seen) == (42, [self.link])

    def do_fresh(self) -> None:
        with netns.from_fd(self.ns.fileno()) as copy:
            assert copy.do(self.inside) == self.link

    def out_of_order(self) -> None:
        first, second = self.ns.enter(), self.other.enter()
        first.__enter__()
        try:
            second.__enter__()
        except netns.Error:
            first.close()
            raise
        errors: list[netns.Error] = []
        for guard in (first, second):
            try:
                guard.__exit__(None, None, None)
            except netns.Error as error:
                errors.append(error)
        for failed in errors:
            if not isinstance(failed, netns.OrderError):
                raise failed
        assert len(errors) == 2

    def make_socket(self) -> None:
        self.ns.socket().close()

    def make_sockets(self) -> None:
        for sock in netns.sockets([self.ns, self.other, self.foreign]):
            sock.close()

    def own_mounts(self) -> None:
        """Gives this thread mounts of its own."""
        assert LIBC.unshare(CLONE_NEWNS) == 0
        assert LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0

    @contextlib.contextmanager
    def without_proc(self) -> Iterator[None]:
        assert LIBC.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
        try:
            yield
        finally:
            assert LIBC.umount2(b"/proc", MNT_DETACH) == 0

    def do_without_proc(self) -> None:
        def body(host: netns.NetNS) -> int:
            with socket.socket() as sock, open(fcntl.ioctl(sock, SIOCGSKNS), "rb") as file:
                return os.fstat(file.fileno()).st_ino

        with self.without_proc():
            for _ in range(2):
                assert self.ns.do(body) == self.ns.ino

    def from_thread_without_proc(self) -> None:
        with self.without_proc(), netns.from_thread(threading.get_native_id()) as ns:
            assert ns.ino == int(self.home[5:-1])

    def own_etc(self) -> None:
        """Makes two files for the namespace's name; /etc has only one of them."""
        self.own_mounts()
        assert LIBC.mount(b"none", b"/etc", b"tmpfs", 0, None) == 0
        files = Path("/etc/netns", self.taken)
        files.mkdir(parents=True)
        for path in (files / "hosts", files / "resolv.conf", Path("/etc/resolv.conf")):
            path.touch()

    def setup_exec(self) -> None:
        call(lib.netns_setup_exec, self.taken.encode(), ffi.NULL, 0)

    def tour(self) -> None:
        with netns.tour() as t:
            t.visit(self.ns)
            assert here() == self.link
            t.visit(self.foreign)
            t.visit(self.other)
            assert here() == f"net:[{self.other.ino}]"

    def current(self) -> None:
        netns.current().close()

    def new(self) -> None:
        netns.new().close()

    def open_name(self) -> None:
        netns.open(self.taken).close()

    def open_path(self) -> None:
        netns.open(RUN / self.taken).close()

    def from_pid(self) -> None:
        netns.from_pid(os.getpid()).close()

    def from_fd(self) -> None:
        netns.from_fd(self.ns.fileno()).close()

    def create(self) -> None:
        netns.create(self.name).close()

    def exist_ok(self) -> None:
        netns.create(self.taken, exist_ok=True).close()

    def leftover(self) -> None:
        os.close(os.open(RUN / self.name, os.O_CREAT | os.O_EXCL, 0o400))

    def link_name(self) -> None:
        (RUN / self.name).symlink_to(self.taken)

    def open_link(self) -> None:
        netns.open(self.name).close()

    def pin_name(self) -> None:
        self.ns.pin(self.name)

    def pin_path(self) -> None:
        self.ns.pin(self.path)

    def delete(self) -> None:
        netns.delete(self.name)

    def create_three(self) -> None:
        for i in range(3):
            netns.create(f"{self.name}-{i}").close()

    def delete_three(self) -> None:
        netns.delete(*(f"{self.name}-{i}" for i in range(3)))

    def delete_path(self) -> None:
        netns.delete(self.path)

    def names(self) -> None:
        # Only a name that vanishes meanwhile may be missing.
        listed = netns.names()
        vanished = self.fault is not None and self.fault.errno == errno.ENOENT
        assert vanished or self.taken in listed

    def may_miss(self, *quiet: str) -> bool:
        """Whether the fault says that something is gone, or hidden from the caller."""
        fault = self.fault
        gone = (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM)
        return fault is not None and (fault.errno in gone or fault.call in quiet)

    def discover_descriptors(self) -> None:
        netns.discover(descriptors=True)

    def discover(self) -> None:
        listed = netns.discover()
        if not self.may_miss("statx", "fstatat"):
            (taken,) = [each for each in listed if each.names == (self.taken,)]
            assert taken.paths == (str(RUN / self.taken),)
            assert os.getpid() in [pid for each in listed for pid in each.pids]
            (foreign,) = [each for each in listed if each.ino == self.foreign.ino]
            assert self.child.pid in foreign.pids

    def identify(self) -> None:
        assert netns.identify(os.getpid()) == []

    def pids(self) -> None:
        listed = netns.pids(self.foreign)
        assert self.may_miss() or self.child.pid in listed

    def attach(self) -> None:
        netns.attach(self.name, os.getpid()).close()

    def from_socket(self) -> None:
        netns.from_socket(self.socket).close()

    def from_cookie(self) -> None:
        cell = ffi.new("struct netns **")
        try:
            call(lib.netns_from_cookie, self.number, self.ns.ino, cell)
        except netns.KernelError as error:
            if self.fault is None and error.errno == errno.ENOSYS:
                return  # before Linux 6.18
            raise
        lib.netns_unref(cell[0])

    def from_descriptor(self) -> None:
        cell = ffi.new("struct netns **")
        for file in (self.ns, self.socket):
            call(lib.netns_from_descriptor, os.getpid(), file.fileno(), cell)
            lib.netns_unref(cell[0])

    def cookie(self) -> None:
        assert self.ns.cookie

    def owner_uid(self) -> None:
        old = self.fault is not None and self.fault.errno == errno.ENOTTY
        assert self.ns.owner_uid in ((0,) if not self.may_miss() and not old else (0, None))

    def nsid(self) -> None:
        assert self.ns.nsid is None

    def make_fresh(self) -> None:
        self.fresh = netns.new()

    def set_nsid(self) -> None:
        assert self.fresh
        self.fresh.nsid = -1

    def drop_fresh(self) -> None:
        assert self.fresh
        self.fresh.close()

    def nsids(self) -> None:
        netns.nsids()

    def no_run_directory(self) -> None:
        os.environ["NETNS_RUN_DIR"] = str(self.path) + "-run"

    def clean(self) -> None:
        """Removes both targets, whatever the operation made of them."""
        for target in (self.name, self.path):
            if os.path.lexists(self.path if target is self.path else RUN / self.name):
                remove(target)

    def clean_three(self) -> None:
        for i in range(3):
            if os.path.lexists(RUN / f"{self.name}-{i}"):
                remove(f"{self.name}-{i}")

    def clean_run_directory(self) -> None:
        run = Path(os.environ.pop("NETNS_RUN_DIR", str(self.path) + "-run"))
        subprocess.run(["umount", "-l", run / self.name], stderr=subprocess.DEVNULL)
        while subprocess.run(["umount", run], stderr=subprocess.DEVNULL).returncode == 0:
            pass
        (run / self.name).unlink(missing_ok=True)
        if run.exists():
            run.rmdir()


def remove(target: str | Path) -> None:
    """The library removes a name. The file of a path that was never bound is removed here."""
    try:
        netns.delete(target)
    except netns.NotNamespaceError:
        assert isinstance(target, Path)
        assert target.stat().st_size == 0
        target.unlink()


OPERATIONS: dict[str, tuple[str, str, str]] = {
    "current": ("nothing", "current", "nothing"),
    "do, a thread's first": ("nothing", "do", "nothing"),
    "do": ("warm", "do", "nothing"),
    "do in a body": ("warm", "do_nested", "nothing"),
    "do, inside already": ("warm", "do_inside", "nothing"),
    "do, another owner": ("warm", "do_foreign", "nothing"),
    "do, without /proc": ("own_mounts", "do_without_proc", "nothing"),
    "do_in_thread": ("nothing", "do_in_thread", "nothing"),
    "enter": ("warm", "enter", "nothing"),
    "guards out of order": ("warm", "out_of_order", "nothing"),
    "do, a fresh handle": ("warm", "do_fresh", "nothing"),
    "netns_do": ("warm", "do_native", "nothing"),
    "socket": ("warm", "make_socket", "nothing"),
    "socket, a thread's first": ("nothing", "make_socket", "nothing"),
    "sockets": ("warm", "make_sockets", "nothing"),
    "tour": ("warm", "tour", "nothing"),
    "setup_exec": ("nothing", "setup_exec", "nothing"),
    "setup_exec, files too": ("own_etc", "setup_exec", "nothing"),
    "set": ("warm", "set", "nothing"),
    "new": ("nothing", "new", "nothing"),
    "create": ("nothing", "create", "clean"),
    "create, the run directory too": ("no_run_directory", "create", "clean_run_directory"),
    "create, over a leftover": ("leftover", "create", "clean"),
    "create, exist_ok": ("nothing", "exist_ok", "nothing"),
    "pin, a name": ("nothing", "pin_name", "clean"),
    "pin, a path": ("nothing", "pin_path", "clean"),
    "open, a name": ("nothing", "open_name", "nothing"),
    "open, a link": ("link_name", "open_link", "clean"),
    "open, a path": ("nothing", "open_path", "nothing"),
    "from_pid": ("nothing", "from_pid", "nothing"),
    "from_thread, without /proc": ("own_mounts", "from_thread_without_proc", "nothing"),
    "from_fd": ("nothing", "from_fd", "nothing"),
    "names": ("nothing", "names", "nothing"),
    "discover": ("nothing", "discover", "nothing"),
    "discover, descriptors": ("nothing", "discover_descriptors", "nothing"),
    "identify": ("nothing", "identify", "nothing"),
    "pids": ("nothing", "pids", "nothing"),
    "attach": ("nothing", "attach", "clean"),
    "from_socket": ("nothing", "from_socket", "nothing"),
    "from_cookie": ("nothing", "from_cookie", "nothing"),
    "from_descriptor": ("nothing", "from_descriptor", "nothing"),
    "cookie": ("nothing", "cookie", "nothing"),
    "owner_uid": ("nothing", "owner_uid", "nothing"),
    "nsid": ("nothing", "nsid", "nothing"),
    "nsid, set": ("make_fresh", "set_nsid", "drop_fresh"),
    "nsids": ("nothing", "nsids", "nothing"),
    "delete, a name": ("pin_name", "delete", "clean"),
    "delete, a path": ("pin_path", "delete_path", "clean"),
    "delete, a leftover": ("leftover", "delete", "clean"),
    "delete, a link": ("link_name", "delete", "clean"),
    "delete, three names": ("create_three", "delete_three", "clean_three"),
}
CHANGES_FILES = [name for name, (_, _, undo) in OPERATIONS.items() if undo[:5] == "clean"]

# These make some system calls for each process and each pin of the machine, so they
# run where there are few.
SCANS = ("discover", "discover, descriptors", "identify", "pids")
FEW = "NETNS_TESTS_WITH_FEW_PROCESSES"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def judge(outcome: Outcome, home: str, moved_to: str) -> str:
    """The outcome of an operation under a fault, in a word; any other one is a bug.

    moved_to: where a success leaves the thread.
    """
    error = outcome.error
    if isinstance(error, netns.RestoreError):
        # The return failed and was reported. The thread is refused from then on,
        # unless an outer guard brought it home.
        assert error.step == "return home"
        if outcome.link == home:
            assert outcome.again is None
        else:
            assert isinstance(outcome.again, netns.RestoreError)
        return "loud"
    assert outcome.link == (home if error else moved_to)
    assert outcome.again is None
    if error is None:
        return "coped"
    assert isinstance(error, netns.Error), repr(error)
    assert error.errno
    assert error.step
    assert error.step != "nothing"
    return "refused"


def has_pidfd_namespaces() -> bool:
    """Whether a pidfd tells its process's namespace (Linux 6.11): the only way without /proc."""
    try:
        with open(os.pidfd_open(os.getpid()), "rb") as pidfd:
            os.close(fcntl.ioctl(pidfd, PIDFD_GET_NET_NAMESPACE))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_call_fails_with_every_errno(
    stage: Stage, operation: str, row: list[object]
) -> None:
    if "without /proc" in operation and not has_pidfd_namespaces():
        reason = "pidfds tell no namespaces here: Linux 6.11 is needed"
        pytest.skip(reason)
    if operation in SCANS and FEW not in os.environ:
        sweep_among_few(operation, row, stage.path.with_name("row"))
        return
    prepare, act, undo = (getattr(stage, name) for name in OPERATIONS[operation])
    made: list[str] = []

    def dry_run() -> None:
        prepare()
        made[:] = calls(act)

    for _ in range(2):  # the first time it also asks what a handle then remembers
        on_a_thread(dry_run)
        undo()
    assert made
    gc.collect()
    before = world(stage.directory)
    counts = {"refused": 0, "coped": 0, "loud": 0}
    for fault in plan(list(made)):
        stage.fault = fault
        moved_to = stage.link if operation == "set" else stage.home
        try:
            outcome = inject(fault, prepare, act)
            if not outcome.given:
                # Others' namespaces made the dry run repeat a netlink dump, or made it
                # longer: now there are fewer calls.
                undo()
                on_a_thread(dry_run)
                undo()
                assert fault.nth > len(made), "the fault was not reached"
                continue
            counts[judge(outcome, stage.home, moved_to)] += 1
            if not fault.persistent:
                check_names(stage)
            undo()
            gc.collect()
            assert world(stage.directory) == before
        except BaseException as error:
            error.args = (*error.args, f"{operation}: {fault}")
            raise
    total = sum(counts.values())
    row.extend([operation, len(made), total, *counts.values(), 0])
    if FEW in os.environ:
        Path(os.environ[FEW]).write_text(json.dumps(row))


def sweep_among_few(operation: str, row: list[object], result: Path) -> None:
    """Runs this test again, in a pid namespace of its own."""
    test = f"{__file__}::test_every_call_fails_with_every_errno[{operation}]"
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c"]
    alone += ['umount -a -l -t nsfs; exec "$@"', "sh"]
    pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c"]
    run = subprocess.run(
        [*alone, *pytest_command, str(Path(__file__).parents[2] / "pyproject.toml"), test],
        env={**os.environ, FEW: str(result)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    row.extend(json.loads(result.read_text()))


@pytest.mark.skipif(FEW in os.environ, reason="needs a machine with many processes")
def test_a_helper_that_does_not_start(stage: Stage) -> None:
    """Threads share the scan of many processes; without them the caller does it alone."""
    many = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(400)]
    try:
        made = calls(stage.discover)
        assert "pthread_create" in made
        # The other processes of the machine decide when it comes.
        index = made.index("pthread_create")
        for nth in range(index - 60, index + 60):
            lib.fault_arm(nth, errno.EAGAIN, 0)
            try:
                listed = netns.discover()
            except netns.Error:
                continue
            finally:
                lib.fault_disarm()
            if trace()[nth - 1] == "pthread_create":
                break
        else:
            pytest.fail("the thread's start was not reached")
        held = {pid for each in listed for pid in each.pids}
        assert {child.pid for child in many} <= held
    finally:
        for child in many:
            child.communicate()


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in SCANS])
def test_forked_before_every_call(stage: Stage, operation: str, row: list[object]) -> None:
    """A child forked at any moment is at home, can close its handles, and keeps no lock.

    One is forked on the operation's thread and one on another; the operation goes on.
    """
    if "without /proc" in operation:
        reason = "the child could not look at itself"
        pytest.skip(reason)
    prepare, act, undo = (getattr(stage, name) for name in OPERATIONS[operation])
    made: list[str] = []

    def dry_run() -> None:
        prepare()
        made[:] = calls(act)

    for _ in range(2):
        on_a_thread(dry_run)
        undo()
    gc.collect()
    before = world(stage.directory)
    moved_to = stage.link if operation == "set" else stage.home
    with netns.new() as probe:
        lib.fault_fork_with(native(probe))
        for nth, call in enumerate(made, 1):
            outcome = inject(Fault(nth, call, lib.FAULT_FORK, False), prepare, act)
            why = f"{operation}: forked before call {nth} ({call})"
            assert not lib.fault_bad_forks(), f"{why}: {ffi.string(lib.fault_bad_fork()).decode()}"
            assert (outcome.error, outcome.again, outcome.link) == (None, None, moved_to), why
            undo()
    gc.collect()
    assert world(stage.directory) == before
    row.extend([operation + ", forked", len(made), 2 * len(made), 0, 2 * len(made), 0, 0])


def check_names(stage: Stage) -> None:
    """Each name that is listed is a working namespace."""
    for name in netns.names():
        if name.startswith(stage.name):
            netns.open(name).close()


def killed_before(nth: int, prepare: Callable[[], object], act: Callable[[], object]) -> bool:
    """Runs act() in a child that is killed before its nth call; whether it came that far."""
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            lib.fault_arm(nth, lib.FAULT_KILL, 0)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -9), status
    return status == -9


@pytest.mark.parametrize(
    "operation", [name for name in CHANGES_FILES if "run directory" not in name]
)
def test_killed_before_every_call(stage: Stage, operation: str, row: list[object]) -> None:
    """The next creator of the name succeeds at once, and nothing piles up."""
    prepare, act, undo = (getattr(stage, name) for name in OPERATIONS[operation])
    gc.collect()
    before = world(stage.directory)
    kills = 0
    while killed_before(kills + 1, prepare, act):
        kills += 1
        check_names(stage)
        assert stage.taken in netns.names()
        # If the victim had pinned already, this opens its namespace.
        with netns.create(stage.name, exist_ok=True) as ns, netns.open(stage.name) as again:
            assert ns == again
        ip = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True)
        assert stage.name in ip.stdout
        netns.delete(stage.name)
        undo()
        assert world(stage.directory) == before, f"{operation}: killed before call {kills}"
    undo()
    assert kills > 5
    row.extend([operation + ", killed", kills, 0, 0, 0, 0, kills])


def test_killed_while_making_the_run_directory(stage: Stage, row: list[object]) -> None:
    """The next creator finds it mounted on itself once, or not at all, and shares it."""
    kills = 0
    while True:
        stage.no_run_directory()
        run = os.environ["NETNS_RUN_DIR"]
        if not killed_before(kills + 1, stage.nothing, stage.create):
            break
        kills += 1
        with netns.create(stage.name, exist_ok=True):
            pass
        mounts = mountinfo()
        assert [fields[6].split(":")[0] for fields in mounts if fields[4] == run] == ["shared"]
        assert [fields[4] for fields in mounts].count(f"{run}/{stage.name}") == 1
        stage.clean_run_directory()
    stage.clean_run_directory()
    assert kills > 15
    row.extend(["create, the run directory too, killed", kills, 0, 0, 0, 0, kills])
