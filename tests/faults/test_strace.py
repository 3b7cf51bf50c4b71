"""Tests the built package from outside: strace fails its system calls, or kills it there.

strace counts the calls of each thread apart, and skips a call that it fails, so
close(2) is left alone.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys

import pytest

import netns
from netns._native import lib
from support import RUN, nsfs_mounts
from sweep import errnos

STRACE = shutil.which("strace")

# Does one operation, prints its outcome, and checks that nothing is left.
SCRIPT = """
import os, sys, netns
here = lambda: os.readlink("/proc/thread-self/ns/net")
fds = lambda: len(os.listdir("/proc/self/fd"))
operation, name = sys.argv[1:]
home = here()
ns = netns.new() if operation in ("do", "pin") else None
before = fds()
outcome = "done"
try:
    if operation == "do":
        assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
    elif operation == "new":
        netns.new().close()
    elif operation == "create":
        netns.create(name).close()
    elif operation == "pin":
        ns.pin(name)
    elif operation == "delete":
        netns.delete(name)
except netns.RestoreError as error:
    print("loud", error.step)
    os._exit(0)
except netns.Error as error:
    assert error.errno and error.step, error
    outcome = f"refused {error.errno} {error.step}"
assert here() == home
assert fds() <= before + 2 * (operation in ("do", "new", "create")), os.listdir("/proc/self/fd")
assert all(os.readlink(f"/proc/self/task/{tid}/ns/net") == home
           for tid in os.listdir("/proc/self/task"))
print(outcome)
if ns:
    ns.close()
"""

# Calls that only the library makes, and not the interpreter.
CALLS = {
    "do": ["setns"],
    "new": ["unshare"],
    "create": ["unshare", "open_tree", "move_mount", "mount_setattr", "flock"],
    "pin": ["open_tree", "move_mount", "mount_setattr", "flock"],
    "delete": ["umount2", "flock"],
}
CASES = [
    (operation, call, errno.errorcode[number])
    for operation, calls in CALLS.items()
    for call in calls
    for number in (errnos(call) if hasattr(lib, "fault_errnos") else ())
    if not (call == "flock" and number == errno.EINTR)
]


@pytest.fixture(autouse=True, scope="module")
def strace() -> None:
    if STRACE is None:
        reason = "strace is not installed"
        pytest.skip(reason)
    probe = subprocess.run([STRACE, "-qq", "-o", "/dev/null", "true"], stderr=subprocess.PIPE)
    if probe.returncode:
        reason = f"strace can't trace here: {probe.stderr.decode().strip()}"
        pytest.skip(reason)


@pytest.fixture
def prepared(name: str) -> str:
    netns.create(name).close()
    netns.delete(name)
    return name


def traced(injection: str, operation: str, name: str) -> subprocess.CompletedProcess[str]:
    if operation == "delete" and name not in netns.names():
        netns.create(name).close()
    assert STRACE is not None
    return subprocess.run(
        [STRACE, "-f", "-qq", "-o", "/dev/null", "-e", "trace=none", "-e"]
        + [f"inject={injection}", sys.executable, "-c", SCRIPT, operation, name],
        capture_output=True,
        text=True,
        timeout=60,
    )


def undo(name: str) -> None:
    """Deletes the name if it is still there, as after a delete() that failed."""
    if (RUN / name).exists():
        netns.delete(name)
    assert str(RUN / name) not in nsfs_mounts()
    assert not (RUN / name).exists()


@pytest.mark.parametrize(("operation", "call", "error"), CASES)
def test_failed_by_strace(prepared: str, operation: str, call: str, error: str) -> None:
    done = traced(f"{call}:error={error}:when=1", operation, prepared)
    assert done.returncode == 0, done.stderr
    word, *rest = done.stdout.split()
    assert word in ("done", "refused", "loud")
    if word == "refused":
        assert int(rest[0]) == getattr(errno, error)
    if operation in ("create", "pin"):
        assert (prepared in netns.names()) == (word == "done")
    undo(prepared)


@pytest.mark.parametrize(
    ("operation", "call", "when"),
    [
        (operation, call, when)
        for operation, calls in CALLS.items()
        for call in calls
        for when in ((1, 2) if call == "move_mount" else (1,))
        if operation != "do" or call == "setns"
    ],
)
def test_killed_by_strace(prepared: str, operation: str, call: str, when: int) -> None:
    neighbour = f"{prepared}-b"
    netns.create(neighbour).close()
    done = traced(f"{call}:signal=KILL:when={when}", operation, prepared)
    assert done.returncode in (0, -9), done.stderr
    ours = {each for each in netns.names() if each.startswith(prepared)}
    assert ours - {prepared} == {neighbour}
    with netns.create(prepared, exist_ok=True) as ns, netns.open(prepared) as again:
        assert ns == again
    assert nsfs_mounts().count(str(RUN / prepared)) == 1
    undo(prepared)
    undo(neighbour)
