"""asyncio: an await inside enter() is reported in debug mode; plain use is not."""

from __future__ import annotations

import asyncio
from typing import Any

import netns
from support import here


def run(main: Any, debug: bool) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []

    async def wrapped() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        await main()
        await asyncio.sleep(0)

    asyncio.run(wrapped(), debug=debug)
    return reports


def test_an_await_inside_is_reported(ns: netns.NetNS) -> None:
    async def offender() -> None:
        with ns.enter():
            await asyncio.sleep(0)  # this line

    (report,) = run(offender, debug=True)
    assert "await inside NetNS.enter()" in report["message"]
    with open(__file__) as source:
        line = 1 + source.read().splitlines().index(
            "            await asyncio.sleep(0)  # this line"
        )
    assert f"{__file__}:{line}, in offender()" in report["message"]
    assert isinstance(report["task"], asyncio.Task)


def test_no_await_no_report(ns: netns.NetNS) -> None:
    async def innocent() -> None:
        with ns.enter():
            assert here() == f"net:[{ns.ino}]"
        await asyncio.sleep(0)
        ns.do(lambda host: None)
        await asyncio.sleep(0)

    assert run(innocent, debug=True) == []


def test_nothing_is_watched_outside_debug_mode(ns: netns.NetNS) -> None:
    async def offender() -> None:
        with ns.enter():
            await asyncio.sleep(0)

    assert run(offender, debug=False) == []


def test_interleaved_tasks(ns: netns.NetNS) -> None:
    """Guards of two tasks that cross each other: both are told, the loop is home."""
    home = here()
    caught: list[netns.OrderError] = []

    async def visit(target: netns.NetNS, turns: int) -> None:
        try:
            with target.enter():
                for _ in range(turns):
                    await asyncio.sleep(0)
        except netns.OrderError as error:
            caught.append(error)

    async def main() -> None:
        with netns.new() as other:
            await asyncio.gather(visit(ns, 2), visit(other, 4))
        assert here() == home

    asyncio.run(main())
    assert len(caught) == 2
