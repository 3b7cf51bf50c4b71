"""new, create, pin, delete: they make what they should, where they should, and leave nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import netns
from support import RUN, descriptors, has_call, here, is_shared, mountinfo, nsfs_mounts, task_links


def test_new_does_not_move_the_caller() -> None:
    home = here()
    with netns.new() as ns:
        assert here() == home != f"net:[{ns.ino}]"


def test_new_is_gone_with_its_last_handle() -> None:
    before = descriptors()
    with netns.new() as ns:
        assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
    assert descriptors() == before


def test_create_and_delete(name: str) -> None:
    assert name not in netns.names()
    with netns.create(name) as ns, netns.open(name) as again:
        assert ns == again
    assert name in netns.names()
    assert (RUN / name).stat().st_ino == ns.ino
    netns.delete(name)
    assert name not in netns.names()
    assert not (RUN / name).exists()
    with pytest.raises(netns.NotFoundError):
        netns.open(name)


def test_create_an_existing_name(name: str) -> None:
    with netns.create(name) as ns:
        mounts = nsfs_mounts()
        with pytest.raises(netns.ExistsError) as caught:
            netns.create(name)
        assert (caught.value.path, caught.value.errno) == (str(RUN / name), 17)
        with netns.create(name, exist_ok=True) as same:
            assert same == ns
        with pytest.raises(netns.ExistsError):
            ns.pin(name)
        assert nsfs_mounts() == mounts


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a/b", "/", "/run/netns/x", "a\0b", "x" * 256, "é" * 128, "\ud800"]
)
def test_bad_names(bad: str) -> None:
    with netns.new() as ns, pytest.raises(netns.InvalidValueError):
        netns.create(bad)
    if "/" not in bad:
        with netns.new() as ns, pytest.raises(netns.InvalidValueError):
            ns.pin(bad)
        with pytest.raises(netns.InvalidValueError):
            netns.delete(bad)


@pytest.mark.parametrize("bad", [None, 1, b"name", 1.5, ["name"]])
def test_names_of_a_wrong_type(bad: str) -> None:
    with netns.new() as ns:
        for call in (netns.create, ns.pin, netns.delete):
            with pytest.raises(netns.InvalidTypeError):
                call(bad)


@pytest.mark.parametrize(
    "suffix", [" with blanks", "\nline", "\x1b[31m", "é", "\udcff", "%s", ";"]
)
def test_odd_names_are_names(name: str, suffix: str) -> None:
    odd = name + suffix
    netns.create(odd).close()
    try:
        assert odd in netns.names()
        assert netns.is_netns(odd)
    finally:
        netns.delete(odd)


def test_longest_name(name: str) -> None:
    longest = name + "x" * (255 - len(name))
    netns.create(longest).close()
    netns.delete(longest)
    assert longest not in netns.names()


def test_pin_under_a_name_outlives_the_handle(name: str) -> None:
    with netns.new() as ns:
        ns.pin(name)
    with netns.open(name) as again:
        assert again.ino == ns.ino


def test_pin_at_a_path(ns: netns.NetNS, tmp_path: Path) -> None:
    path = tmp_path / "pinned"
    ns.pin(path)
    try:
        with netns.open(path) as again:
            assert again == ns
        with pytest.raises(netns.ExistsError):
            ns.pin(path)
    finally:
        netns.delete(path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(netns.NotFoundError) as caught:
        ns.pin(tmp_path / "missing" / "pinned")
    assert caught.value.path == str(tmp_path / "missing" / "pinned")


def test_pin_of_a_closed_handle(ns: netns.NetNS, name: str, tmp_path: Path) -> None:
    ns.close()
    for target in (name, tmp_path / "pinned"):
        with pytest.raises(netns.ClosedError):
            ns.pin(target)
    assert list(tmp_path.iterdir()) == []
    assert not (RUN / name).exists()


def test_delete_several_of_which_some_fail(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    netns.create(name).close()
    netns.create(name + "-2").close()
    with pytest.raises(netns.NotFoundError) as caught:
        netns.delete(name + "-missing", name, tmp_path / "file", name + "-2")
    assert [type(error) for error in caught.value.others] == [netns.NotNamespaceError]
    assert not {name, name + "-2"} & set(netns.names())
    assert (tmp_path / "file").exists()


def test_delete_many(name: str, tmp_path: Path) -> None:
    """Threads share the waits for the kernel; they end with the call."""
    many = [f"{name}-{i}" for i in range(40)]
    for one in many:
        netns.create(one).close()
    with netns.open(many[0]) as ns:
        ns.pin(tmp_path / "path")
    before = task_links()
    netns.delete(*many, tmp_path / "path", many[0])
    assert not set(many) & set(netns.names())
    assert not (tmp_path / "path").exists()
    deadline = time.monotonic() + 5
    while task_links() != before and time.monotonic() < deadline:
        os.sched_yield()
    assert task_links() == before


@pytest.mark.skipif(not has_call(436), reason="needs close_range (Linux 5.9)")
def test_delete_many_takes_no_descriptors(tmp_path: Path) -> None:
    """Each thread keeps what it has opened, in a table of its own, however small."""
    script = """
import os, resource, sys, threading, netns
rundir, seen = sys.argv[1], []
with netns.new() as ns:
    for number in range(400):
        ns.pin(str(number), rundir=rundir)
os.closerange(3, 9)
resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
done = threading.Event()
def look():
    last = False
    while not last:
        last = done.is_set()
        seen.append(len(os.listdir("/proc/self/fd")))
watcher = threading.Thread(target=look, daemon=True)
watcher.start()
netns.delete(*netns.names(rundir=rundir), rundir=rundir)
done.set()
watcher.join()
assert not os.listdir(rundir)
assert max(seen) <= 3 + 3, max(seen)  # three: the directory, its lock and the listing
assert os.listdir("/proc/self/fd") == ["0", "1", "2", "3"]
"""
    rundir = tmp_path / "run"
    try:
        subprocess.run([sys.executable, "-c", script, rundir], check=True)
    finally:
        subprocess.run(["umount", "-R", rundir])


def test_delete_nothing() -> None:
    netns.delete()


def test_delete_keeps_a_file_with_content(ns: netns.NetNS, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/fd/{ns.fileno()}", path], check=True)
    assert netns.is_netns(path)
    netns.delete(path)
    assert path.read_text() == "content"


def test_delete_unmounts_all_that_is_stacked(name: str) -> None:
    with netns.create(name), netns.new() as other:
        fd = f"/proc/{os.getpid()}/fd/{other.fileno()}"
        subprocess.run(["mount", "--bind", fd, RUN / name], check=True)
        assert nsfs_mounts().count(str(RUN / name)) == 2
        netns.delete(name)
        assert nsfs_mounts().count(str(RUN / name)) == 0
    assert not (RUN / name).exists()


def test_delete_of_another_kind_of_namespace(name: str) -> None:
    netns.create(name).close()
    netns.delete(name)
    (RUN / name).touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/uts", RUN / name], check=True)
    with pytest.raises(netns.NotNamespaceError):
        netns.delete(name)
    assert nsfs_mounts().count(str(RUN / name)) == 1


def test_delete_with_a_bad_target_deletes_nothing(name: str) -> None:
    netns.create(name).close()
    with pytest.raises(netns.InvalidTypeError):
        netns.delete(name, 1)  # type: ignore[arg-type]
    assert name in netns.names()


@pytest.mark.parametrize("kind", ["file", "full", "directory", "fifo", "link"])
def test_delete_touches_nothing_but_namespaces(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/proc/self/ns/net")
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("full" if kind == "full" else "")
    with pytest.raises(netns.NotNamespaceError) as caught:
        netns.delete(path)
    assert caught.value.path == str(path)
    assert path.is_symlink() or path.exists()


def leave_behind(name: str, mode: int) -> None:
    """The file of a creator that died before it bound a namespace over it."""
    netns.create(name).close()  # makes the run directory
    netns.delete(name)
    os.close(os.open(RUN / name, os.O_CREAT | os.O_EXCL, mode))


def test_leftovers_are_no_namespaces(name: str) -> None:
    leave_behind(name, 0o400)
    assert name not in netns.names()
    with pytest.raises(netns.NotFoundError):
        netns.open(name)
    with netns.create(name) as ns, netns.open(name) as again:
        assert ns == again
    assert nsfs_mounts().count(str(RUN / name)) == 1


def test_concurrent_creators_have_one_winner(name: str) -> None:
    workers = 16

    def attempt(_: int) -> netns.NetNS | None:
        try:
            return netns.create(name)
        except netns.ExistsError:
            return None

    with ThreadPoolExecutor(workers) as pool:
        for _ in range(5):
            made = [ns for ns in pool.map(attempt, range(workers)) if ns is not None]
            assert len(made) == 1
            assert (RUN / name).stat().st_ino == made[0].ino
            assert nsfs_mounts().count(str(RUN / name)) == 1
            made[0].close()
            netns.delete(name)


def test_exist_ok_while_others_delete(name: str) -> None:
    rounds = 50

    def create(_: int) -> int:
        with netns.create(name, exist_ok=True) as ns:
            return ns.ino

    def delete(_: int) -> None:
        try:
            netns.delete(name)
        except netns.NotFoundError:
            return

    with ThreadPoolExecutor(4) as pool:
        created = [pool.submit(create, i) for i in range(rounds)]
        deleted = [pool.submit(delete, i) for i in range(rounds)]
        assert all(future.result() for future in created)
        for future in deleted:
            future.result()


def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "missing") -> Path:
    path = tmp_path / "run"
    if kind == "file":
        path.touch()
    elif kind == "dangling link":
        path.symlink_to("real")
    monkeypatch.setenv("NETNS_RUN_DIR", str(path))
    return path


def test_a_run_directory_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_directory(tmp_path, monkeypatch)
    stacked = not is_shared(tmp_path)
    assert netns.names() == []
    with pytest.raises(netns.NotFoundError):
        netns.open("a")
    with pytest.raises(netns.NotFoundError):
        netns.delete("a")
    assert not path.exists()
    try:
        for _ in range(2):
            with netns.create("a") as ns:
                assert ns.path == str(path / "a")
            assert netns.names() == ["a"]
            mounts = [fields for fields in mountinfo() if fields[4].startswith(str(path))]
            # The second create() does not mount it again.
            assert [fields[4] for fields in mounts].count(str(path)) == stacked
            assert {fields[6].split(":")[0] for fields in mounts} == {"shared"}
            netns.delete("a")
    finally:
        if stacked:
            subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_run_directory_that_is_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run_directory(tmp_path, monkeypatch, kind)
    for call in (netns.create, netns.open, netns.delete):
        with pytest.raises(netns.Error) as caught:
            call("a")
        assert caught.value.errno
        assert caught.value.path
    if kind == "file":
        with pytest.raises(netns.Error):
            netns.names()
    else:
        assert netns.names() == []
    assert not (tmp_path / "real").exists()


def test_the_rootless_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is $XDG_RUNTIME_DIR/netns, but only where /var/run belongs to another user."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(netns.NotFoundError) as caught:
        netns.open("a")
    mine = Path("/var/run").stat().st_uid == os.geteuid()
    assert caught.value.path == (str(RUN / "a") if mine else str(tmp_path / "netns" / "a"))


def test_a_signal_while_waiting_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler runs, and the wait goes on (PEP 475)."""
    rundir = run_directory(tmp_path, monkeypatch)
    netns.create("first").close()
    holder = subprocess.Popen(
        ["flock", rundir, "sh", "-c", "echo && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdout.readline()
    stdin = holder.stdin
    signals: list[int] = []

    def handle(number: int, frame: object) -> None:
        signals.append(number)
        stdin.close()  # ends the holder, and so its lock

    before = signal.signal(signal.SIGALRM, handle)
    try:
        # The timer repeats: one signal may come between two sleeps of the wait.
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        netns.create("second").close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stdin.close()
        holder.wait()
        holder.stdout.close()
    assert signals
    assert netns.names() == ["first", "second"]
    subprocess.run(["umount", "-R", rundir], check=True)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to hold umount2(2) up")
def test_others_get_the_lock_while_many_names_are_deleted(ns: netns.NetNS, tmp_path: Path) -> None:
    rundir = tmp_path / "run"
    many = [str(number) for number in range(300)]
    for one in many:
        ns.pin(one, rundir=rundir)
    script = "import sys, netns; netns.delete(*sys.argv[2:], rundir=sys.argv[1])"
    slowly = ["strace", "-f", "-o", os.devnull, "-e", "inject=umount2:delay_enter=20000"]
    deleter = subprocess.Popen([*slowly, sys.executable, "-c", script, rundir, *many])
    while len(os.listdir(rundir)) == len(many):
        os.sched_yield()
    fd = os.open(rundir, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    left = len(os.listdir(rundir))
    os.close(fd)
    assert deleter.wait(60) == 0
    subprocess.run(["umount", rundir], check=True)
    assert 0 < left < len(many)


def test_exist_ok_where_the_name_comes_and_goes(name: str) -> None:
    """The name is taken at the create and gone at the open, or the other way round."""
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            netns.create(name, exist_ok=True).close()
            with contextlib.suppress(netns.NotFoundError):
                netns.delete(name)

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(300):
            with netns.create(name, exist_ok=True) as ns:
                assert ns.name == name
                assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
    finally:
        stop.set()
        other.join()


def test_the_error_says_that_a_name_has_no_slash() -> None:
    with pytest.raises(netns.InvalidValueError, match="a name has no '/'"):
        netns.create("a/b")


def test_a_run_directory_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETNS_RUN_DIR", "/x" * 3000)
    for call in (netns.open, netns.create, netns.delete, lambda name: netns.names()):
        with pytest.raises(netns.KernelError) as caught:
            call("a")
        assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("kind", ["name", "path"])
def test_delete_stops_at_another_kind_of_namespace(name: str, tmp_path: Path, kind: str) -> None:
    """What lies below a stacked mount was there before, and is not a network namespace."""
    netns.create(name).close()  # makes the run directory
    netns.delete(name)
    point = RUN / name if kind == "name" else tmp_path / "stacked"
    point.touch()
    with netns.new() as ns:
        for source in ("/proc/self/ns/uts", f"/proc/{os.getpid()}/fd/{ns.fileno()}"):
            subprocess.run(["mount", "--bind", source, point], check=True)
    netns.delete(name if kind == "name" else point)
    assert point.stat().st_ino == os.stat("/proc/self/ns/uts").st_ino
    subprocess.run(["umount", point], check=True)
