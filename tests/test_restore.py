"""Coming home fails: RestoreError is raised, the thread is refused, no exception is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

import netns
from support import Capabilities, checked_on_a_thread, here, link

# A body that gives up the capabilities which its return needs.
STRAND = """
import ctypes, os, threading, netns
libc = ctypes.CDLL(None, use_errno=True)

class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

header, sets = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(ctypes.byref(header), sets) == 0
usual = sets[0]

def effective(capabilities):
    sets[0] = capabilities  # of this thread; CAP_SYS_ADMIN is in the low half
    assert libc.capset(ctypes.byref(header), sets) == 0

here = lambda: os.readlink("/proc/thread-self/ns/net")
ns, home = netns.new(), here()

def body(host):
    effective(0)
    raise ValueError("the body's own")
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STRAND + script], capture_output=True, text=True, timeout=60
    )


def test_restore_error_is_loud_and_chained() -> None:
    done = run("""
for enter in (False, True):
    try:
        if enter:
            with ns.enter():
                raise SystemExit("not reached")
        else:
            ns.do(body)
    except netns.RestoreError as error:
        print(type(error.__context__).__name__, error.step, error.errno)
assert here() != home
uses = [ns.set, netns.current, netns.new, netns.names, lambda: netns.create("x"),
        lambda: netns.open("/proc/self/ns/net"), lambda: netns.from_pid(1),
        lambda: netns.from_thread(threading.get_native_id()), lambda: netns.delete("x"),
        lambda: netns.from_fd(ns.fileno()), lambda: ns.pin("x"), lambda: ns.do(print),
        lambda: netns.check("x"), lambda: netns.do("x", print)]
for use in uses:
    try:
        use()
    except netns.RestoreError as error:
        assert error.step == "use a stranded thread", error
    else:
        raise SystemExit(f"{use} was not refused")
# Only this thread is marked.
seen = []
thread = threading.Thread(target=lambda: seen.append(netns.current()))
thread.start()
thread.join()
print("another thread:", len(seen))
ns.close()
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ValueError return home 1",
        "NoneType use a stranded thread 131",
        "another thread: 1",
    ]


def test_an_outer_guard_may_still_bring_it_home() -> None:
    """The first return lacks the capability; the second has it again."""
    done = run("""
with ns.enter():
    with netns.new() as other:
        guard = other.enter()
        guard.__enter__()
        effective(0)
        try:
            guard.__exit__(None, None, None)
        except netns.RestoreError as error:
            print(error.step)
        effective(usual)
    try:
        netns.current()
    except netns.RestoreError as error:
        print(error.step)
assert here() == home
print(ns.do(lambda host: here()) != home)
ns.close()
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["return home", "use a stranded thread", "True"]


def test_a_process_may_choose_to_abort() -> None:
    done = run("""
assert netns.abort_when_stranded() is False
assert netns.abort_when_stranded() is True
ns.do(body)
""")
    assert done.returncode == -signal.SIGABRT
    done = run("""
netns.abort_when_stranded()
netns.abort_when_stranded(False)
try:
    ns.do(body)
except netns.RestoreError:
    ns.close()
""")
    assert done.returncode == 0, done.stderr


def test_capabilities_given_up_between_two_enters() -> None:
    """Each enter checks the way back: a thread that may not come home does not leave."""
    done = run("""
with ns.enter():
    pass
effective(0)
try:
    with ns.enter():
        print("inside")
except netns.NotPermittedError as error:
    print(error.step)
assert here() == home
ns.close()
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "enter the namespace\n"


def test_guards_left_out_of_order_on_a_stranded_thread(ns: netns.NetNS) -> None:
    """Going to the outermost home also undoes what a failed return has left."""

    def run() -> None:
        home = here()
        with netns.current() as current:
            guards = [current.enter(), current.enter(), ns.enter()]
            for guard in guards:
                guard.__enter__()
            with Capabilities(), pytest.raises(netns.RestoreError):
                guards[2].__exit__(None, None, None)
            assert here() == link(ns)
            with pytest.raises(netns.OrderError):
                guards[0].__exit__(None, None, None)
            assert here() == home
            with pytest.raises(netns.OrderError):
                guards[1].__exit__(None, None, None)

    checked_on_a_thread(run)


def test_a_stranded_thread_stays_refused(ns: netns.NetNS) -> None:
    def run() -> None:
        with netns.current() as current:
            guards = [current.enter(), current.enter(), ns.enter()]
            for guard in guards:
                guard.__enter__()
            with Capabilities():
                for guard in (guards[2], guards[0]):
                    with pytest.raises(netns.RestoreError):
                        guard.__exit__(None, None, None)
            with pytest.raises(netns.RestoreError):
                netns.current()
            with pytest.raises(netns.OrderError):
                guards[1].__exit__(None, None, None)

    checked_on_a_thread(run)
