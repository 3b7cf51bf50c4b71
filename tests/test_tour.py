"""tour: it moves straight from one namespace to the next, and home at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import netns
from support import descriptors, here, interrupt_at_random


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


@pytest.fixture
def many() -> Iterator[list[netns.NetNS]]:
    made = [netns.new() for _ in range(5)]
    yield made
    for ns in made:
        ns.close()


def test_visits(many: list[netns.NetNS]) -> None:
    home = here()
    with netns.tour() as t:
        assert here() == home
        for ns in many * 2:
            t.visit(ns)
            assert here() == link(ns)
        t.visit(many[-1])
        assert here() == link(many[-1])
    assert here() == home


def test_home_whatever_the_body_raises(many: list[netns.NetNS]) -> None:
    home = here()
    for error in (ValueError(), KeyboardInterrupt(), SystemExit(1)):
        caught = None
        try:
            with netns.tour() as t:
                t.visit(many[0])
                raise error
        except BaseException as raised:
            caught = raised
        assert caught is error
        assert here() == home


def test_in_a_body_and_around_bodies(many: list[netns.NetNS]) -> None:
    home = here()
    first, second, third, *_ = many
    with first.enter():
        with netns.tour() as t:
            t.visit(second)
            assert third.do(lambda host: (here(), link(host))) == (link(third), link(second))
            assert here() == link(second)
            t.visit(third)
            assert second.do(lambda host: link(host)) == link(third)
            with netns.tour() as inner:
                inner.visit(first)
            assert here() == link(third)
        assert here() == link(first)
    assert here() == home


def test_a_namespace_left_behind_is_not_kept(many: list[netns.NetNS]) -> None:
    """A namespace that the tour has left may end while the tour goes on."""
    with netns.tour() as t:
        before = descriptors()
        with netns.new() as gone:
            t.visit(gone)
            many[0].do(lambda host: None)
        t.visit(many[1])
        assert descriptors() == before


def test_refused_visits(many: list[netns.NetNS]) -> None:
    home = here()
    first, second, *_ = many
    with netns.new() as closed:
        pass
    with netns.tour() as t:
        t.visit(first)
        with pytest.raises(netns.ClosedError):
            t.visit(closed)
        with pytest.raises(netns.InvalidTypeError):
            t.visit("blue")  # type: ignore[arg-type]
        with second.enter(), pytest.raises(netns.OrderError):
            t.visit(first)
        assert here() == link(first)
    with pytest.raises(netns.OrderError):
        t.visit(first)
    assert here() == home


def test_another_threads_tour(many: list[netns.NetNS]) -> None:
    home = here()
    seen: list[object] = []

    def intrude(t: Any) -> None:
        try:
            t.visit(many[1])
        except netns.OrderError:
            seen.append(here())

    with netns.tour() as t:
        t.visit(many[0])
        thread = threading.Thread(target=intrude, args=(t,))
        thread.start()
        thread.join()
        assert here() == link(many[0])
    # The thread was started from inside, and was not moved.
    assert seen == [link(many[0])]
    assert here() == home


def test_tours_that_cross(many: list[netns.NetNS]) -> None:
    home = here()
    guards = [netns.tour(), netns.tour()]
    for guard, ns in zip(guards, many):
        guard.__enter__().visit(ns)
    with pytest.raises(netns.OrderError):
        guards[0].__exit__(None, None, None)
    assert here() == home
    with pytest.raises(netns.OrderError):
        guards[1].__exit__(None, None, None)
    assert here() == home


def test_a_dropped_tour_ends(many: list[netns.NetNS]) -> None:
    home = here()
    guard = netns.tour()
    t = guard.__enter__()
    t.visit(many[0])
    assert here() == link(many[0])
    del guard
    assert here() == home


def test_interrupted_anywhere(many: list[netns.NetNS]) -> None:
    home = here()
    visits = 0

    def work() -> None:
        nonlocal visits
        with netns.tour() as t:
            for ns in many:
                t.visit(ns)
                visits += 1

    for _ in interrupt_at_random(1, work):
        assert here() == home
    assert visits > 100


def test_an_await_inside_is_reported(many: list[netns.NetNS]) -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        with netns.tour() as t:
            t.visit(many[0])
            await asyncio.sleep(0)

    asyncio.run(main(), debug=True)
    (report,) = reports
    assert "await inside" in report["message"]
    assert __file__ in report["message"]
