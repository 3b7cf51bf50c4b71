"""Interrupts every public operation at random points, by a signal handler that raises.

    python tests/interrupts.py [INTERRUPTS [SECONDS]]

Each operation is interrupted so many times (2,000), or for so many seconds (15). A row
has how many interrupts came and what differs afterwards: the thread's namespace,
descriptors, threads, children, file locks; `swallowed` counts interrupts that did not
reach the caller. The garbage collector is off. It fails if anything differs.

Jobs of an executor are left out: an interrupt in submit() may leave a lock of the standard
library taken. So is asyncio: test_asyncio.py interrupts it.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

RUN = tempfile.mkdtemp(prefix="netns-interrupts-")
os.environ["NETNS_RUN_DIR"] = RUN

import netns  # noqa: E402
from support import descriptors, ends, here, task_links, unshare_run_directory  # noqa: E402


class Interrupt(BaseException):
    pass


def children() -> set[str]:
    subprocess._cleanup()  # type: ignore[attr-defined]
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update((task / "children").read_text().split())
        except OSError:  # the thread ended
            continue
    return found


def kinds() -> Counter[str]:
    """The open files, counted by kind: a pool has other namespaces each time."""
    found: Counter[str] = Counter()
    for text, count in descriptors().items():
        found[text.partition(":")[0]] += count
    return found


def locks() -> int:
    """The file locks that this process holds."""
    return sum(
        line.split()[4] == str(os.getpid())
        for line in Path("/proc/locks").read_text().splitlines()
    )


def settled(look: Callable[[], int], least: int, seconds: float = 10) -> int:
    """What look() returns once it is down to `least`, or after that time."""
    deadline = time.monotonic() + seconds
    while (found := look()) > least and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel tells nobody when these have gone
    return found


class Operations:
    """The operations that are interrupted: every method without an underscore."""

    def __init__(self) -> None:
        self.ns, self.other = netns.new(), netns.new()
        self.fixed = netns.create("fixed")
        self.sock = self.ns.socket()
        self.home = netns.current()
        self.made_ahead = netns.pool(2)
        self.made_ahead.__enter__()
        self.changes = netns.watch(timeout=0)

        self.ns.run(["ip", "link", "set", "lo", "up"], check=True)

    def _without(self, *names: str) -> None:
        for name in names:
            try:
                netns.delete(name)
            except netns.NotFoundError:
                continue

    def new(self) -> None:
        netns.new().close()

    def create_and_delete(self) -> None:
        self._without("made")
        netns.create("made").close()
        netns.delete("made")

    def create_exist_ok(self) -> None:
        netns.create("fixed", exist_ok=True).close()

    def attach(self) -> None:
        self._without("made")
        netns.attach("made", os.getpid()).close()

    def pin(self) -> None:
        self._without("made")
        self.ns.pin("made")

    def delete_many(self) -> None:
        for name in ("a", "b", "c"):
            netns.create(name, exist_ok=True).close()
        netns.delete("a", "b", "c")

    def open(self) -> None:
        netns.open("fixed").close()

    def open_path(self) -> None:
        with netns.open(f"{RUN}/fixed"):
            pass

    def current(self) -> None:
        netns.current().close()

    def from_pid(self) -> None:
        netns.from_pid(os.getpid()).close()

    def from_thread(self) -> None:
        netns.from_thread(threading.get_native_id()).close()

    def from_fd(self) -> None:
        netns.from_fd(self.ns.fileno()).close()

    def from_socket(self) -> None:
        netns.from_socket(self.sock).close()

    def names(self) -> None:
        netns.names()

    def check(self) -> None:
        netns.check(f"{RUN}/fixed")
        netns.is_netns(RUN)

    def identify_and_pids(self) -> None:
        netns.identify(os.getpid())
        netns.pids(self.ns)

    def discover(self) -> None:
        netns.discover()

    def discover_and_open(self) -> None:
        me = os.getpid()
        next(each for each in netns.discover() if me in each.pids).open().close()

    def properties(self) -> None:
        _ = self.ns.ino, self.ns.cookie, self.ns.nsid, self.ns.owner_uid, repr(self.ns)

    def do(self) -> None:
        self.ns.do(lambda host: self.other.do(lambda host: sum(range(20))))

    def do_target(self) -> None:
        netns.do("fixed", lambda host: sum(range(20)))

    def enter(self) -> None:
        with self.ns.enter(), self.other.enter():
            sum(range(20))

    def set(self) -> None:
        self.home.set()

    def tour(self) -> None:
        with netns.tour() as tour:
            for ns in (self.ns, self.other, self.fixed):
                tour.visit(ns)

    def do_in_thread(self) -> None:
        self.ns.do_in_thread(lambda host: sum(range(20)))

    def socket(self) -> None:
        self.ns.socket().close()

    def sockets(self) -> None:
        for sock in netns.sockets([self.ns, self.other, self.fixed]):
            sock.close()

    def create_server(self) -> None:
        self.ns.create_server(("127.0.0.1", 0)).close()

    def create_connection(self) -> None:
        with self.ns.create_server(("127.0.0.1", 0)) as server:
            self.ns.create_connection(server.getsockname(), 5).close()

    def run(self) -> None:
        self.ns.run(["true"], capture_output=True)

    def popen(self) -> None:
        # A command that ends by itself: an interrupt may drop its Popen.
        with self.ns.popen(["true"]):
            pass

    def executor(self) -> None:
        self.ns.executor(1).shutdown()

    def pool(self) -> None:
        with netns.pool(2) as pool:
            pool.take().close()

    def pool_take(self) -> None:
        self.made_ahead.take().close()

    def watch(self) -> None:
        with netns.watch(timeout=0) as changes:
            list(changes)

    def watch_next(self) -> None:
        list(self.changes)


class Stress:
    """Interrupts one operation after the other, and looks at what is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.armed = False
        self.fired = 0
        self.random = random.Random(1)

    def handler(self, _: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not subprocess.Popen.__del__.__code__:
            frame = frame.f_back
        if frame is not None:
            # Python discards what is raised in this finalizer, which is not ours: try later.
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
        elif self.armed:
            self.armed = False
            self.fired += 1
            raise Interrupt

    def cost(self, operation: Callable[[], object]) -> float:
        spent = []
        for _ in range(9):
            start = time.perf_counter()
            operation()
            spent.append(time.perf_counter() - start)
        return sorted(spent)[4]

    def hit(self, operation: Callable[[], object], span: float) -> bool:
        """Whether the interrupt reached the caller."""
        try:
            try:
                self.armed = True
                signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-6, span))
                operation()
                self.armed = False
            finally:
                self.armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            return True
        return False

    def sweep(
        self, operation: Callable[[], object], span: float, interrupts: float
    ) -> dict[str, int]:
        home, before, threads = here(), kinds(), set(task_links())
        young, own_locks = children(), locks()
        begun, seen, away = self.fired, 0, 0
        end = time.monotonic() + self.seconds
        while self.fired - begun < interrupts and time.monotonic() < end:
            seen += self.hit(operation, span)
            if here() != home:
                away += 1
                break
        signal.setitimer(signal.ITIMER_REAL, 0)

        def more() -> int:
            return sum((kinds() - before).values())

        return {
            "interrupts": self.fired - begun,
            "swallowed": self.fired - begun - seen,
            "away": away,
            "threads": sum(not ends(tid) for tid in set(task_links()) - threads),
            "children": settled(lambda: len(children() - young), 0),
            "locks": settled(locks, own_locks) - own_locks,
            "descriptors": settled(more, 0),
        }


def main(interrupts: float = 2000, seconds: float = 15) -> int:
    warnings.simplefilter("ignore")  # of objects that an interrupt dropped unclosed
    operations = Operations()
    stress = Stress(seconds)
    signal.signal(signal.SIGALRM, stress.handler)
    gc.disable()
    names = [name for name in vars(Operations) if not name.startswith("_")]
    wrong = ("swallowed", "away", "threads", "children", "locks", "descriptors")
    columns = ("interrupts", *wrong)
    print(f"{'':18}", *(f"{column:>12}" for column in columns))
    totals: Counter[str] = Counter()
    for name in names:
        operation = getattr(operations, name)
        span = 1.2 * stress.cost(operation)
        settled(lambda: -operations.made_ahead._worker.ready.qsize(), -2)
        found = stress.sweep(operation, span, interrupts)
        totals.update(found)
        print(f"{name:18}", *(f"{found[column]:12,}" for column in columns), flush=True)
    print(f"{'all':18}", *(f"{totals[column]:12,}" for column in columns))
    for _ in range(5):  # the pool is as large as ever
        operations.made_ahead.take().close()
    operations.made_ahead.__exit__()
    netns.create("seen").close()
    reported = next(operations.changes) == ("appeared", "seen")
    netns.delete(*netns.names())
    unshare_run_directory(RUN)
    os.rmdir(RUN)
    return sum(totals[column] for column in wrong) + (not reported)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
