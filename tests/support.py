"""Helpers of the tests. They ask the kernel, never the library, how things are."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netns

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
RUN = Path("/run/netns")
PREFIX = f"netns-test-{os.getpid()}-"  # others may test on this machine too


def task_links() -> dict[str, str]:
    """Each thread of this process with the text of its ns/net link."""
    links = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            links[task.name] = os.readlink(task / "ns/net")
        except OSError:  # the thread ended
            continue
    return links


def here() -> str:
    """The calling thread's namespace, as the kernel tells it: "net:[INODE]"."""
    return os.readlink("/proc/thread-self/ns/net")


def descriptors() -> Counter[str]:
    """How many descriptors of this process are open on each file."""
    found: Counter[str] = Counter()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            text = os.readlink(fd)
        except FileNotFoundError:  # the directory's own
            continue
        found[text] += 1
    return found


def mountinfo() -> list[list[str]]:
    """The fields of each line; a mount point may have any bytes in its name."""
    text = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    return [line.split(" ") for line in text.splitlines()]


def is_shared(path: Path) -> bool:
    """Whether the mount that a path is on propagates to others."""
    command = ["findmnt", "-no", "PROPAGATION", "-T", str(path)]
    return "shared" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def unshare_run_directory(path: str | Path) -> None:
    """Unmounts a run directory. On a shared mount the library makes none of its own."""
    if str(path) in [fields[4] for fields in mountinfo()]:
        subprocess.run(["umount", path], check=True)


def nsfs_mounts() -> list[str]:
    return sorted(fields[4] for fields in mountinfo() if "nsfs" in fields[-3:])


def world(directory: str) -> dict[str, object]:
    """What a test must leave as it found it; its files are below that directory."""
    return {
        "home": here(),
        "descriptors": descriptors(),
        "mounts": [path for path in nsfs_mounts() if PREFIX in path or directory in path],
        "names": sorted(str(path) for path in RUN.glob(PREFIX + "*")),
    }


def ends(tid: str, seconds: float = 5.0) -> bool:
    """Whether the thread is gone within that time."""
    deadline = time.monotonic() + seconds
    while Path(f"/proc/self/task/{tid}").exists():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def on_a_thread(call: Callable[[], object]) -> None:
    """Run on a thread of its own, and wait until the kernel has taken that down.

    join() returns before: the thread's descriptors are closed a moment later.
    """
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert ends(str(thread.native_id))


def socket_answers(ask: Callable[[socket.socket], object]) -> bool:
    """Whether the kernel knows a request about a socket."""
    with socket.socket() as sock:
        try:
            ask(sock)
        except OSError:
            return False
        return True


needs_cookies = pytest.mark.skipif(
    not socket_answers(lambda sock: sock.getsockopt(socket.SOL_SOCKET, 71, 8)),
    reason="needs SO_NETNS_COOKIE (Linux 5.14)",
)

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC, MS_SLAVE = 1 << 14, 1 << 19


def has_call(number: int) -> bool:
    """Whether the kernel has a call, asked with arguments that every kernel refuses."""
    LIBC.syscall(number, -1, None, -1, None, 0, 0)
    return ctypes.get_errno() != errno.ENOSYS


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


class Capabilities:
    """A block in which the calling thread has no effective capabilities; others keep theirs."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    def __init__(self) -> None:
        self.header, self.sets = self.Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert LIBC.capget(ctypes.byref(self.header), self.sets) == 0
        self.had = self.sets[0], self.sets[3]

    def set(self, low: int, high: int) -> None:
        self.sets[0], self.sets[3] = low, high
        assert LIBC.capset(ctypes.byref(self.header), self.sets) == 0

    def __enter__(self) -> None:
        self.set(0, 0)

    def __exit__(self, *exc: object) -> None:
        self.set(*self.had)


def checked_on_a_thread(call: Callable[[], object]) -> None:
    """As on_a_thread(), and raises here what the call raised there."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    on_a_thread(run)
    if errors:
        raise errors.pop()


def interrupt_at_random(seconds: float, work: Callable[[], object]) -> Iterator[None]:
    """Again and again: repeats work() until a KeyboardInterrupt within 2 ms, and yields.

    It goes on for so many seconds, and on a busy machine until 200 interrupts came.
    """
    chance = random.Random(1)
    armed = False

    def interrupt(signum: int, frame: object) -> None:
        nonlocal armed
        if armed:  # one that comes late must not hit the test itself
            armed = False
            raise KeyboardInterrupt

    # A call, as 3.13's exception table leaves out the jump back to a loop's head.
    def work_on() -> None:
        while armed:  # also ends where a finalizer has swallowed it
            work()

    old = signal.signal(signal.SIGALRM, interrupt)
    begun, rounds = time.monotonic(), 0
    try:
        while (since := time.monotonic() - begun) < seconds or (since < 60 and rounds < 200):
            rounds += 1
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 2e-3))
                work_on()
            except KeyboardInterrupt:
                pass
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# A system call from 424 on has the same number on every architecture, except alpha.
_REFUSING = """
import ctypes, errno, os, struct, sys
number, netlink = int(sys.argv[1]), sys.argv[2] == "netlink"
socket_call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
older = {"x86_64": (332, 304), "aarch64": (291, 265)}[os.uname().machine]
load = lambda offset: (0x20, 0, 0, offset)
refuse = (0x06, 0, 0, 0x00050000 | number)
allow = (0x06, 0, 0, 0x7FFF0000)
if netlink:  # socket(AF_NETLINK, ...)
    program = [load(0), (0x15, 0, 3, socket_call), load(16), (0x15, 0, 1, 16), refuse, allow]
else:  # statx, open_by_handle_at, and all from 424 on
    program = [load(0), (0x15, 3, 0, older[0]), (0x15, 2, 0, older[1])]
    program += [(0x35, 0, 2, 424), (0x35, 1, 0, 512), refuse, allow]
code = b"".join(struct.pack("HBBI", *each) for each in program)
buffer = ctypes.create_string_buffer(code)
fprog = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(fprog), 0, 0) == 0
os.execvp(sys.argv[3], sys.argv[3:])
"""


def refusing(number: int, what: str = "newer") -> list[str]:
    """Put before a command, these words make its newer calls, or "netlink" sockets, fail."""
    return [sys.executable, "-c", _REFUSING, str(number), what]
