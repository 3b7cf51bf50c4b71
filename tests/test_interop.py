"""Other tools use the run directory too: their pins, their leftovers and their links."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import netns
from support import LIBC, here

MS_BIND, MNT_DETACH = 0x1000, 2
MODES = {"iproute2": 0, "containerd": 0o444, "CRI-O": 0o644, "podman": 0o600, "another": 0o755}
IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")

WAITER = """
import sys, netns
netns.create("waited-for", exist_ok=True, rundir=sys.argv[1]).close()
"""


def leave(path: Path, mode: int) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    path.chmod(mode)


class Old:
    """What dead creators left some seconds ago. All tests share it, and so the wait."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.ns = netns.create("old", rundir=run)
        for who, mode in {**MODES, "left": 0o644, "waited-for": 0o644}.items():
            leave(run / who, mode)
        (run / "lab").symlink_to("/proc/0/ns/net")
        (run / "to-left").symlink_to("left")
        self.ready = time.time() + 6
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.waiter = subprocess.Popen([sys.executable, "-c", WAITER, run], env=environment)

    def wait(self) -> None:
        """A leftover is one from a certain age on, which nothing but time gives it."""
        time.sleep(max(0, self.ready - time.time()))

    def close(self) -> None:
        self.waiter.wait()
        self.ns.close()
        netns.delete(*netns.names(rundir=self.run), rundir=self.run)
        while (
            subprocess.run(["umount", "-l", self.run], stderr=subprocess.DEVNULL).returncode == 0
        ):
            pass


@pytest.fixture(scope="module", autouse=True)
def old() -> Iterator[Old]:
    with tempfile.TemporaryDirectory(prefix="netns-test-") as folder:
        made = Old(Path(folder))
        yield made
        made.close()


# A container runtime makes a file and mounts over it; later it unmounts, and removes the file.
RUNTIME = """
import ctypes, errno, os, subprocess, sys, netns
from pathlib import Path

RUN = Path("/run/netns")
libc = ctypes.CDLL(None, use_errno=True)

def pin(name, source="/proc/self/ns/net", mode=0o644):
    os.close(os.open(RUN / name, os.O_CREAT | os.O_EXCL, mode))
    assert libc.mount(source.encode(), bytes(RUN / name), b"none", 4096, None) == 0

def unpin(name):
    if libc.umount2(bytes(RUN / name), 2):
        raise OSError(ctypes.get_errno(), "umount2")
    os.unlink(RUN / name)

def mounted(name, pid="self"):
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines].count(str(RUN / name))

class Filter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_char_p)]

def refuse(number, *calls):
    "From now on those system calls fail, as in a sandbox or on an older kernel."
    def op(code, jt, jf, k):
        return code.to_bytes(2, sys.byteorder) + bytes((jt, jf)) + k.to_bytes(4, sys.byteorder)
    code = op(0x20, 0, 0, 0)
    for call in calls:
        code += op(0x15, 0, 1, call) + op(6, 0, 0, 0x50000 | number)
    code += op(6, 0, 0, 0x7FFF0000)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Filter(len(code) // 8, code)), 0, 0) == 0
"""
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR, STATX = 428, 429, 442, 332


def on_a_host(script: str, propagation: str, directory: str = "mkdir /run/netns") -> str:
    """Runs a script with a /run of its own, whose mount has that propagation."""
    assert IP is not None
    run = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
        + [
            f'mount -t tmpfs none /run; mount --make-{propagation} /run; {directory}; exec "$@"',
            *("sh", sys.executable, "-c", RUNTIME + f"IP = {IP!r}\n" + script),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


KERNELS = {
    "this kernel": "",
    "older than 5.2": f"refuse(errno.ENOSYS, {OPEN_TREE}, {MOVE_MOUNT}, {MOUNT_SETATTR})\n",
    "5.2 to 5.11": f"refuse(errno.ENOSYS, {MOUNT_SETATTR})\n",
    "an older sandbox": f"refuse(errno.EPERM, {OPEN_TREE}, {MOVE_MOUNT}, {MOUNT_SETATTR})\n",
}

PINS = """
pin("cni-1"); pin("cni-2", mode=0o444); pin("cni-3", mode=0o600)
pin("cni-uts", "/proc/self/ns/uts")
for name in ("ours-1", "ours-2"):
    netns.create(name).close()
assert netns.names() == ["cni-1", "cni-2", "cni-3", "ours-1", "ours-2"], netns.names()
for name in (*netns.names(), "cni-uts"):
    assert mounted(name) == 1, name
unpin("cni-1"); unpin("cni-uts")
if IP:
    subprocess.run([IP, "netns", "delete", "cni-2"], check=True)
else:
    unpin("cni-2")
netns.delete("cni-3")
unpin("ours-1")
pin("cni-1")
unpin("cni-1")
netns.delete("ours-2")
assert not os.listdir(RUN), os.listdir(RUN)
assert not any(map(mounted, ("cni-1", "cni-2", "cni-3", "cni-uts", "ours-1", "ours-2")))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of x86-64's calls")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("propagation", ["shared", "private", "unbindable"])
def test_pins_of_others_stay_removable(propagation: str, kernel: str) -> None:
    """Others pinned before the library shares the run directory for the first time."""
    if propagation == "unbindable":  # it can't be mounted on itself, and so not be shared
        script = KERNELS[kernel] + "pin('a')\ntry: netns.create('b').close()\n"
        on_a_host(script + "except netns.Error: pass\nunpin('a')", propagation)
        return
    on_a_host(KERNELS[kernel] + PINS, propagation)


SLAVE = """
import time
script = "touch /run/netns/own && mount --bind /proc/self/ns/net /run/netns/own && echo && "
script += "read line && umount -l /run/netns/own && rm /run/netns/own && echo removed && cat"
pin("cni-1")
slave = subprocess.Popen(
    ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
assert slave.stdout.readline() == "\\n"
assert mounted("cni-1", slave.pid) == mounted("own", slave.pid) == 1
with netns.create("ours"):
    assert mounted("ours", slave.pid) == SEEN
    assert mounted("cni-1", slave.pid) == 1
    slave.stdin.write("\\n"); slave.stdin.flush()
    assert slave.stdout.readline() == "removed\\n"
    unpin("cni-1")
    netns.delete("ours")
    assert mounted("cni-1", slave.pid) == 1 - SEEN or not SEEN
    assert not mounted("ours", slave.pid)
slave.communicate()
assert not os.listdir(RUN), os.listdir(RUN)
"""


@pytest.mark.parametrize("propagation", ["shared", "private"])
def test_pins_of_others_in_a_slave_mount_namespace(propagation: str) -> None:
    """Pins that came there from the master, and pins that were made there."""
    on_a_host(f"SEEN = {int(propagation == 'shared')}\n" + SLAVE, propagation)


def test_a_slave_still_sees_the_pins_of_its_master() -> None:
    """Sharing the run directory of a slave must not end what it receives from its master."""
    script = """
pin("before")
inside = RUNTIME + '''
netns.create("ours").close()
print(flush=True); input()
assert mounted("later") >= 1 and "later" in netns.names(), netns.names()
print(flush=True); input()
assert "later" not in netns.names() and "before" not in netns.names()
netns.delete("ours")
'''
slave = subprocess.Popen(
    ["unshare", "--mount", "--propagation", "slave", sys.executable, "-c", inside],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
assert slave.stdout.readline() == "\\n"
pin("later")
slave.stdin.write("\\n"); slave.stdin.flush()
assert slave.stdout.readline() == "\\n"
unpin("later"); unpin("before")
slave.stdin.write("\\n"); slave.stdin.close()
assert slave.wait() == 0
assert os.listdir(RUN) == [], os.listdir(RUN)
"""
    on_a_host(f"RUNTIME = {RUNTIME!r}\n" + script, "shared")


def test_names_come_and_go_in_mount_namespaces_made_later() -> None:
    for propagation in ("shared", "private"):
        on_a_host(
            """
netns.create("a").close()
later = subprocess.Popen(
    ["unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo; exec cat"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
later.stdout.readline()
netns.create("b").close()
netns.delete("a")
assert (mounted("a", later.pid), mounted("b", later.pid)) == (0, 1)
netns.delete("b")
assert mounted("b", later.pid) == 0
later.communicate()
""",
            propagation,
        )


def test_ip_netns_before_and_after() -> None:
    """`ip netns add` mounts the run directory on itself; the library copes with that mount."""
    for propagation in ("shared", "private"):
        on_a_host(
            """
pin("cni-1")
netns.create("ours-1").close()
subprocess.run([IP, "netns", "add", "theirs-1"], check=True)
netns.create("ours-2").close()
assert netns.names() == ["cni-1", "ours-1", "ours-2", "theirs-1"]
subprocess.run([IP, "netns", "delete", "ours-1"], check=True)
netns.delete("theirs-1", "ours-2")
unpin("cni-1")
assert not os.listdir(RUN), os.listdir(RUN)
""",
            propagation,
        )


def test_without_proc() -> None:
    """Without /proc the propagation of the mount is not known, so it is not changed."""
    on_a_host(
        """
pin("cni-1")
assert libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
try:
    netns.create("ours").close()
    assert netns.is_netns("ours")
    netns.delete("ours")
finally:
    assert libc.umount2(b"/proc", 2) == 0
unpin("cni-1")
assert not os.listdir(RUN)
""",
        "private",
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of x86-64's calls")
def test_an_old_name_is_no_leftover(old: Old) -> None:
    """The file of a namespace is empty as well, and before Linux 5.8 no call tells a mount."""
    old.wait()
    on_a_host(
        f"""
refuse(errno.ENOSYS, {STATX})
pin("old", "/proc/{os.getpid()}/fd/{old.ns.fileno()}")
try:
    netns.create("old")
except netns.ExistsError:
    assert mounted("old") == 1
else:
    raise AssertionError("taken over")
""",
        "private",
    )


# leftovers


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run directory that the library has shared already."""
    path = tmp_path / "run"
    path.mkdir()
    netns.create("first", rundir=path).close()
    netns.delete("first", rundir=path)
    yield path
    while subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL).returncode == 0:
        pass


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_leftovers_of_any_mode_are_absent_and_removed(run: Path, mode: int) -> None:
    leave(run / "left", mode)
    assert netns.names(rundir=run) == []
    with pytest.raises(netns.NotFoundError):
        netns.open("left", rundir=run)
    command = [sys.executable, "-m", "netns", "--rundir", str(run), "exec", "left", "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "No such file" in done.stderr
    netns.delete("left", rundir=run)
    assert not (run / "left").exists()


def test_leftovers_of_any_mode_are_taken_over(run: Path, old: Old) -> None:
    for who, mode in MODES.items():
        leave(run / who, mode)
        with pytest.raises(netns.ExistsError):  # its creator may be about to bind it
            netns.create(who, rundir=run)
    old.wait()
    for who in MODES:
        with netns.create(who, rundir=old.run) as ns, netns.open(who, rundir=old.run) as again:
            assert ns == again
    assert {*MODES} <= {*netns.names(rundir=old.run)}
    netns.delete(*MODES, rundir=old.run)
    assert not {*MODES} & {path.name for path in old.run.iterdir()}


def test_exist_ok_outwaits_a_leftover(old: Old) -> None:
    assert old.waiter.wait(60) == 0
    assert netns.is_netns(old.run / "waited-for")
    netns.delete("waited-for", rundir=old.run)
    assert not (old.run / "waited-for").exists()


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o644])
def test_a_file_with_content_is_nobodys(run: Path, mode: int) -> None:
    (run / "full").write_text("content")
    (run / "full").chmod(mode)
    for call in (netns.open, netns.delete):
        with pytest.raises(netns.NotNamespaceError):
            call("full", rundir=run)
    with pytest.raises(netns.ExistsError):
        netns.create("full", rundir=run)
    with netns.new() as ns, pytest.raises(netns.ExistsError):
        ns.pin(run / "full")
    assert (run / "full").read_text() == "content"


@pytest.mark.parametrize("source", ["file", "/proc/uptime"])
def test_an_empty_file_that_is_mounted_is_somebodys(run: Path, source: str) -> None:
    (run / "file").touch()
    leave(run / "point", 0o400)
    assert (
        LIBC.mount(os.fsencode(run / source), os.fsencode(run / "point"), None, MS_BIND, None) == 0
    )
    with pytest.raises(netns.NotNamespaceError):
        netns.open("point", rundir=run)
    with pytest.raises(netns.NotNamespaceError):
        netns.delete("point", rundir=run)
    with pytest.raises(netns.ExistsError):
        netns.create("point", rundir=run)
    with pytest.raises(netns.NotNamespaceError):
        netns.create("point", exist_ok=True, rundir=run)
    assert LIBC.umount2(os.fsencode(run / "point"), MNT_DETACH) == 0


def reboot(path: Path) -> None:
    """A reboot leaves the file of a pin and no mount."""
    assert LIBC.umount2(os.fsencode(path), MNT_DETACH) == 0


def test_a_stale_path_of_ours(ns: netns.NetNS, tmp_path: Path) -> None:
    path = tmp_path / "pinned"
    ns.pin(path)
    reboot(path)
    assert not netns.is_netns(path)
    with pytest.raises(netns.NotFoundError):
        netns.open(path)
    ns.pin(path)
    with netns.open(path) as again:
        assert again == ns
    reboot(path)
    netns.delete(path)
    assert not path.exists()


def test_stale_paths_among_many_targets(ns: netns.NetNS, tmp_path: Path, name: str) -> None:
    stale, live, theirs = (tmp_path / each for each in ("stale", "live", "theirs"))
    ns.pin(stale)
    reboot(stale)
    ns.pin(live)
    ns.pin(name)
    theirs.touch()
    with pytest.raises(netns.NotNamespaceError) as caught:
        netns.delete(stale, live, theirs, name)
    assert caught.value.path == str(theirs)
    assert list(tmp_path.iterdir()) == [theirs]
    with pytest.raises(netns.ExistsError):
        ns.pin(theirs)


@contextlib.contextmanager
def churn_of_others(run: Path) -> Iterator[None]:
    """Others make files, mount, unmount and remove them, and links to them, all the time."""
    stop = threading.Event()

    def churn(ns: netns.NetNS, mode: int) -> None:
        source = f"/proc/self/fd/{ns.fileno()}".encode()
        mounted: list[bytes] = []
        for path in itertools.cycle(os.fsencode(run / f"cni-{mode}-{n}") for n in range(2)):
            if not stop.is_set():
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, mode))
                LIBC.mount(source, path, None, MS_BIND, None)
                mounted.append(path)
            # An unmount takes the kernel long, and meanwhile the other one is there.
            if len(mounted) > 1 or (mounted and stop.is_set()):
                LIBC.umount2(mounted[0], MNT_DETACH)
                os.unlink(mounted.pop(0))
            if not mounted:
                return

    def link(path: Path, target: Path) -> None:
        while not stop.is_set():
            path.symlink_to(target)
            path.unlink()

    with netns.new() as ns:
        jobs = [threading.Thread(target=churn, args=(ns, mode)) for mode in (0o000, 0o644)]
        jobs.append(threading.Thread(target=link, args=(run / "link", run / "cni-420-0")))
        for job in jobs:
            job.start()
        try:
            yield
        finally:
            stop.set()
            for job in jobs:
                job.join()


def test_calls_beside_the_churn_of_others(run: Path) -> None:
    with (
        netns.create("stable", rundir=run) as stable,
        netns.watch(rundir=run) as watch,
        churn_of_others(run),
    ):
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert "stable" in netns.names(rundir=run)
            assert stable.ino in [each.ino for each in netns.discover(rundir=run)]
            watch.pending()
            for name in ("cni-420-0", "link"):
                with contextlib.suppress(netns.NotFoundError):
                    netns.open(name, rundir=run).close()
    netns.delete("stable", rundir=run)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to hold calls up")
def test_names_that_go_while_they_are_listed(run: Path) -> None:
    """strace holds each call on the directory up, so that its answer is out of date."""
    script = """
import sys, netns
netns.create("stable", rundir=sys.argv[1]).close()
for _ in range(40):
    assert "stable" in netns.names(rundir=sys.argv[1])
netns.delete("stable", rundir=sys.argv[1])
"""
    slowly = ["strace", "-qq", "-o", os.devnull, "-P", str(run)]
    slowly += ["-e", "inject=getdents64,newfstatat:delay_exit=2000"]
    with churn_of_others(run):
        listing = [*slowly, sys.executable, "-W", "error", "-c", script, str(run)]
        done = subprocess.run(listing, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# links


@pytest.fixture
def container() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a network namespace of its own."""
    child = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.read(1)
    yield child
    child.communicate()


def command(run: Path, *args: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "netns", "--rundir", run, *map(str, args)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_name_that_is_a_link(run: Path, container: subprocess.Popen[bytes]) -> None:
    """Container tools make such names: links into /proc."""
    target = f"/proc/{container.pid}/ns/net"
    link, ino = os.readlink(target), os.stat(target).st_ino
    (run / "lab").symlink_to(target)
    assert netns.names(rundir=run) == ["lab"]
    with netns.open("lab", rundir=run) as ns:
        assert (ns.ino, ns.name) == (ino, "lab")
        assert ns.do(lambda host: here()) == link
    assert netns.pids("lab", rundir=run) == [container.pid]
    assert netns.identify(container.pid, rundir=run) == ["lab"]
    (found,) = [each for each in netns.discover(rundir=run) if each.ino == ino]
    assert (found.names, found.paths) == (("lab",), (str(run / "lab"),))
    with found.open() as ns:
        assert ns.ino == ino
    with netns.watch(rundir=run) as watch:
        assert dict(watch.names) == {"lab": ino}
    assert command(run, "list").split()[0] == "lab"
    assert command(run, "exec", "lab", "readlink", "/proc/self/ns/net").strip() == link
    assert command(run, "pids", "lab") == f"{container.pid}\n"
    assert command(run, "identify", container.pid) == "lab\n"
    with pytest.raises(netns.ExistsError):
        netns.create("lab", rundir=run)
    with netns.create("lab", exist_ok=True, rundir=run) as ns:
        assert ns.ino == ino
    netns.delete("lab", rundir=run)
    assert not any(run.iterdir())
    assert os.stat(target).st_ino == ino
    assert container.poll() is None


def test_links_to_names_paths_links_and_descriptors(run: Path, tmp_path: Path) -> None:
    with netns.create("a", rundir=run) as ns, netns.new() as other:
        other.pin(tmp_path / "pinned")
        (run / "relative").symlink_to("a")
        (run / "twice").symlink_to("relative")
        (run / "path").symlink_to(tmp_path / "pinned")
        (run / "fd").symlink_to(f"/proc/{os.getpid()}/fd/{other.fileno()}")
        assert netns.names(rundir=run) == ["a", "fd", "path", "relative", "twice"]
        for name, which in (("relative", ns), ("twice", ns), ("path", other), ("fd", other)):
            with netns.open(name, rundir=run) as opened:
                assert opened == which
        found = {each.ino: each.names for each in netns.discover(rundir=run)}
        assert found[ns.ino] == ("a", "relative", "twice")
        assert found[other.ino] == ("fd", "path")
        netns.delete("relative", "twice", "path", "fd", rundir=run)
        assert [path.name for path in run.iterdir()] == ["a"]
        assert netns.is_netns(tmp_path / "pinned")
        assert netns.is_netns(run / "a")
        netns.delete("a", tmp_path / "pinned", rundir=run)


def test_links_that_lead_to_no_network_namespace(run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "full").write_text("content")
    targets = {
        "fifo": tmp_path / "fifo",
        "full": tmp_path / "full",
        "mnt": Path("/proc/self/ns/mnt"),
        "device": Path("/dev/null"),
        "directory": tmp_path,
    }
    for name, target in targets.items():
        (run / name).symlink_to(target)
    (run / "loop").symlink_to("loop")
    assert netns.names(rundir=run) == []
    assert not [each for each in netns.discover(rundir=run) if each.names]
    for name in targets:
        for call in (netns.open, netns.delete):
            with pytest.raises(netns.NotNamespaceError):
                call(name, rundir=run)
        with pytest.raises(netns.ExistsError):
            netns.create(name, rundir=run)
    with pytest.raises(netns.Error) as caught:
        netns.open("loop", rundir=run)
    assert caught.value.errno == errno.ELOOP
    assert sorted(path.name for path in run.iterdir()) == sorted([*targets, "loop"])


def test_a_link_whose_target_is_gone(
    run: Path, container: subprocess.Popen[bytes], old: Old
) -> None:
    """The container has ended: the name is absent, delete() removes it, create() replaces it."""
    (run / "lab").symlink_to(f"/proc/{container.pid}/ns/net")
    (run / "again").symlink_to(f"/proc/{container.pid}/ns/net")
    leave(run / "left", 0o644)
    (run / "to-left").symlink_to("left")
    container.communicate()
    assert netns.names(rundir=run) == []
    for name in ("lab", "again", "to-left"):
        with pytest.raises(netns.NotFoundError):
            netns.open(name, rundir=run)
        with pytest.raises(netns.ExistsError):
            netns.create(name, rundir=run)
    netns.delete("again", "lab", "to-left", "left", rundir=run)
    assert not any(run.iterdir())
    old.wait()
    for name in ("lab", "to-left"):
        with netns.create(name, exist_ok=True, rundir=old.run) as ns:
            assert (old.run / name).lstat().st_ino == ns.ino
    assert (old.run / "left").lstat().st_size == 0
    netns.delete("lab", "to-left", "left", rundir=old.run)


def test_watch_tells_of_links() -> None:
    """Also while the run directory is made, removed and made again.

    In a mount namespace of its own, where no mount of others wakes the watch.
    """
    on_a_host(
        """
import signal
run = RUN.with_name("links")
signal.alarm(20)  # it would wait for ever
with netns.watch(rundir=run) as watch:
    for _ in range(2):
        run.mkdir()
        (run / "lab").symlink_to("/proc/self/ns/net")
        assert next(watch) == ("appeared", "lab")
        (run / "lab").rename(run / "other")
        assert {next(watch), next(watch)} == {("disappeared", "lab"), ("appeared", "other")}
        (run / "other").unlink()
        assert next(watch) == ("disappeared", "other")
        run.rmdir()
""",
        "private",
    )


def test_watch_where_there_is_no_more_inotify(run: Path) -> None:
    """A user may have few inotify instances. Without one, a mount tells of the links as well."""
    fds = []
    try:
        while (fd := LIBC.inotify_init1(os.O_CLOEXEC)) >= 0:
            fds.append(fd)
        with netns.watch(timeout=10, rundir=run) as watch:
            (run / "link").symlink_to("/proc/self/ns/net")
            netns.create("a", rundir=run).close()
            assert {next(watch), next(watch)} == {("appeared", "a"), ("appeared", "link")}
    finally:
        for fd in fds:
            os.close(fd)
    netns.delete("a", "link", rundir=run)


def test_a_run_directory_that_is_a_link(tmp_path: Path) -> None:
    """Many are advised to make /run/netns a link to /run/docker/netns."""
    real, run = tmp_path / "docker", tmp_path / "run"
    real.mkdir()
    run.symlink_to(real)
    try:
        with netns.new() as theirs:
            theirs.pin(real / "theirs")
            assert netns.names(rundir=run) == ["theirs"]
            with netns.watch(timeout=10, rundir=run) as watch:
                with netns.create("ours", rundir=run) as ns:
                    assert ns.path == str(run / "ours")
                assert next(watch) == ("appeared", "ours")
                with netns.open("theirs", rundir=run) as again:
                    assert again == theirs
                found = {name for each in netns.discover(rundir=run) for name in each.names}
                assert found == {"ours", "theirs"}
                assert command(run, "list").split() == ["ours", "theirs"]
                assert Path(real / "ours").exists()
                netns.delete("ours", "theirs", rundir=run)
                assert {next(watch), next(watch)} == {
                    ("disappeared", "ours"),
                    ("disappeared", "theirs"),
                }
        assert run.is_symlink()
        assert not any(real.iterdir())
    finally:
        subprocess.run(["umount", real], stderr=subprocess.DEVNULL)


def test_users_may_not_follow_every_link(run: Path) -> None:
    """names() leaves out a link that the user may not follow, and raises nothing."""
    if int(Path("/proc/self/uid_map").read_text().split()[2]) <= 65534:
        reason = "a user namespace that has no second user"
        pytest.skip(reason)
    (run / "lab").symlink_to(f"/proc/{os.getpid()}/ns/net")
    (run / "own").symlink_to("/proc/self/ns/net")
    netns.names(rundir=run)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.chdir(run)  # the folders above are root's alone
            os.setresuid(65534, 65534, 65534)
            status = 0 if netns.names(rundir=".") == ["own"] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
