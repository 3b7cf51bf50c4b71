"""A signal handler may raise anywhere, and the thread still comes home."""

from __future__ import annotations

import functools
import random
import signal
import time
from collections.abc import Callable
from types import FrameType

import pytest

import netns
from support import here

SIGNALS = 100_000


def cost(operation: Callable[[], object]) -> float:
    """Seconds that an operation takes, the median of a hundred."""
    spent = []
    for _ in range(100):
        start = time.perf_counter()
        operation()
        spent.append(time.perf_counter() - start)
    return sorted(spent)[50]


class Interruptions:
    """A timer that fires once at a random point of an operation, and raises there."""

    def __init__(self) -> None:
        self.armed = False
        self.fired = 0
        self.inside = 0

    def handler(self, signum: int, frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            self.fired += 1
            self.inside += here() != self.home
            raise KeyboardInterrupt

    def sweep(self, operation: Callable[[], object], signals: int) -> None:
        self.home = here()
        span = 1.3 * cost(operation)
        start = self.fired
        while self.fired - start < signals:
            try:
                self.armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, span))
                operation()
                self.armed = False
            except KeyboardInterrupt:
                # The thread is home by the time that anybody can catch it.
                assert here() == self.home
            assert here() == self.home
        signal.setitimer(signal.ITIMER_REAL, 0)


def spin() -> int:
    return sum(range(20))


@pytest.mark.timeout(1200)
def test_interrupts_at_random_points(ns: netns.NetNS) -> None:
    other = netns.new()

    def body(host: netns.NetNS) -> int:
        return spin()

    def with_block() -> None:
        with ns.enter():
            spin()

    def empty_block() -> None:
        with ns.enter():
            pass

    def nested() -> None:
        with ns.enter(), other.enter() as host:
            host.do(body)

    def kept_guard() -> None:
        guard = ns.enter()
        with guard:
            spin()

    operations: list[Callable[[], object]] = [
        functools.partial(ns.do, body),
        functools.partial(ns.do, id),  # no Python code inside
        lambda: ns.do(lambda host: ns.do(lambda host: other.do(body))),
        with_block,
        empty_block,
        nested,
        kept_guard,
    ]
    interruptions = Interruptions()
    before = signal.signal(signal.SIGALRM, interruptions.handler)
    try:
        for operation in operations:
            interruptions.sweep(operation, SIGNALS // len(operations) + 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        other.close()
    print(f"{interruptions.fired:,} signals, {interruptions.inside:,} of them raised inside")
    assert interruptions.fired >= SIGNALS
    # Else too few would have come while the thread was inside.
    assert interruptions.inside > interruptions.fired // 10
