"""names, discover, identify, pids, attach. (check and is_netns are in test_handle.py.)"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netns
from support import (
    RUN,
    Capabilities,
    ends,
    needs_cookies,
    nsfs_mounts,
    refusing,
    unshare_run_directory,
)


def test_names_are_sorted_and_real(name: str) -> None:
    made = [name + suffix for suffix in ("-c", "-a", "-b")]
    strangers = [RUN / f"{name}-{kind}" for kind in ("file", "link", "fifo", "uts")]
    try:
        for each in made:
            netns.create(each).close()
        strangers[0].touch()
        strangers[1].symlink_to("/proc/self/ns/uts")
        subprocess.run(["mkfifo", strangers[2]], check=True)
        strangers[3].touch()
        subprocess.run(["mount", "--bind", "/proc/self/ns/uts", strangers[3]], check=True)
        assert [each for each in netns.names() if each.startswith(name)] == sorted(made)
        with strangers[3].open("rb") as held:  # its link in /proc does not tell the type
            uts = os.fstat(held.fileno()).st_ino
            assert uts not in {each.ino for each in netns.discover(descriptors=True)}
    finally:
        subprocess.run(["umount", strangers[3]], check=True)
        for path in strangers:
            path.unlink()
        netns.delete(*made)


def test_many_names(name: str) -> None:
    made = [f"{name}-{i:03}" for i in range(150)]
    try:
        for each in made:
            netns.create(each).close()
        assert [each for each in netns.names() if each.startswith(name)] == made
    finally:
        netns.delete(*made)


# discover, identify, pids, attach


def found(ino: int) -> netns.Found:
    (one,) = [each for each in netns.discover() if each.ino == ino]
    return one


def inode(pid: int) -> int:
    return int(os.readlink(f"/proc/{pid}/ns/net")[5:-1])


@contextlib.contextmanager
def process(ns: netns.NetNS) -> Iterator[int]:
    """A process in the namespace, which waits for the end of the block."""
    with ns.enter():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        yield child.pid
    finally:
        child.communicate()


@contextlib.contextmanager
def resident(ns: netns.NetNS) -> Iterator[int]:
    """A thread of this process that stays in the namespace until the end of the block."""
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        ns.set()
        inside.set()
        leave.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(60)
    try:
        yield thread.native_id or 0
    finally:
        leave.set()
        thread.join()
        assert ends(str(thread.native_id))


def test_each_kind_of_holder(tmp_path: Path, name: str) -> None:
    odd = tmp_path / "a blank, a \\ and\na newline \\040"
    with netns.create(name) as named:
        pass
    try:
        with netns.new() as ns, process(ns) as pid:
            ns.close()
            with netns.from_pid(pid) as its:
                ino = its.ino
            one = found(ino)
            assert (one.names, one.paths, one.pids, one.threads) == ((), (), (pid,), ())
        with netns.new() as ns, resident(ns) as tid:
            ns.close()
            one = found(ns.ino)
            assert (one.names, one.paths, one.pids, one.threads) == ((), (), (), (tid,))
            with one.open() as again:
                assert again.ino == ns.ino
        with netns.new() as ns:
            assert ns.ino not in [each.ino for each in netns.discover()]
            ns.pin(odd)
        one = found(ns.ino)
        assert (one.names, one.paths, one.pids, one.threads) == ((), (str(odd),), (), ())
        with one.open() as again:
            assert again.path == str(odd)
        one = found(named.ino)
        assert (one.names, one.paths, one.pids) == ((name,), (f"{RUN}/{name}",), ())
        assert one.dev == named.dev
        assert one.owner_uid == 0
    finally:
        netns.delete(odd, name)
    with pytest.raises(netns.NotFoundError):
        one.open()
    assert one.owner_uid == 0  # known from before
    assert netns.Found(one.dev, one.ino, (), (), (), ()).owner_uid is None


def test_a_list_in_order_each_once(ns: netns.NetNS) -> None:
    with process(ns) as first, process(ns) as second:
        listed = netns.discover()
    assert isinstance(listed, list)
    assert [each.ino for each in listed] == sorted({each.ino for each in listed})
    assert next(each for each in listed if each.ino == ns.ino).pids == tuple(
        sorted([first, second])
    )
    again = netns.discover()
    assert {ns.ino} <= {each.ino for each in set(listed) - set(again)}


def test_own_threads_are_not_reported_from_inside() -> None:
    """A scan of many processes starts threads, which are where its caller is."""
    script = """
import netns, threading
def scan():
    with netns.new() as ns, ns.enter():
        for _ in range(20):
            (one,) = [each for each in netns.discover() if each.ino == ns.ino]
            if one.threads != (threading.get_native_id(),):
                print(one)
    print("done")
thread = threading.Thread(target=scan)
thread.start()
thread.join()
"""
    # The scanning process is the youngest, so it is read after the threads have started.
    many = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(400)]
    try:
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    finally:
        for child in many:
            child.communicate()
    assert (run.stdout, run.stderr) == ("done\n", "")


def test_a_main_thread_that_ended() -> None:
    """The other threads of its process still hold the namespace, and are found."""
    script = """
import ctypes, os, sys, threading
def wait():
    while os.path.exists(f"/proc/{os.getpid()}/ns/net"):  # nothing tells when it has ended
        os.sched_yield()
    print(threading.get_native_id(), flush=True)
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=wait).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    child = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        tid = int(child.stdout.readline())
        with pytest.raises(FileNotFoundError):
            os.readlink(f"/proc/{child.pid}/ns/net")
        one = found(inode(tid))
        assert (one.pids, one.threads) == ((), (tid,))
    finally:
        child.communicate()


def test_covered_pins_are_not_given_as_paths(tmp_path: Path) -> None:
    """A mount covers the pin, or its directory; the namespace is found, without that path."""
    (tmp_path / "dir").mkdir()
    pin, deep = tmp_path / "pin", tmp_path / "dir" / "deep"
    with netns.new() as one, netns.new() as other:
        one.pin(pin)
        subprocess.run(
            ["mount", "--bind", f"/proc/self/fd/{other.fileno()}", pin],
            check=True,
            pass_fds=[other.fileno()],
        )
        other.pin(deep)
        try:
            assert found(one.ino).paths == ()
            assert found(other.ino).paths == (str(deep), str(pin))
            subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "dir"], check=True)
            try:
                assert found(other.ino).paths == (str(pin),)
                deep.touch()
                assert found(other.ino).paths == (str(pin),)
            finally:
                subprocess.run(["umount", tmp_path / "dir"], check=True)
            assert found(other.ino).paths == (str(deep), str(pin))
        finally:
            subprocess.run(["umount", pin], check=True)
            netns.delete(pin, deep)


def test_a_path_is_given_once(tmp_path: Path, ns: netns.NetNS) -> None:
    """Also where the mount table has it twice: below the directory's own mount and on it."""
    pin = tmp_path / "dir" / "pin"
    pin.parent.mkdir()
    ns.pin(pin)
    subprocess.run(["mount", "--rbind", pin.parent, pin.parent], check=True)
    try:
        assert nsfs_mounts().count(str(pin)) == 2
        assert found(ns.ino).paths == (str(pin),)
    finally:
        subprocess.run(["umount", "-R", pin.parent], check=True)
        netns.delete(pin)


def lsns() -> set[int]:
    while True:
        listed = subprocess.run(
            ["lsns", "-t", "net", "-n", "-o", "NS"], capture_output=True, text=True
        )
        if listed.returncode == 0:
            return set(map(int, listed.stdout.split()))
        assert not listed.stdout, listed  # lsns fails where a process ends meanwhile


def test_as_lsns(tmp_path: Path, name: str) -> None:
    """200 namespaces: those with processes are lsns's as well, and each holder is found."""
    kinds = ("named", "process", "thread", "bind")
    expected: dict[int, tuple[object, ...]] = {}
    pinned: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: netns.delete(*pinned))
        for i in range(200):
            ns = netns.new()
            kind = kinds[i % 4]
            if kind == "named":
                ns.pin(f"{name}-{i}")
                pinned.append(f"{name}-{i}")
                expected[ns.ino] = ((pinned[-1],), (f"{RUN}/{pinned[-1]}",), (), ())
            elif kind == "process":
                expected[ns.ino] = ((), (), (stack.enter_context(process(ns)),), ())
            elif kind == "thread":
                expected[ns.ino] = ((), (), (), (stack.enter_context(resident(ns)),))
            else:
                pinned.append(f"{tmp_path}/{i} pin")
                ns.pin(pinned[-1])
                expected[ns.ino] = ((), (pinned[-1],), (), ())
            ns.close()
        listed = netns.discover()
        got = {
            each.ino: (each.names, each.paths, each.pids, each.threads)
            for each in listed
            if each.ino in expected
        }
        assert got == expected
        assert len(got) == 200
        ours = {each.ino for each in listed if each.pids}
        assert ours & set(expected) == lsns() & set(expected)
        # Others come and go on the machine: only one that is never found is missing.
        missing = lsns()
        for _ in range(20):
            missing &= lsns() - {each.ino for each in netns.discover()}
        assert not missing


def found_with_descriptors(ino: int) -> netns.Found:
    (mine,) = [each for each in netns.discover(descriptors=True) if each.ino == ino]
    return mine


def is_hidden(ino: int) -> bool:
    """Whether discover() finds it by descriptors alone."""
    return ino not in {each.ino for each in netns.discover()}


def hold(*fds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], pass_fds=fds)


def check_held(ino: int, holder: netns.Holder) -> None:
    assert is_hidden(ino)
    mine = found_with_descriptors(ino)
    assert holder in mine.holders
    assert (mine.names, mine.paths, mine.pids, mine.threads) == ((), (), (), ())
    with mine.open() as ns:
        assert ns.ino == ino


@contextlib.contextmanager
def ended(child: subprocess.Popen[bytes]) -> Iterator[int]:
    try:
        yield child.pid
    finally:
        child.kill()
        child.communicate()


def test_held_by_a_descriptor(name: str) -> None:
    with netns.new() as ns:
        ino, fd = ns.ino, ns.fileno()
        assert (
            netns.Holder("descriptor", os.getpid(), fd, None)
            in found_with_descriptors(ino).holders
        )
        child = hold(fd)
    with ended(child) as pid:
        check_held(ino, netns.Holder("descriptor", pid, fd, None))
    # The text of the descriptor's link is a path while the name is there, and "/" afterwards.
    with netns.create(name) as ns:
        ino, fd = ns.ino, os.open(RUN / name, os.O_RDONLY)
        child = hold(fd)
        os.close(fd)
        netns.delete(name)
    with ended(child) as pid:
        check_held(ino, netns.Holder("descriptor", pid, fd, None))


def copies_descriptors() -> bool:
    """Whether the kernel has pidfd_getfd(2), asked with descriptors that are none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(438, -1, -1, 0)
    return ctypes.get_errno() != errno.ENOSYS


needs_copies = pytest.mark.skipif(not copies_descriptors(), reason="needs pidfd_getfd (Linux 5.6)")


@needs_copies
def test_held_by_a_socket(ns: netns.NetNS) -> None:
    sock = ns.socket(socket.AF_UNIX)
    ino, fd = ns.ino, sock.fileno()
    child = hold(fd)
    sock.close()
    ns.close()
    with ended(child) as pid:
        check_held(ino, netns.Holder("socket", pid, fd, None))


@needs_copies
@pytest.mark.skipif(
    not os.access("/dev/net/tun", os.R_OK | os.W_OK), reason="needs /dev/net/tun, to be opened"
)
def test_held_by_a_tun_device(ns: netns.NetNS) -> None:
    fd = ns.do(lambda host: os.open("/dev/net/tun", os.O_RDWR))
    ino = ns.ino
    child = hold(fd)
    os.close(fd)
    ns.close()
    with ended(child) as pid:
        check_held(ino, netns.Holder("socket", pid, fd, None))


def test_held_by_a_mount_elsewhere(name: str, tmp_path: Path) -> None:
    place = tmp_path / "a b"
    place.touch()
    with netns.create(name) as ns:
        ino = ns.ino
        script = 'mount --bind "$0" "$1" && echo && exec sleep 60'
        child = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
            + [str(RUN / name), str(place)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        netns.delete(name)
    with ended(child) as pid:
        check_held(ino, netns.Holder("mount", pid, None, str(place)))


def test_held_by_a_thread_with_descriptors_of_its_own() -> None:
    """The thread has left the descriptor table of its process by unshare(CLONE_FILES)."""
    script = """
import ctypes, os, threading, netns
def hold():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    ns = netns.new()
    print(ns.ino, threading.get_native_id(), ns.fileno(), flush=True)
    input()
    ns.close()
thread = threading.Thread(target=hold)
thread.start()
thread.join()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with ended(child):
        assert child.stdout is not None
        ino, tid, fd = map(int, child.stdout.readline().split())
        check_held(ino, netns.Holder("descriptor", tid, fd, None))


def test_others_holders_are_left_out(ns: netns.NetNS) -> None:
    """Descriptors are listed only for a namespace that nothing else shows."""
    with process(ns) as pid, ns.socket():
        mine = found_with_descriptors(ns.ino)
        assert (mine.pids, mine.holders) == ((pid,), ())


@needs_cookies
def test_found_by_its_cookie() -> None:
    """from_cookie() finds a namespace that only another process's descriptor holds."""
    with netns.new() as ns:
        cookie, ino = ns.cookie, ns.ino
        child = hold(ns.fileno())
    with ended(child), netns.from_cookie(cookie) as found:
        assert (found.ino, found.cookie, found_with_descriptors(ino).cookie) == (
            ino,
            cookie,
            cookie,
        )


def test_a_cookie_that_nobody_has(ns: netns.NetNS) -> None:
    with pytest.raises(netns.NotFoundError):
        netns.from_cookie(2**64 - 1)
    for wrong, kind in (("1", netns.InvalidTypeError), (-1, netns.InvalidValueError)):
        with pytest.raises(kind):
            netns.from_cookie(wrong)  # type: ignore[arg-type]


@needs_cookies
@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOSYS])
def test_a_cookie_where_newer_calls_are_refused(number: int) -> None:
    """It is looked for among what is open: the calls that open or copy it are refused."""
    script = """
import netns
with netns.new() as ns, netns.from_cookie(ns.cookie) as same:
    print(same == ns, netns.names() is not None, len(netns.discover(descriptors=True)) > 0)
"""
    done = subprocess.run(
        [*refusing(number), sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stdout == "True True True\n", done


def test_while_processes_come_and_go(ns: netns.NetNS) -> None:
    """During a storm of forks what stays is found each time, and nothing raises."""
    script = """
import os
while True:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
"""
    storms = [subprocess.Popen([sys.executable, "-S", "-c", script]) for _ in range(3)]
    try:
        with process(ns) as pid, resident(ns) as tid:
            for _ in range(50):
                one = found(ns.ino)
                assert (one.pids, one.threads) == ((pid,), (tid,))
                assert netns.pids(ns) == [pid]
    finally:
        for storm in storms:
            storm.kill()
            storm.wait()


def test_processes_that_may_not_be_read_are_counted(ns: netns.NetNS) -> None:
    """Without the capability, other processes are hidden, and the caller's own is not."""
    script = """
import os, netns

def difference():
    scan = netns.discover()
    assert scan.hidden > 0
    assert os.getpid() in [pid for each in scan for pid in each.pids]
    refused = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            os.readlink(f"/proc/{pid}/ns/net")
        except PermissionError:
            refused += 1
        except OSError:
            pass
    return abs(scan.hidden - refused)

# Others come and go on the machine meanwhile.
print(min(difference() for _ in range(20)) < 20)
"""
    run = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script],
        capture_output=True,
        text=True,
    )
    # The kernel refuses them to a process that has fewer capabilities, though it is root's.
    assert (run.stdout, run.stderr) == ("True\n", "")


def test_what_was_found_is_compared_and_shown(ns: netns.NetNS, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    ns.pin(pin)
    try:
        one, again = found(ns.ino), found(ns.ino)
        assert one == again
        assert len({one, again}) == 1
        assert one != ns.ino
        text = f"<Found net:[{ns.ino}] names=() paths=('{pin}',) pids=() threads=()>"
        assert repr(one) == text
    finally:
        netns.delete(pin)


def test_open_what_may_not_be_used(ns: netns.NetNS, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    ns.pin(place / "pin")
    one = found(ns.ino)
    place.chmod(0)
    try:
        with Capabilities(), pytest.raises(netns.NotPermittedError) as caught:
            one.open()
        assert caught.value.path == str(place / "pin")
    finally:
        place.chmod(0o700)
        netns.delete(place / "pin")
    with pytest.raises(netns.NotFoundError):
        one.open()


def test_identify_and_pids(ns: netns.NetNS, name: str) -> None:
    with process(ns) as pid:
        assert netns.identify(pid) == []
        assert netns.pids(ns) == [pid]
        with netns.attach(name, pid) as attached:
            assert attached == ns
            assert (attached.name, attached.path) == (name, f"{RUN}/{name}")
        ns.pin(name + "-b")
        try:
            assert netns.identify(pid) == [name, name + "-b"]
            assert netns.pids(name) == netns.pids(RUN / name) == [pid]
            ip = subprocess.check_output(["ip", "netns", "pids", name], text=True)
            assert list(map(int, ip.split())) == [pid]
            ip = subprocess.check_output(["ip", "netns", "identify", str(pid)], text=True)
            assert set(ip.split()) <= {name, name + "-b"}  # it may stop at the first
            with pytest.raises(netns.ExistsError):
                netns.attach(name, pid)
        finally:
            netns.delete(name, name + "-b")
    with netns.new() as empty:
        assert netns.pids(empty) == []


def test_attach_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    """It keeps no memory, and asks the run directory for its path only once."""

    class Directory(type(tmp_path)):  # type: ignore[misc]
        asked = 0

        def __fspath__(self) -> str:
            Directory.asked += 1
            assert Directory.asked == 1
            return str(tmp_path / "run")

    netns.attach(name, os.getpid(), rundir=Directory()).close()
    netns.delete(name, rundir=tmp_path / "run")
    unshare_run_directory(tmp_path / "run")

    def allocated() -> int:
        for _ in range(100):
            netns.attach(name, os.getpid()).close()
            netns.delete(name)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        allocated()  # what is allocated once is
        before = allocated()
        assert allocated() - before < 100 * 20
    finally:
        tracemalloc.stop()


def test_a_run_directory_by_argument(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    assert netns.names(rundir=run) == []
    try:
        with netns.create("a", rundir=run) as ns, process(ns) as pid:
            assert (ns.name, ns.path) == ("a", f"{run}/a")
            assert netns.names(rundir=str(run)) == ["a"]
            with netns.open("a", rundir=f"{run}/") as again:
                assert (again, again.path) == (ns, f"{run}/a")
            with netns.create("a", exist_ok=True, rundir=run) as again:
                assert again == ns
            ns.pin("b", rundir=run)
            netns.attach("c", pid, rundir=run).close()
            assert netns.identify(pid, rundir=run) == ["a", "b", "c"]
            assert netns.identify(pid) == []
            assert netns.pids("b", rundir=run) == [pid]
            (one,) = [each for each in netns.discover(rundir=run) if each.ino == ns.ino]
            assert one.names == ("a", "b", "c")
            assert one.paths == tuple(f"{run}/{each}" for each in "abc")
            assert found(ns.ino).names == ()
            link = tmp_path / "link"
            link.symlink_to(run.parent)
            (one,) = [each for each in netns.discover(rundir=link / "run") if each.ino == ns.ino]
            assert one.names == ("a", "b", "c")
        netns.delete("a", "b", "c", rundir=run)
        assert netns.names(rundir=run) == []
    finally:
        subprocess.run(["umount", "-l", *run.glob("*")], stderr=subprocess.DEVNULL)
        unshare_run_directory(run)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: netns.discover(rundir=3), netns.InvalidTypeError),  # type: ignore[arg-type]
        (lambda: netns.discover(rundir=b"/run"), netns.InvalidTypeError),  # type: ignore[arg-type]
        (lambda: netns.discover(rundir=""), netns.InvalidValueError),
        (lambda: netns.discover(rundir="/a\0b"), netns.InvalidValueError),
        (lambda: netns.discover(rundir="/" + "x" * 5000), netns.KernelError),
        (lambda: netns.discover(rundir="/proc/uptime"), netns.NotNamespaceError),
        (lambda: netns.discover(rundir="/dev/null"), netns.NotNamespaceError),
        (lambda: netns.names(rundir="/proc/uptime"), netns.NotNamespaceError),
        (lambda: netns.identify(0), netns.InvalidValueError),
        (lambda: netns.identify("1"), netns.InvalidTypeError),  # type: ignore[arg-type]
        (lambda: netns.identify(2**31 - 1), netns.NotFoundError),
        (lambda: netns.identify(1, rundir=""), netns.InvalidValueError),
        (lambda: netns.pids("netns-test-missing"), netns.NotFoundError),
        (lambda: netns.pids("/proc/uptime"), netns.NotNamespaceError),
        (lambda: netns.pids(".."), netns.InvalidValueError),
        (lambda: netns.pids(7), netns.InvalidTypeError),  # type: ignore[arg-type]
        (lambda: netns.attach("a/b", 1), netns.InvalidValueError),
        (lambda: netns.attach("a\0b", 1), netns.InvalidValueError),
        (lambda: netns.attach("..", os.getpid()), netns.InvalidValueError),
        (lambda: netns.attach("netns-test-x", -1), netns.InvalidValueError),
        (lambda: netns.attach("netns-test-x", 2**31 - 1), netns.NotFoundError),
        (lambda: netns.from_socket("a"), netns.InvalidTypeError),  # type: ignore[arg-type]
        (lambda: netns.from_socket(-1), netns.InvalidValueError),
        (lambda: netns.from_socket(987654), netns.NotNamespaceError),
    ],
)
def test_bad_input(call: Callable[[], object], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, netns.Error)


def test_closed_handles(name: str) -> None:
    ns = netns.new()
    ns.close()
    for use in (
        lambda: netns.pids(ns),
        lambda: ns.cookie,
        lambda: ns.owner_uid,
        lambda: ns.nsid,
        lambda: setattr(ns, "nsid", 3),
    ):
        with pytest.raises(netns.ClosedError):
            use()


def test_no_descriptor_left(ns: netns.NetNS) -> None:
    script = """
import errno, os, resource, netns
from netns import KernelError, discover, identify, nsids  # imported while they can be
fds = os.listdir("/proc/self/fd")
resource.setrlimit(resource.RLIMIT_NOFILE, (len(fds) - 1, 4096))
for call in (discover, lambda: identify(os.getpid()), nsids):
    try:
        call()
    except KernelError as error:
        print(errno.errorcode[error.errno])
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
print(os.listdir("/proc/self/fd") == fds, len(netns.discover()) > 0)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.split() == ["EMFILE", "EMFILE", "EMFILE", "True", "True"], run.stderr


def test_names_leak_nothing(name: str) -> None:
    """A list of 1,000 bytes is made 3,000 times: a leak would be more than 700 pages."""
    made = [f"{name}-{i}".ljust(250, "x") for i in range(4)]
    for each in made:
        netns.create(each).close()

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    counts = []
    for _ in range(3):
        for _ in range(3_000):
            netns.names()
        counts.append(pages())
    netns.delete(*made)
    assert counts[2] - counts[1] < 150


def test_the_first_call_imports_little() -> None:
    code = "import os, netns; netns.discover(); netns.identify(os.getpid())"
    modules = subprocess.check_output(
        [sys.executable, "-S", "-c"]
        + [f"import sys; sys.path[:] = {sys.path!r}; {code}; print(*sys.modules)"],
        text=True,
    )
    slow = {"collections", "enum", "re", "socket", "subprocess", "threading", "typing"}
    assert "netns._discover" in modules.split()
    assert slow.isdisjoint(modules.split())
