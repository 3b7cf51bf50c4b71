"""The library asks the kernel again where a fork, a daemon or other code changed the facts."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import netns
from netns._errors import from_native
from netns._native import Guard, ffi, lib
from netns._switch import enter_and_look
from support import RUN, checked_on_a_thread, here, link, unshare_run_directory


def run(script: str, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *args],
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


def in_child(body: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Descriptors

CLOSES = """
import os, sys, netns
ns = netns.new()
ns.do(lambda host: None)
here = lambda: os.readlink("/proc/thread-self/ns/net")
home = here()
how = sys.argv[1]
if how == "python-daemon":
    import daemon
    daemon.DaemonContext(files_preserve=[1, 2], stdout=sys.stdout, stderr=sys.stderr).open()
elif how == "by hand":
    if os.fork():
        os._exit(0)
    os.setsid()
    os.closerange(3, 1024)
elif how == "close_range":
    os.closerange(3, 1 << 20)
elif how == "dup2":
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3, 40):
        os.dup2(null, fd)
own = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(8)]
try:  # before the use that finds out
    ns.fileno()
except netns.ClosedError as error:
    print("fileno:", error)
try:
    ns.do(lambda host: print("ENTERED", here()))
except netns.ClosedError as error:
    print("lost:", error)
ns.close()
del ns
with netns.new() as again:
    print(again.do(lambda host: here() == f"net:[{again.ino}]" != home), here() == home)
print(all(os.readlink(f"/proc/self/fd/{fd}") == "/etc/passwd" for fd in own), flush=True)
"""
LOST = "use the handle: other code has closed or replaced its descriptor"


@pytest.mark.parametrize("how", ["close_range", "dup2", "by hand", "python-daemon"])
def test_a_program_that_closes_all_descriptors(how: str) -> None:
    if how == "python-daemon":
        pytest.importorskip("daemon")
    done = run(CLOSES, how)
    assert done.stdout.splitlines() == [f"fileno: {LOST}", f"lost: {LOST}", "True True", "True"], (
        done.stdout + done.stderr
    )


def test_handles_opened_by_a_daemon(tmp_path: Path) -> None:
    """A namespace that the daemon opens gets the number that home's descriptor had."""
    with netns.new() as a, netns.new() as b:
        paths = [str(tmp_path / "a"), str(tmp_path / "b")]
        a.pin(paths[0])
        b.pin(paths[1])
        try:
            done = run(
                """
import os, sys, netns
netns.new().do(lambda host: None)
home = os.readlink("/proc/thread-self/ns/net")
if os.fork():
    os.wait()
    sys.exit()
os.closerange(3, 1024)
for ns in [netns.open(path) for path in sys.argv[1:]]:
    print(ns.do(lambda host: host.ino != ns.ino))
    print(os.readlink("/proc/thread-self/ns/net") == home, flush=True)
""",
                *paths,
            )
        finally:
            netns.delete(*map(Path, paths))
        assert done.stdout.split() == ["True"] * 4, done.stdout + done.stderr


def test_no_descriptor_below_three() -> None:
    done = run(
        """
import os, netns
for fd in (0, 1, 2):
    os.close(fd)
ns = netns.new()
ns.do(lambda host: None)
_ = ns.cookie, ns.nsid, ns.owner_uid, netns.names(), netns.discover()
low = [fd for fd in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{fd}")]
null = os.open(os.devnull, os.O_RDWR)
os.dup2(null, 1)
home = os.readlink("/proc/thread-self/ns/net")
ns.do(lambda host: None)
os._exit(0 if not low and os.readlink("/proc/thread-self/ns/net") == home else 1)
"""
    )
    assert done.returncode == 0


def test_a_child_closes_what_other_threads_were_using(ns: netns.NetNS) -> None:
    stop = threading.Event()

    def be_busy() -> None:
        while not stop.is_set():
            ns.do(lambda host: None)

    def close() -> None:
        fd = ns.fileno()
        ns.close()
        assert not os.path.exists(f"/proc/self/fd/{fd}")

    threads = [threading.Thread(target=be_busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(close) for _ in range(50)] == [0] * 50
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# The run directory's lock


@pytest.fixture
def rundir(tmp_path: Path) -> Iterator[Path]:
    """A run directory of the test's own: no other test waits for its lock."""
    path = tmp_path / "run"
    netns.create("first", rundir=path).close()
    yield path
    subprocess.run(["umount", "-R", path], check=True)


def test_a_lock_held_by_somebody(rundir: Path) -> None:
    """create() gives up after a while, though a timer interrupts its wait again and again."""

    def handler(*_: object) -> None:
        assert time.monotonic() < begun + 20

    fd = os.open(rundir, os.O_RDONLY)
    old = signal.signal(signal.SIGALRM, handler)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        begun = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with ThreadPoolExecutor(1) as other:
            deletion = other.submit(netns.delete, "first", rundir=rundir)
            with pytest.raises(
                netns.KernelError, match=f"held by process {os.getpid()} \\("
            ) as caught:
                netns.create("second", rundir=rundir)
            assert caught.value.path == str(rundir)
            deletion.result()  # it goes on without the lock
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        os.close(fd)
    assert netns.names(rundir=rundir) == []


def test_a_signal_ends_the_wait_for_a_lock(rundir: Path) -> None:
    """The handler's exception ends it, and the next wait has its full time again."""

    class LateError(Exception):
        pass

    def handler(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise LateError

    fd = os.open(rundir, os.O_RDONLY)
    old = signal.signal(signal.SIGALRM, handler)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for late in (1.5, 0.8):
            begun = time.monotonic()
            # The timer repeats: one signal may come between two sleeps of the wait.
            signal.setitimer(signal.ITIMER_REAL, late, 0.1)
            with pytest.raises(LateError):
                netns.create("second", rundir=rundir)
            assert time.monotonic() < begun + late + 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        os.close(fd)


def test_no_child_keeps_the_lock(tmp_path: Path) -> None:
    rundir = tmp_path / "run"
    stop, made = threading.Event(), threading.Semaphore(0)

    def churn() -> None:
        while not stop.is_set():
            netns.create("churned", rundir=rundir).close()
            netns.delete("churned", rundir=rundir)
            made.release()

    thread = threading.Thread(target=churn)
    thread.start()
    children = []
    try:
        for _ in range(40):
            assert made.acquire(timeout=20)  # the next round has begun: it takes the lock
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            children.append(pid)
        while made.acquire(blocking=False):  # the rounds before the last fork
            pass
        for _ in range(3):
            assert made.acquire(timeout=20)
        stop.set()
        thread.join()
        locked = subprocess.run(["flock", "-n", rundir, "true"])
        assert locked.returncode == 0
    finally:
        stop.set()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        thread.join()
        unshare_run_directory(rundir)


# Guards


def leave_elsewhere(guard: netns.Guard) -> None:
    def leave() -> None:
        with pytest.raises(netns.OrderError):
            guard.__exit__(None, None, None)

    checked_on_a_thread(leave)


@pytest.mark.parametrize("how", ["exit", "close", "current", "nsids", "enter"])
def test_a_guard_left_by_another_thread(ns: netns.NetNS, how: str) -> None:
    def body() -> None:
        home = here()
        guard = ns.enter()
        guard.__enter__()
        leave_elsewhere(guard)
        assert here() == link(ns)
        if how == "exit":
            with pytest.raises(netns.OrderError):
                guard.__exit__(None, None, None)
        elif how == "close":
            guard.close()
        elif how == "current":
            netns.current().close()
        elif how == "nsids":
            netns.nsids()
        else:
            with ns.enter() as host:
                assert link(host) == home
        assert here() == home

    checked_on_a_thread(body)


def test_a_second_recall_hides_nothing(ns: netns.NetNS) -> None:
    """Another thread leaves two guards of this one; the second was void already."""

    def body() -> None:
        home = here()
        first, second = ns.enter(), ns.enter()
        first.__enter__()
        second.__enter__()
        with pytest.raises(netns.OrderError):
            first.__exit__(None, None, None)
        live = ns.enter()
        live.__enter__()
        leave_elsewhere(live)
        leave_elsewhere(second)
        netns.current().close()
        assert here() == home

    checked_on_a_thread(body)


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="3.9 may call a handler before __exit__ has begun"
)
def test_a_signal_between_enter_and_the_block(
    ns: netns.NetNS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython 3.14 calls handlers there; with its __enter__, older ones do as well."""
    monkeypatch.setattr(Guard, "__enter__", enter_and_look)

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    home, old = here(), signal.signal(signal.SIGALRM, handler)
    interrupts = 0
    deadline = time.monotonic() + 30
    gc.disable()
    try:
        while interrupts < 1000 and time.monotonic() < deadline:
            guard = ns.enter()
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0005))
                while True:
                    with guard:
                        pass
            except KeyboardInterrupt:
                interrupts += 1
            assert here() == home
            assert not guard.active
    finally:
        signal.signal(signal.SIGALRM, old)
        gc.enable()
    assert interrupts > 50


def test_entered_twice_is_not_left(ns: netns.NetNS) -> None:
    guard = ns.enter()
    enter_and_look(guard)
    with pytest.raises(netns.OrderError):
        enter_and_look(guard)
    assert here() == link(ns)
    guard.close()


# Threads


def test_a_thread_with_mounts_of_its_own_makes_no_name(ns: netns.NetNS, name: str) -> None:
    def body() -> None:
        lib.netns_setup_exec(ffi.NULL, ffi.NULL, 0, ffi.NULL)
        with pytest.raises(netns.KernelError, match="no other would see the name"):
            netns.create(name)
        with pytest.raises(netns.KernelError, match="no other would see the name"):
            ns.pin(name)

    checked_on_a_thread(body)
    assert not (RUN / name).exists()


# The interpreter


@pytest.mark.parametrize("first", ["main", "sub"])
def test_sub_interpreters_are_refused(first: str) -> None:
    done = run(
        """
import sys
try:
    import _interpreters as si
except ImportError:
    import _xxsubinterpreters as si
if sys.argv[1] == "main":
    import netns
for how in (("legacy",), {}), ((), {"isolated": False}), ((), {}):
    try:
        sub = si.create(*how[0], **how[1])
        break
    except TypeError:
        pass
code = '''
try:
    import netns
    print("imported")
except ImportError as error:
    print("main interpreter only" in str(error), flush=True)
'''
getattr(si, "run_string", getattr(si, "exec", None))(sub, code)
si.destroy(sub)
import netns
with netns.new() as ns, ns.enter():
    print("right")
""",
        first,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"True", "right"}, done.stdout + done.stderr


class Interrupting:
    """Looking up an attribute raises the error once, then AttributeError."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def __getattr__(self, name: str) -> object:
        error, self.error = self.__dict__.get("error"), None
        raise error or AttributeError(name)

    def __call__(self, host: netns.NetNS) -> str:
        return "ran"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), RecursionError()])
def test_nothing_but_attribute_errors_is_swallowed(ns: netns.NetNS, error: BaseException) -> None:
    calls: tuple[Callable[[Any], object], ...] = (ns.do, ns.do_in_thread, netns.from_socket)
    for call in calls:
        with pytest.raises(type(error)):
            call(Interrupting(error))


def test_deep_bodies_in_a_small_stack() -> None:
    done = run(
        """
import sys, threading, netns
ns = netns.new()
def nest(n):
    return n and ns.do(lambda host: nest(n - 1))
def nest_guards(n):
    with ns.enter():
        return n and nest_guards(n - 1)
def go():
    for f, n in ((nest, 400), (nest_guards, 10000)):
        try:
            f(n)
            print("done")
        except RecursionError:
            print("RecursionError")
threading.stack_size(1 << 20)
thread = threading.Thread(target=go)
thread.start()
thread.join()
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "RecursionError"


def test_the_environment_changes_during_a_call() -> None:
    done = run(
        """
import os, sys, threading, time, netns
stop = False
def change():
    i = 0
    while not stop:  # the environment gets so large that it moves, and reading it takes long
        i += 1
        os.environ[f"X{i}"] = ""
thread = threading.Thread(target=change)
thread.start()
sys.setswitchinterval(1e-5)
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        netns.open("nobody-has-this")
    except netns.NotFoundError:
        pass
stop = True
thread.join()
"""
    )
    assert done.returncode == 0, done.stderr


def test_a_finalizer_runs_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def spy(self: netns.NetNS) -> str:
        calls.append(self)
        return ""

    monkeypatch.setattr(netns.NetNS, "__repr__", spy)
    with pytest.warns(ResourceWarning, match=r"unclosed <NetNS net:\[\d+\]>"):
        netns.current()
    with pytest.warns(ResourceWarning, match=r"unclosed <NetNS '/proc/self/ns/net' net:\[\d+\]>"):
        netns.open("/proc/self/ns/net")
    assert not calls


# Bad input


def test_a_run_directory_that_is_not_to_be_used() -> None:
    """The error says why. tests/c/test_truth.c shows that the directory is not used."""
    step = lib.NETNS_STEP_OPEN_RUNDIR
    error = from_native(errno.EPERM, step, b"NETNS_RUN_DIR")
    assert isinstance(error, netns.NotPermittedError)
    assert str(error).endswith("file capabilities do not use it: 'NETNS_RUN_DIR'")


@pytest.mark.skipif(os.geteuid() != 0, reason="remounts a directory")
@pytest.mark.parametrize("target", ["name", "path"])
def test_delete_asks_before_it_unmounts(tmp_path: Path, target: str) -> None:
    rundir = tmp_path / "run"
    rundir.mkdir()
    subprocess.run(["mount", "--bind", rundir, rundir], check=True)
    with netns.create("whole", rundir=rundir) as ns:
        subprocess.run(["mount", "-o", "remount,bind,ro", rundir], check=True)
        try:
            where = "whole" if target == "name" else rundir / "whole"
            with pytest.raises(netns.KernelError) as caught:
                netns.delete(where, rundir=rundir)
            assert caught.value.errno == errno.EROFS
            with netns.open("whole", rundir=rundir) as again:
                assert again == ns
        finally:
            subprocess.run(["chattr", "-i", rundir], check=False, capture_output=True)
            subprocess.run(["mount", "-o", "remount,bind,rw", rundir], check=True)
        netns.delete("whole", rundir=rundir)
        subprocess.run(["umount", rundir], check=True)
