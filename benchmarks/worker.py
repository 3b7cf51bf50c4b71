"""The Python side of the race's line protocol (README.md), and what workers share.

A worker names its operations, or says why it is absent; then it answers each line
"OPERATION COUNT PRESENT" with the nanoseconds that so many calls took.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from time import perf_counter_ns

Operation = Callable[[int, int], int]  # count, namespaces present: nanoseconds

TARGET = sys.argv[1] if len(sys.argv) > 1 else ""


def path(name: str) -> str:
    return f"/run/netns/{name}"


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{i:05}" for i in range(count)]


def here() -> str:
    """Where the calling thread is, by the kernel's word."""
    return os.readlink("/proc/thread-self/ns/net")


def check(truth: object, what: str) -> None:
    """No time is printed of work that was not done; also under python -O."""
    if not truth:
        raise SystemExit(f"failed: {what}")


def clock(count: int, call: Callable[[], object], *more: Callable[[], object]) -> int:
    """For operations beside which a Python call is nothing."""
    start = perf_counter_ns()
    for _ in range(count):
        call()
        for then in more:
            then()
    return perf_counter_ns() - start


def each(prefix: str, call: Callable[[str], object], undo: Callable[[str], object]) -> Operation:
    """So many calls, each with a name of its own; what undoes them is not timed."""

    def run(count: int, present: int) -> int:
        names = numbered(prefix, count)
        start = perf_counter_ns()
        for name in names:
            call(name)
        spent = perf_counter_ns() - start
        for name in names:
            undo(name)
        return spent

    return run


def beside(run: Operation) -> Operation:
    """The operation with a Python thread beside it that only computes.

    For COUNT milliseconds, many of the interpreter's switch intervals: a number of calls
    may be over before the other thread has asked for its turn.
    """

    def both(count: int, present: int) -> int:
        stop = False
        spinning = threading.Event()

        def spin() -> None:
            spinning.set()
            while not stop:
                pass

        thread = threading.Thread(target=spin)
        thread.start()
        try:
            spinning.wait()
            spent = done = 0
            while spent < count * 1_000_000:
                spent += run(1000, present)  # whose own setting up is not timed
                done += 1000
            return spent * count // done
        finally:
            stop = True
            thread.join()

    return both


def together(threads: int, run: Operation) -> Operation:
    """The operation on so many threads at once, which share the count."""

    def all_of_them(count: int, present: int) -> int:
        share = -(-count // threads)
        done: list[int] = []

        def work() -> None:
            done.append(run(share, present))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        start = perf_counter_ns()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        spent = perf_counter_ns() - start
        check(len(done) == threads, "every thread did its share")
        return spent * count // (share * threads)

    return all_of_them


def imports(statement: str, before: str = "") -> Operation:
    """The statement's time in fresh interpreters, without their own start."""
    code = (
        f"{before}\nfrom time import perf_counter_ns\nstart = perf_counter_ns()\n"
        f"{statement}\nprint(perf_counter_ns() - start)"
    )

    # As for a user: not compiled from source each time.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def run(count: int, present: int) -> int:
        command = [sys.executable, "-c", code]
        return sum(int(subprocess.check_output(command, env=env, cwd="/")) for _ in range(count))

    return run


def absent(reason: str) -> None:
    print("absent:", reason)
    raise SystemExit(0)


def serve(operations: Mapping[str, Operation]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(*operations, flush=True)
    for line in sys.stdin:
        name, count, present = line.split()
        home = here()
        spent = operations[name](int(count), int(present))
        check(here() == home, f"home after {name}")
        print(spent, flush=True)
