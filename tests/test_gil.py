"""keep_gil: who runs while a thread enters, leaves and visits."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import test_switch

import netns
from support import FREE_THREADED, checked_on_a_thread, here, interrupt_at_random, link

needs_a_gil = pytest.mark.skipif(FREE_THREADED, reason="a free-threaded CPython has no GIL")


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """Each test begins, and the others go on, as the process did."""
    assert netns.keep_gil(False) is False
    yield
    netns.keep_gil(False)


class Other:
    """A thread that counts whenever this one lets it: no switch is forced meanwhile."""

    def __init__(self) -> None:
        self.count, self.stop = 0, False
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stop:
            self.count += 1
            time.sleep(0)  # gives the GIL back; sched_yield() does not in older CPythons

    def runs_during(self, call: Callable[[], object]) -> bool:
        """Whether it ever does, in 20 seconds."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            before = self.count
            call()
            if self.count != before:
                return True
        return False

    def rests_during(self, call: Callable[[], object]) -> bool:
        call()  # the first one of a thread has its record to make
        before = self.count
        for _ in range(2000):
            call()
        return self.count == before


@pytest.fixture
def other() -> Iterator[Other]:
    made, interval = Other(), sys.getswitchinterval()
    gc.disable()  # or its finalizers may let the other run
    sys.setswitchinterval(100)
    made.thread.start()
    try:
        yield made
    finally:
        made.stop = True
        made.thread.join()
        sys.setswitchinterval(interval)
        gc.enable()


def uses(ns: netns.NetNS) -> dict[str, Callable[[], object]]:
    def enter() -> None:
        with ns.enter():
            pass

    def tour() -> None:
        with netns.tour() as t:
            t.visit(ns)
            t.visit(ns)

    return {"do": lambda: ns.do(lambda host: None), "enter": enter, "tour": tour}


@needs_a_gil
@pytest.mark.parametrize("use", ["do", "enter", "tour"])
def test_released_by_default_and_kept_on_request(ns: netns.NetNS, other: Other, use: str) -> None:
    call = uses(ns)[use]
    assert other.runs_during(call)
    assert netns.keep_gil() is False
    assert other.rests_during(call)
    assert netns.keep_gil(False) is True
    assert other.runs_during(call)


@needs_a_gil
def test_each_end_and_each_visit_by_itself(ns: netns.NetNS, other: Other) -> None:
    """One that releases is not made up for by one that keeps."""
    guard: Any = ns.enter()
    ends = {"enter": guard.__enter__, "leave": lambda: guard.__exit__(None, None, None)}
    ran = dict.fromkeys(ends, False)
    deadline = time.monotonic() + 20
    while not all(ran.values()) and time.monotonic() < deadline:
        for name, end in ends.items():
            before = other.count
            end()
            ran[name] |= other.count != before
    assert all(ran.values()), ran
    with netns.tour() as t:
        assert other.runs_during(lambda: t.visit(ns))
        netns.keep_gil()
        assert other.rests_during(lambda: t.visit(ns))


@needs_a_gil
def test_all_else_releases_all_the_same(ns: netns.NetNS, other: Other, name: str) -> None:
    def create() -> None:
        netns.create(name).close()
        netns.delete(name)

    netns.keep_gil()
    for call in (
        lambda: netns.new().close(),
        create,
        lambda: netns.current().close(),
        lambda: netns.open("/proc/thread-self/ns/net").close(),
        lambda: ns.socket().close(),
        lambda: netns.sockets([ns])[0].close(),
        lambda: netns.pids(ns),
        netns.names,
    ):
        assert other.runs_during(call), call


@needs_a_gil
def test_the_first_of_a_thread_releases(other: Other) -> None:
    """Its record is made under a lock, which a fork may hold."""
    netns.keep_gil()
    ran = []

    def run() -> None:
        guard: Any = netns.tour()  # which has no host to make, by a call that releases
        before = other.count
        guard.__enter__()
        ran.append(other.count != before)
        guard.__exit__(None, None, None)

    deadline = time.monotonic() + 20
    while not any(ran) and time.monotonic() < deadline:
        checked_on_a_thread(run)
    assert any(ran)


@pytest.mark.skipif(not FREE_THREADED, reason="this CPython has a GIL, kept or not")
def test_free_threaded_nothing_changes(ns: netns.NetNS) -> None:
    assert netns.keep_gil() is False
    assert netns.keep_gil() is True
    for call in uses(ns).values():
        call()


@pytest.mark.parametrize(
    "test",
    [
        test_switch.test_do_runs_in_the_target,
        test_switch.test_host_is_the_callers_namespace,
        test_switch.test_host_after_the_thread_moved_elsewhere,
        test_switch.test_host_when_called_concurrently,
        test_switch.test_enter_nests,
        test_switch.test_deep_nesting,
        test_switch.test_inside_already,
        test_switch.test_closed,
        test_switch.test_closed_inside_its_own_body,
        test_switch.test_a_guard_serves_again_but_not_twice_at_once,
        test_switch.test_guards_left_out_of_order,
        test_switch.test_a_guard_left_on_another_thread,
        test_switch.test_a_dropped_guard_leaves,
        test_switch.test_fork_inside_a_body,
        test_switch.test_fork_and_leave_in_the_child,
        test_switch.test_a_refusal_in_the_body_is_the_bodys,
        test_switch.test_close_of_a_guard_out_of_order,
        test_switch.test_errors_of_guards_are_not_kept,
    ],
    ids=lambda test: test.__name__[5:],
)
def test_kept_all_is_as_before(ns: netns.NetNS, test: Callable[[netns.NetNS], None]) -> None:
    netns.keep_gil()
    test(ns)


def test_kept_interrupts_at_random(ns: netns.NetNS) -> None:
    home, bodies = here(), 0
    netns.keep_gil()

    def work() -> None:
        nonlocal bodies
        assert ns.do(lambda host: here()) == link(ns)
        with ns.enter():
            pass
        with netns.tour() as t:
            t.visit(ns)
            bodies += 1

    for _ in interrupt_at_random(2, work):
        assert here() == home
    assert bodies > 100
