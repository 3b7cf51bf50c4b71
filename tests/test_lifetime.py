"""Threads, processes and interpreters that end at awkward moments."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import netns
from support import descriptors, here, on_a_thread


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_interpreter_ends_while_a_daemon_is_inside() -> None:
    done = run("""
import threading, netns
ns = netns.new()
inside = threading.Event()

def body(host):
    inside.set()
    threading.Event().wait()

threading.Thread(target=ns.do, args=(body,), daemon=True).start()
assert inside.wait(30)

def spin():
    while True:
        ns.do(lambda host: None)

for _ in range(3):
    threading.Thread(target=spin, daemon=True).start()
print("end")
""")
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "Fatal" not in done.stderr


def test_the_interpreter_ends_inside() -> None:
    done = run("""
import netns
ns = netns.new()
guard = ns.enter()
guard.__enter__()
ns.close()
print("end")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_handles_collected_on_another_thread(ns: netns.NetNS) -> None:
    before = descriptors()

    class Cycle:
        def __init__(self) -> None:
            self.cycle = self
            self.copy = netns.from_fd(ns.fileno())
            self.copy.do(lambda host: None)

    gc.disable()
    try:
        for _ in range(20):
            Cycle().copy.close()
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
    finally:
        gc.enable()
    assert descriptors() == before


def test_descriptors_of_ended_threads(ns: netns.NetNS) -> None:
    """Each thread that enters keeps two descriptors, which are closed when it ends."""
    before = descriptors()
    for _ in range(50):
        on_a_thread(lambda: ns.do(lambda host: None))
    assert descriptors() == before


def test_fork_while_other_threads_are_inside(ns: netns.NetNS) -> None:
    """The child has closed the descriptors of those threads, and its own home is right."""
    home = here()
    threads = 8
    inside, leave = threading.Barrier(threads + 1), threading.Event()

    def visit() -> None:
        with ns.enter():
            inside.wait()
            leave.wait()

    visitors = [threading.Thread(target=visit) for _ in range(threads)]
    before = descriptors()
    for thread in visitors:
        thread.start()
    inside.wait()
    assert sum(descriptors().values()) == sum(before.values()) + 2 * threads
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # Fewer: its own link is opened again when it is needed.
            assert sum(descriptors().values()) <= sum(before.values())
            assert ns.do(lambda host: (here(), f"net:[{host.ino}]")) == (f"net:[{ns.ino}]", home)
            assert sum(descriptors().values()) <= sum(before.values())
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    leave.set()
    for thread in visitors:
        thread.join()


def test_subprocess_inside_a_body(ns: netns.NetNS) -> None:
    """The child starts inside, and inherits none of this thread's descriptors."""

    def body(host: netns.NetNS) -> str:
        script = "readlink /proc/self/ns/net; readlink /proc/self/fd/*"
        run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, close_fds=False)
        return run.stdout

    first, *fds = ns.do(body).splitlines()
    assert first == f"net:[{ns.ino}]"
    assert not [fd for fd in fds if "net:" in fd or "/ns/" in fd]
