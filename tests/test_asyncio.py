"""asyncio: `async with ns.enter()`, do_async, and awaits inside a plain enter()."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import functools
import gc
import importlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import weakref
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest

import netns
from netns import _asyncio
from support import descriptors, here, link, on_a_thread, task_links


def package(name: str) -> Any:
    """One that not every environment has; tox -e asyncio does."""
    if os.environ.get("NETNS_MUST_RUN"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed")


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
    assert "async with ns.enter()" in report["message"]
    assert isinstance(report["task"], asyncio.Task)


def test_no_await_no_report(ns: netns.NetNS) -> None:
    async def innocent() -> None:
        with ns.enter():
            assert here() == f"net:[{ns.ino}]"
        await asyncio.sleep(0)
        ns.do(lambda host: None)
        await asyncio.sleep(0)

    assert run(innocent, debug=True) == []


def test_enter_does_not_wait_for_an_import_of_asyncio(ns: netns.NetNS) -> None:
    """Nor ask what another thread has not imported yet."""
    script = """
import sys, types, threading, _frozen_importlib
import netns
name = "asyncio.events"
module = types.ModuleType(name)
module.__spec__ = types.SimpleNamespace(_initializing=True)
sys.modules[name] = module
locked, done = threading.Event(), threading.Event()
def importing():
    with _frozen_importlib._ModuleLockManager(name):
        locked.set()
        assert done.wait(100)
thread = threading.Thread(target=importing)
thread.start()
assert locked.wait(30)
with netns.new() as ns, ns.enter() as host:
    print(host != netns.current())
done.set()
thread.join()
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


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


# async with ns.enter(), and do_async


@pytest.fixture(autouse=True, scope="module")
def pool_of_libuv() -> None:
    """Its threads never end, so they begin before the leak guard looks."""
    with contextlib.suppress(ImportError):
        import uvloop

        loop = uvloop.new_event_loop()
        loop.run_until_complete(loop.getaddrinfo("localhost", 1))
        loop.close()


def under_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    uvloop = package("uvloop")
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def under_anyio(main: Coroutine[Any, Any, Any]) -> Any:
    async def wrapped() -> Any:
        return await main

    return package("anyio").run(wrapped)


def in_debug_mode(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main, debug=True)


def with_eager_tasks(main: Coroutine[Any, Any, Any]) -> Any:
    if sys.version_info < (3, 12):
        main.close()
        pytest.skip("eager tasks are Python 3.12's")
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(asyncio.eager_task_factory)
        return runner.run(main)


@pytest.fixture(
    params=[asyncio.run, in_debug_mode, with_eager_tasks, under_uvloop, under_anyio],
    ids=lambda run: run.__name__,
)
def run_main(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine in a loop; the thread is at home afterwards, and before."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        home = here()
        try:
            return request.param(main)
        finally:
            assert here() == home

    return run


Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def bystander() -> AsyncIterator[list[int]]:
    """A task that looks at each turn of the loop where the thread is."""
    home = here()
    turns = [0]

    async def look() -> None:
        while True:
            assert here() == home
            turns[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(look())
    try:
        yield turns
    finally:
        if task.done():
            task.result()
        task.cancel()


def test_each_step_runs_inside(ns: netns.NetNS, run_main: Run) -> None:
    async def body(host: netns.NetNS, /, *args: object, **kwargs: object) -> Any:
        where = [here()]
        for pause in (0, 0, 0.01):
            await asyncio.sleep(pause)
            where.append(here())
        return host.ino, set(where), args, kwargs

    async def main() -> None:
        home = here()
        async with bystander() as turns:
            ino, where, args, kwargs = await ns.do_async(body, 1, 2, self=3, fn=4)
        assert (f"net:[{ino}]", where) == (home, {link(ns)})
        assert (args, kwargs) == ((1, 2), {"self": 3, "fn": 4})
        assert turns[0] > 3
        assert here() == home

    run_main(main())


def test_interleaved_bodies(ns: netns.NetNS, run_main: Run) -> None:
    async def body(host: netns.NetNS, turns: int) -> set[str]:
        where = set()
        for _ in range(turns):
            where.add(here())
            await asyncio.sleep(0)
        return where

    async def main() -> None:
        with netns.new() as other:
            async with bystander():
                found = await asyncio.gather(
                    *(target.do_async(body, n) for n in range(1, 20) for target in (ns, other))
                )
            assert found == [{link(ns)}, {link(other)}] * 19

    run_main(main())


def test_nested(ns: netns.NetNS, run_main: Run) -> None:
    async def outer(host: netns.NetNS, other: netns.NetNS) -> None:
        await asyncio.sleep(0)
        assert await other.do_async(inner, host) == link(other)
        assert here() == link(ns)
        assert other.do(lambda host: (here(), link(host))) == (link(other), link(ns))
        assert await host.do_async(inner, host)

    async def inner(host: netns.NetNS, outermost: netns.NetNS) -> str:
        await asyncio.sleep(0)
        assert host == ns
        assert outermost.do(lambda host: here()) == link(outermost)
        await asyncio.create_task(asyncio.sleep(0))
        return here()

    async def main() -> None:
        with netns.new() as other:
            async with bystander():
                await ns.do_async(outer, other)

    run_main(main())


def test_exceptions_and_cancellation(ns: netns.NetNS, run_main: Run) -> None:
    seen: list[str] = []

    async def fail(host: netns.NetNS) -> None:
        await asyncio.sleep(0)
        raise KeyError("potato")

    async def wait(host: netns.NetNS) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(here())
            await asyncio.sleep(0)
            seen.append(here())
            raise
        finally:
            seen.append(here())

    async def main() -> None:
        with pytest.raises(KeyError, match="potato"):
            await ns.do_async(fail)
        task = asyncio.ensure_future(ns.do_async(wait))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ns.do_async(wait), 0.01)
        never_begun = asyncio.ensure_future(ns.do_async(wait))
        never_begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await never_begun

    run_main(main())
    assert set(seen) == {link(ns)}
    assert len(seen) >= 6


def test_tasks_of_the_body_run_inside(ns: netns.NetNS, run_main: Run) -> None:
    where: list[str] = []

    async def grandchild() -> None:
        await asyncio.sleep(0)
        where.append(here())

    async def child() -> None:
        where.append(here())
        await asyncio.gather(grandchild(), grandchild())
        where.append(here())

    async def body(host: netns.NetNS) -> asyncio.Task[None]:
        await asyncio.create_task(child())
        await asyncio.wait_for(child(), 5)
        return asyncio.create_task(child())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        factory = loop.get_task_factory()
        async with bystander():
            outlives = await ns.do_async(body)
            assert loop.get_task_factory() is factory
            await outlives
            await asyncio.create_task(at_home())

    async def at_home() -> None:
        assert here() == link(home)

    with netns.current() as home:
        run_main(main())
    assert where == [link(ns)] * 12


def test_task_groups_and_timeouts(ns: netns.NetNS, run_main: Run) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("task groups are Python 3.11's")

    async def child() -> str:
        await asyncio.sleep(0)
        return here()

    async def body(host: netns.NetNS) -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(), name="child") for _ in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        return [here(), *(task.result() for task in tasks)]

    async def main() -> None:
        assert await ns.do_async(body) == [link(ns)] * 4

    run_main(main())


def test_async_generators(ns: netns.NetNS, run_main: Run) -> None:
    where: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(3):
                where.append(here())
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            where.append(here())

    async def body(host: netns.NetNS) -> None:
        assert [number async for number in numbers()] == [0, 1, 2]
        async for _ in numbers():
            break  # what is left of it is cleaned up by the loop

    async def main() -> None:
        await ns.do_async(body)
        gc.collect()
        await asyncio.sleep(0.01)

    run_main(main())
    assert where == [link(ns)] * 6


def test_context_variables(ns: netns.NetNS, run_main: Run) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def body(host: netns.NetNS) -> None:
        assert variable.get() == "outside"
        variable.set("inside")
        await asyncio.sleep(0)
        assert variable.get() == "inside"

    async def main() -> None:
        variable.set("outside")
        await ns.do_async(body)
        assert variable.get() == "inside"  # as after any await

    run_main(main())


def test_default_executor_and_names(ns: netns.NetNS, run_main: Run) -> None:
    """Jobs of the body run inside; the loop's own executor has no worker born there."""
    home = here()

    async def body(host: netns.NetNS) -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, here) == link(ns)
        assert await asyncio.to_thread(here) == link(ns)
        with mock.patch("socket.getaddrinfo", side_effect=lambda *_, **__: [here()]):
            found: Any = await loop.getaddrinfo("localhost", 1)
            assert found == [link(ns)]
        with mock.patch("socket.getnameinfo", side_effect=lambda *_: (here(), "1")):
            found = await loop.getnameinfo(("127.0.0.1", 1))
            assert found == (link(ns), "1")

    async def main() -> None:
        await ns.do_async(body)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, here) == home
        assert set(task_links().values()) == {home}

    run_main(main())


LIBUV = """
import asyncio, os, netns, uvloop
ns = netns.new()

def links():
    return {os.readlink(f"/proc/self/task/{t}/ns/net") for t in os.listdir("/proc/self/task")}

async def body(host):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, "localhost", 1)

async def main():
    try:
        await ns.do_async(body)
    except OSError:
        pass

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main())
assert len(os.listdir("/proc/self/task")) > 1
assert len(links()) == 1, links()
print("at home")
"""


def test_libuvs_threads_are_not_born_inside() -> None:
    package("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", LIBUV], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "at home\n", done.stderr


def test_an_await_inside_enter_inside(ns: netns.NetNS) -> None:
    """The body is told, and so is the loop, whose step did not end where it began."""

    async def body(host: netns.NetNS, other: netns.NetNS) -> None:
        with other.enter():
            await asyncio.sleep(0)

    async def main() -> None:
        with netns.new() as other:
            async with bystander():
                with pytest.raises(netns.OrderError):
                    await ns.do_async(body, other)

    (report,) = run(main, debug=False)
    assert isinstance(report["exception"], netns.OrderError)


def test_closed(ns: netns.NetNS) -> None:
    async def body(host: netns.NetNS) -> str:
        ns.close()
        await asyncio.sleep(0)
        return here()

    async def main() -> None:
        assert await ns.do_async(body) == link(ns)
        with pytest.raises(netns.ClosedError):
            await ns.do_async(body)

    asyncio.run(main())


def test_what_is_no_coroutine_function_is_refused(ns: netns.NetNS) -> None:
    async def generator(host: netns.NetNS) -> AsyncIterator[None]:
        yield

    for fn in (lambda host: None, generator, None, netns.NetNS):
        with pytest.raises(netns.InvalidTypeError):
            ns.do_async(fn)  # type: ignore


def test_callable_objects(ns: netns.NetNS) -> None:
    class Body:
        async def __call__(self, host: netns.NetNS, *args: int) -> tuple[str, tuple[int, ...]]:
            return here(), args

    async def main() -> None:
        assert await ns.do_async(Body(), 1) == (link(ns), (1,))
        assert await ns.do_async(functools.partial(Body().__call__), 1) == (link(ns), (1,))

    asyncio.run(main())


# The way in and out


def test_async_with(ns: netns.NetNS, run_main: Run) -> None:
    """In the task itself: its name, its variables, its timeouts, before and after."""
    variable = contextvars.ContextVar("variable", default="before")

    async def main() -> None:
        home, task = here(), asyncio.current_task()
        async with bystander() as turns:
            async with ns.enter() as host:
                assert (here(), link(host)) == (link(ns), home)
                assert asyncio.current_task() is task
                variable.set("inside")
                await asyncio.sleep(0.01)
                assert here() == link(ns)
            assert here() == home  # at once, not from the next step on
            assert variable.get() == "inside"
            await asyncio.sleep(0)
            assert here() == home
            with pytest.raises(KeyError):
                async with ns.enter():
                    raise KeyError
            assert here() == home
        assert turns[0] > 2

    run_main(main())


def test_async_with_nested(ns: netns.NetNS, run_main: Run) -> None:
    async def main() -> None:
        home = here()
        with netns.new() as other:
            async with ns.enter() as host:
                async with other.enter() as inner_host:
                    assert (here(), inner_host) == (link(other), ns)
                    async with host.enter():
                        assert here() == home
                        await asyncio.sleep(0)
                        assert here() == home
                    assert here() == link(other)
                    async with other.enter():
                        await asyncio.sleep(0)
                        assert here() == link(other)
                    await asyncio.sleep(0)
                    assert here() == link(other)
                assert here() == link(ns)
                await asyncio.sleep(0)
                assert here() == link(ns)
                with other.enter():
                    assert here() == link(other)
                assert other.do(lambda _: here()) == link(other)
                assert here() == link(ns)
        assert here() == home

    run_main(main())


def test_an_exit_stack(ns: netns.NetNS, run_main: Run) -> None:
    async def main() -> None:
        home = here()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(ns.enter())
            assert here() == link(ns)
            await asyncio.sleep(0)
            assert here() == link(ns)
        assert here() == home

    run_main(main())


def test_a_guard_is_for_one_body_at_a_time(ns: netns.NetNS) -> None:
    async def main() -> None:
        home, guard = here(), ns.enter()
        for _ in range(2):
            async with guard:
                assert here() == link(ns)
                with pytest.raises(netns.OrderError):
                    await guard.__aenter__()
                with pytest.raises(netns.OrderError):
                    await asyncio.create_task(leave(guard))
                break
        assert here() == home
        with pytest.raises(netns.OrderError):
            await guard.__aexit__(None, None, None)
        with guard, pytest.raises(netns.OrderError):
            await guard.__aenter__()
        first, second = guard.__aenter__(), guard.__aenter__()
        await first
        with pytest.raises(netns.OrderError):
            await second
        await guard.__aexit__(None, None, None)
        with pytest.raises(netns.InvalidTypeError):
            async with netns.tour():  # type: ignore[attr-defined]
                pass

    async def leave(guard: netns.Guard) -> None:
        await guard.__aexit__(None, None, None)

    with contextlib.suppress(netns.OrderError):
        asyncio.run(main())
    assert {here()} == set(task_links().values())


def test_one_descriptor_for_a_thousand_tasks(ns: netns.NetNS) -> None:
    """And none when they are done; the handle may be closed meanwhile."""
    name = f"net:[{ns.ino}]"

    async def body(host: netns.NetNS, ready: asyncio.Event) -> str:
        await ready.wait()
        return here()

    async def main() -> None:
        ready = asyncio.Event()
        with netns.from_fd(ns.fileno()) as again:
            tasks = [
                asyncio.ensure_future(handle.do_async(body, ready))
                for handle in (ns, again)
                for _ in range(500)
            ]
            await asyncio.sleep(0.01)
        assert descriptors()[name] == 2
        ns.close()
        assert descriptors()[name] == 1
        ready.set()
        assert set(await asyncio.gather(*tasks)) == {name}
        del tasks
        await until(lambda: descriptors()[name] == 0)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_nothing_is_kept_without_the_collector() -> None:
    """Tasks, errors, timeouts that were not needed, generators: each in its namespace."""

    async def child() -> None:
        await asyncio.sleep(0)

    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def body(host: netns.NetNS) -> None:
        await asyncio.gather(asyncio.create_task(child()), child())
        await asyncio.wait_for(child(), 60)
        async for _ in numbers():
            pass
        async for _ in numbers():
            break
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 0)
        asyncio.get_running_loop().call_later(60, print).cancel()
        await asyncio.to_thread(here)
        raise KeyError

    async def main() -> None:
        # One that is due before all: those that were cancelled wait behind it.
        first = asyncio.get_running_loop().call_later(30, print)
        for _ in range(30):
            with netns.new() as ns, pytest.raises(KeyError):
                await ns.do_async(body)
        await until(lambda: len(_asyncio._shared) == 0)  # a thread may be about to let go
        first.cancel()

    loops = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            loops.append(weakref.ref(loop))
        del loop
        if sys.version_info >= (3, 11):  # before, asyncio's own loops are in a cycle
            assert [loop() for loop in loops] == [None, None]
    finally:
        gc.enable()


def test_cancelled_at_every_await(ns: netns.NetNS, run_main: Run) -> None:
    """Wherever it is, the clean-up of the body is inside, that of its caller at home."""
    found: list[tuple[str, str]] = []

    async def caller() -> None:
        try:
            await ns.do_async(body)
        finally:
            found.append(("caller", here()))

    async def body(host: netns.NetNS) -> None:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            found.append(("body", here()))

    async def main() -> None:
        home = here()
        for turns in range(8):
            task = asyncio.ensure_future(caller())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert here() == home
        assert set(found) == {("caller", home), ("body", link(ns))}

    run_main(main())


# What it starts


def test_tasks_by_any_maker(ns: netns.NetNS, run_main: Run) -> None:
    """Case: a constructor, a factory that the body sets, one that raises."""

    async def look() -> set[str]:
        found = {here()}
        await asyncio.sleep(0)
        return found | {here()}

    class OwnTask(asyncio.Task):  # type: ignore[type-arg]
        pass

    def own(loop: Any, coro: Any, **kwargs: Any) -> Any:
        return OwnTask(coro, loop=loop, **kwargs)

    def failing(loop: Any, coro: Any, **kwargs: Any) -> Any:
        coro.close()
        raise LookupError

    async def body(host: netns.NetNS) -> None:
        loop = asyncio.get_running_loop()
        assert await asyncio.Task(look()) == {link(ns)}
        assert await OwnTask(look()) == {link(ns)}
        assert await asyncio.tasks._PyTask(look()) == {link(ns)}  # type: ignore[attr-defined]
        before = loop.get_task_factory()
        factories = [own]
        if sys.version_info >= (3, 12):
            if "uvloop" not in type(loop).__module__:  # which may not know its arguments
                factories.append(asyncio.eager_task_factory)
            assert await asyncio.Task(look(), loop=loop, eager_start=True) == {link(ns)}
        for factory in factories:
            loop.set_task_factory(factory)
            assert await asyncio.create_task(look()) == {link(ns)}
            assert loop.get_task_factory() is factory
            assert await asyncio.create_task(look()) == {link(ns)}
            assert [*await asyncio.gather(look(), look())] == [{link(ns)}] * 2
        loop.set_task_factory(failing)
        try:
            with pytest.raises(LookupError):
                await asyncio.create_task(look())
        finally:
            loop.set_task_factory(before)
        assert here() == link(ns)

    async def main() -> None:
        home = here()
        async with bystander():
            await ns.do_async(body)
            assert await asyncio.Task(look()) == {home}

    run_main(main())


def test_an_eager_task_elsewhere(ns: netns.NetNS) -> None:
    """Its first step is in the middle of another's, which goes on where it was."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks are Python 3.12's")

    async def look(host: netns.NetNS) -> str:
        await asyncio.sleep(0)
        return here()

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        home = here()
        with netns.new() as other:
            async with ns.enter() as host:
                tasks = [asyncio.create_task(to.do_async(look)) for to in (other, ns, host)]
                assert here() == link(ns)
                assert await asyncio.gather(*tasks) == [link(other), link(ns), home]
            task = asyncio.create_task(ns.do_async(look))
            assert here() == home
            assert await task == link(ns)

    asyncio.run(main())


def test_callbacks(ns: netns.NetNS, run_main: Run) -> None:
    async def main() -> None:
        home, loop = here(), asyncio.get_running_loop()
        found: list[str] = []

        def note(*args: object) -> None:
            assert args in ((), (1, 2))
            found.append(here())

        outside = contextvars.copy_context()
        async with ns.enter():
            inside = contextvars.copy_context()
            loop.call_soon(note)
            loop.call_soon(note, 1, 2)
            loop.call_soon_threadsafe(note, 1, 2)
            loop.call_later(0.001, note, 1, 2)
            loop.call_at(loop.time() + 0.001, note)
            loop.call_later(0.001, note, context=inside)
            future = loop.create_future()
            future.add_done_callback(lambda future: note())
            loop.call_soon(future.set_result, None, context=outside)
            await until(lambda: len(found) == 7)
            loop.call_soon(lambda: None).cancel()
            for count in range(20):
                loop.call_soon(lambda *args: None, *range(count))
                loop.call_later(60, note, *range(count)).cancel()
        assert found == [link(ns)] * 7
        found.clear()
        loop.call_soon(note, 1, 2, context=inside)
        loop.call_later(0.001, note, context=inside)
        await until(lambda: len(found) == 2)
        assert found == [link(ns)] * 2
        found.clear()
        async with ns.enter():
            for schedule in (loop.call_soon, loop.call_soon_threadsafe):
                schedule(note, context=outside)
            loop.call_later(0.001, note, context=outside)
            await until(lambda: len(found) == 3)
        loop.call_soon(note)
        loop.call_later(0.001, note)
        await until(lambda: len(found) == 5)
        assert found == [home] * 5

    run_main(main())


def test_a_callback_has_its_variables(ns: netns.NetNS, run_main: Run) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    found: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ns.enter():
            variable.set("inside")
            for schedule in (loop.call_soon, functools.partial(loop.call_later, 0.001)):
                schedule(lambda: found.append(variable.get()))
            variable.set("later")
            await until(lambda: len(found) == 2)

    run_main(main())
    assert found == ["inside", "inside"]


def test_what_threads_send_back(ns: netns.NetNS, run_main: Run) -> None:
    async def look() -> str:
        await asyncio.sleep(0)
        return here()

    async def main() -> None:
        loop, home = asyncio.get_running_loop(), here()

        def send() -> tuple[str, str]:
            return here(), asyncio.run_coroutine_threadsafe(look(), loop).result(10)

        with ThreadPoolExecutor(1) as pool, ns.executor(1) as inside:
            async with ns.enter() as host:
                assert await asyncio.to_thread(send) == (link(ns), link(ns))
                assert await loop.run_in_executor(None, send) == (link(ns), link(ns))
                assert await loop.run_in_executor(pool, send) == (link(ns), link(ns))
                async with host.enter():
                    assert await loop.run_in_executor(inside, here) == link(ns)
            for executor in (None, pool):  # their threads began at home
                assert await loop.run_in_executor(executor, send) == (home, home)
            assert await asyncio.to_thread(send) == (home, home)

    run_main(main())


def test_a_loop_in_a_thread(ns: netns.NetNS, run_main: Run) -> None:
    """Home of a loop in a body's thread is the body's namespace."""

    async def look(other: netns.NetNS) -> list[str]:
        found = [here()]
        async with other.enter():
            await asyncio.sleep(0)
            found.append(here())
        await asyncio.sleep(0)
        return [*found, here(), await asyncio.to_thread(here)]

    async def main() -> None:
        with netns.new() as other:
            async with ns.enter():
                found = await asyncio.to_thread(lambda: asyncio.run(look(other)))
        assert found == [link(ns), link(other), link(ns), link(ns)]

    run_main(main())


def test_a_run_waits_for_jobs_from_inside(ns: netns.NetNS) -> None:
    """The job goes on when the loop begins to wait for it, and not before."""
    waiting = threading.Event()
    done: list[str] = []

    def job() -> None:
        assert waiting.wait(10)
        done.append(here())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        shutdown = loop.shutdown_default_executor

        async def wait(*args: Any) -> None:
            waiting.set()
            await shutdown(*args)
            assert done == [link(ns)]

        loop.shutdown_default_executor = wait  # type: ignore[method-assign]
        async with ns.enter():
            loop.run_in_executor(None, job)

    asyncio.run(main())
    assert done == [link(ns)]


def test_a_name_is_looked_up_by_its_files(name: str, run_main: Run) -> None:
    """Those in /etc/netns, without the handle's own thread or the loop's seeing them."""
    directory = Path("/etc/netns") / name
    try:
        directory.mkdir(parents=True)
    except PermissionError:
        pytest.skip("/etc/netns can't be made")
    try:
        (directory / "hosts").write_text("192.0.2.7 only-inside.test\n")

        async def main() -> None:
            loop = asyncio.get_running_loop()
            with netns.create(name) as ns:
                async with ns.enter():
                    assert await asyncio.to_thread(here) == link(ns)
                    found = await loop.getaddrinfo("only-inside.test", 80)
                    assert found[0][4] == ("192.0.2.7", 80)
                    assert (await loop.getnameinfo(("192.0.2.7", 80)))[0] == "only-inside.test"
                assert "only-inside" not in Path("/etc/hosts").read_text()
            netns.delete(name)

        run_main(main())
    finally:
        (directory / "hosts").unlink()
        directory.rmdir()
        with contextlib.suppress(OSError):
            directory.parent.rmdir()


def test_servers(ns: netns.NetNS, run_main: Run) -> None:
    """Handlers, and tasks and sockets of theirs, whoever connects."""
    found: list[str] = []

    async def child() -> None:
        await asyncio.sleep(0)
        with socket.socket() as made, netns.from_socket(made) as where:
            found.append(link(where))

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(here())
        await reader.readline()
        await asyncio.create_task(child())
        writer.write(b"done\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        loopback_up(ns)
        async with ns.enter():
            server = await asyncio.start_server(handler, "127.0.0.1", 8080)
            reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
            writer.write(b"go\n")
            assert await reader.readline() == b"done\n"
            writer.close()
        client = ns.create_connection(("127.0.0.1", 8080))  # of somebody at home
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"go\n")
        assert await reader.readline() == b"done\n"
        writer.close()
        server.close()
        await server.wait_closed()
        await until(lambda: len(found) == 4)

    run_main(main())
    assert found == [link(ns)] * 4


def test_subprocesses(ns: netns.NetNS, run_main: Run) -> None:
    """Of asyncio; and as `ip netns exec` gives them, on a thread."""

    async def exec(host: netns.NetNS, /, *args: str, **kwargs: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*args, **kwargs)

    async def main() -> None:
        child = await ns.do_async(exec, "readlink", "/proc/self/ns/net", stdout=PIPE)
        out, _ = await child.communicate()
        assert (out.decode(), child.returncode) == (link(ns) + "\n", 0)
        popen = functools.partial(ns.popen, ["ls", "/sys/class/net"], stdout=subprocess.PIPE)
        with await asyncio.to_thread(popen) as other:
            assert await asyncio.to_thread(other.stdout.read) == b"lo\n"  # type: ignore

    run_main(main())
    # before 3.12, a thread of asyncio's waits for each child, and may end a moment later
    for thread in threading.enumerate():
        if thread.name.startswith("waitpid"):
            thread.join()


def test_generators_that_are_dropped(ns: netns.NetNS, run_main: Run) -> None:
    """Cleaned up where they began: dropped elsewhere, with an error, by the loop's end."""
    found: list[tuple[str, str]] = []
    kept: list[Any] = []

    async def numbers(label: str) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            await asyncio.sleep(0)
            found.append((label, here()))

    async def main() -> None:
        home = here()
        await ns.do_async(_look_inside)  # from now on the loop follows
        at_home = numbers("home")
        await at_home.__anext__()
        async with ns.enter():
            dropped = numbers("inside")
            await dropped.__anext__()
            del at_home
            await until(lambda: len(found) == 1)
        del dropped
        await until(lambda: len(found) == 2)
        with contextlib.suppress(KeyError):
            async with ns.enter():
                async for _ in numbers("inside"):
                    raise KeyError
        gc.collect()
        await until(lambda: len(found) == 3)
        assert found == [("home", home), ("inside", link(ns)), ("inside", link(ns))]
        async with ns.enter():
            kept.append(numbers("end"))
            await kept[0].__anext__()
        kept.append(numbers("end at home"))
        await kept[1].__anext__()
        # as asyncio.run ends; it does so once
        await asyncio.get_running_loop().shutdown_asyncgens()
        assert sorted(found[3:]) == [("end", link(ns)), ("end at home", home)]

    run_main(main())


def test_generators_that_fail_at_the_end(ns: netns.NetNS) -> None:
    reports: list[dict[str, Any]] = []
    kept: list[Any] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise LookupError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context))
        async with ns.enter():
            kept.append(numbers())
            await kept[0].__anext__()

    asyncio.run(main())
    assert [type(report["exception"]) for report in reports] == [LookupError]


def test_what_a_loop_gets(ns: netns.NetNS) -> None:
    """Three attributes: 3.13 is slower with thirty. Debug mode still names who called."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = set(vars(loop))
        await ns.do_async(made_here)
        assert len(set(vars(loop)) - before) == 3
        await made_here(ns)

    async def made_here(_: netns.NetNS) -> None:
        loop = asyncio.get_running_loop()
        for handle in (
            loop.call_soon(int),
            loop.call_soon_threadsafe(int),
            loop.call_later(60, int),
            loop.call_at(loop.time() + 60, int),
        ):
            made_at: Any = handle._source_traceback  # type: ignore[attr-defined]
            assert made_at[-1].filename == __file__
            handle.cancel()

    asyncio.run(main(), debug=True)


def test_a_loop_whose_methods_call_each_other(ns: netns.NetNS) -> None:
    """As those of Qt's do: a callback is taken inside once, and leaves once."""

    class Circular(asyncio.SelectorEventLoop):
        def call_soon(  # type: ignore[override]
            self, callback: Any, *args: Any, context: Any = None
        ) -> Any:
            return self.call_later(0, callback, *args, context=context)

        def call_soon_threadsafe(  # type: ignore[override]
            self, callback: Any, *args: Any, context: Any = None
        ) -> Any:
            handle = self.call_soon(callback, *args, context=context)
            self._write_to_self()  # type: ignore[attr-defined]
            return handle

    async def main() -> None:
        home = here()
        async with ns.enter():
            assert await asyncio.to_thread(here) == link(ns)
            assert await _look_inside(ns) == link(ns)
        assert here() == home
        assert await _look_inside(ns) == home

    loop = Circular()
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_what_is_watched_for(ns: netns.NetNS, run_main: Run) -> None:
    """The callback is at home, as its loop calls it; what it starts is inside."""

    async def main() -> None:
        home, loop = here(), asyncio.get_running_loop()
        found: asyncio.Queue[tuple[str, asyncio.Task[str]]] = asyncio.Queue()

        def note() -> None:
            found.put_nowait((here(), loop.create_task(_look_inside(ns))))

        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            async with ns.enter():
                loop.add_signal_handler(signal.SIGUSR1, note)
                os.kill(os.getpid(), signal.SIGUSR1)
                where = [await found.get()]
                loop.remove_signal_handler(signal.SIGUSR1)
                loop.add_writer(writer, note)
                where.append(await found.get())
                loop.remove_writer(writer)
                loop.add_reader(reader, note)
                writer.send(b"x")
                where.append(await found.get())
                loop.remove_reader(reader)
                while not found.empty():
                    where.append(found.get_nowait())
                assert {place for place, _ in where} == {home}
                assert {await task for _, task in where} == {link(ns)}

    run_main(main())


def test_a_test_case_that_is_inside(ns: netns.NetNS) -> None:
    """Set up, run and torn down in one context, by several runs of one loop."""
    found: list[str] = []

    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            self.guard = ns.enter()
            await self.guard.__aenter__()

        async def test_first(self) -> None:
            found.append(await _look_inside(ns))

        async def test_second(self) -> None:
            found.append(await _look_inside(ns))

        async def asyncTearDown(self) -> None:
            found.append(here())
            await self.guard.__aexit__(None, None, None)
            found.append(here())

    home = here()
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert result.errors + result.failures == []
    assert found == [link(ns), link(ns), home] * 2


# What can't be


def test_other_loops_are_refused(ns: netns.NetNS) -> None:
    """Before anything runs."""

    async def body(host: netns.NetNS) -> None:
        raise AssertionError

    async def enter() -> None:
        async with ns.enter():
            raise AssertionError

    class Fixed(asyncio.SelectorEventLoop):
        def __setattr__(self, name: str, value: object) -> None:
            if name.startswith("call_"):
                raise AttributeError(name)
            super().__setattr__(name, value)

    ways: list[Callable[[], Coroutine[Any, Any, None]]] = [lambda: ns.do_async(body), enter]
    for begin in ways:
        with pytest.raises(netns.InvalidTypeError, match="asyncio"):
            begin().send(None)
        loop = Fixed()
        with pytest.raises(netns.InvalidTypeError, match="Fixed"):
            loop.run_until_complete(begin())
        loop.close()


def test_no_task(ns: netns.NetNS) -> None:
    """A callback that drives a coroutine itself has nobody to go on with it."""

    async def main() -> None:
        failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def drive() -> None:
            try:
                ns.do_async(body).send(None)
            except BaseException as error:
                failed.set_result(error)

        asyncio.get_running_loop().call_soon(drive)
        assert isinstance(await failed, netns.InvalidTypeError)

    async def body(host: netns.NetNS) -> None:
        raise AssertionError

    asyncio.run(main())


def test_not_permitted(ns: netns.NetNS) -> None:
    """It is the task that hears of it."""
    refused = netns.NotPermittedError(1, "enter the namespace")

    async def main() -> None:
        home = here()
        with mock.patch("netns._asyncio.guard", side_effect=refused):
            try:
                async with ns.enter():
                    raise AssertionError
            except netns.NotPermittedError as error:
                heard.append(error)
        assert heard == [refused]
        assert here() == home
        await asyncio.sleep(0)
        assert here() == home

    heard: list[netns.NotPermittedError] = []
    asyncio.run(main())


def test_left_in_another_context(ns: netns.NetNS) -> None:
    async def main() -> None:
        guard = ns.enter()
        await guard.__aenter__()
        with pytest.raises(netns.OrderError):
            await asyncio.create_task(leave(guard))
        assert here() == link(ns)

    async def leave(guard: netns.Guard) -> None:
        await guard.__aexit__(None, None, None)

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_closed_with_tasks_pending(ns: netns.NetNS) -> None:
    """The collector closes them while another task is inside, which stays there."""
    stuck: list[Any] = []

    async def body(host: netns.NetNS) -> None:
        stuck.append(asyncio.current_task())
        await asyncio.get_running_loop().create_future()

    async def drop(host: netns.NetNS) -> str:
        stuck.clear()
        gc.collect()
        assert here() == link(ns)
        await asyncio.sleep(0)
        return here()

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    tasks = [loop.create_task(ns.do_async(body)) for _ in range(10)]
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert len(stuck) == 10
    del tasks, loop
    assert asyncio.run(ns.do_async(drop)) == link(ns)


# Interrupts


class Interrupts:
    """Raises KeyboardInterrupt at the nth bytecode of the library's own Python steps."""

    def __init__(self) -> None:
        self.left = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != _asyncio.__file__:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.at_opcode

    def at_opcode(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                raise KeyboardInterrupt(self.where)
        return self.at_opcode


# Of hooks and callbacks of weak references the interpreter reports an interrupt, no more;
# and a coroutine may have been made that was not begun.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="3.9 may call a handler before __exit__ has begun"
)
def test_interrupted_at_every_bytecode(ns: netns.NetNS) -> None:
    """Clean-up is inside, the caller's at home, the loop and what it ran before go on."""
    found: list[tuple[str, str]] = []
    home = here()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            found.append(("inside", here()))

    async def body(host: netns.NetNS) -> None:
        try:
            async for _ in numbers():
                break
            await asyncio.get_running_loop().run_in_executor(pool, here)
            await asyncio.sleep(0)
        finally:
            found.append(("inside", here()))

    async def caller() -> None:
        try:
            await ns.do_async(body)
        finally:
            found.append(("home", here()))

    async def look() -> str:
        return here()

    interrupts = Interrupts()
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    places: set[str] = set()
    before = sys.gettrace()
    try:
        for nth in range(5000):  # at the 0th there is none
            # An exception unsets it, and 3.13 misses the bytecodes of each function's
            # first run with it.
            sys.settrace(interrupts)
            interrupts.left = 0
            asyncio.run(caller())
            found.clear()
            loop = asyncio.new_event_loop()
            interrupts.left = nth
            with contextlib.suppress(KeyboardInterrupt):
                loop.run_until_complete(caller())
            left, interrupts.left = interrupts.left, 0
            assert here() == home
            assert loop.run_until_complete(look()) == home
            # What the interrupt has left of the loop still serves.
            assert loop.run_until_complete(ns.do_async(_look_inside)) == link(ns)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            for expected, where in found:
                assert where == (home if expected == "home" else link(ns)), interrupts.where
            found.clear()
            if left > 0:
                break
            places.add(interrupts.where.split(":")[0])
        else:
            pytest.fail("it never ran to its end")
    finally:
        sys.settrace(before)
    pool.shutdown()
    assert nth > 300
    assert places >= {"run", "begin", "_follow", "_duplicate", "_run_in_executor"}, places


async def _look_inside(host: netns.NetNS) -> str:
    await asyncio.sleep(0)
    return here()


def test_interrupted_at_random(ns: netns.NetNS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where asyncio's own code loses a task's step, as of any task, that is not counted."""
    # pytest's own hook is written in Python, so that the next interrupt may fall into it.
    monkeypatch.setattr(sys, "unraisablehook", collections.deque[object](maxlen=0).append)
    found: list[str] = []
    home = here()
    outcomes: set[str] = set()
    where = ""

    async def body(host: netns.NetNS) -> None:
        try:
            for _ in range(300):
                await asyncio.sleep(0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            found.append(here())

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal where
        where = ""
        while frame:
            code = frame.f_code
            if code.co_filename in (__file__, _asyncio.__file__) and code.co_name in ours:
                where = code.co_name
                break
            frame = frame.f_back
        raise KeyboardInterrupt

    async def look() -> str:
        return here()

    chance = random.Random(1)
    ours = ("body", "run", "begin")
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(300):
            loop = asyncio.new_event_loop()
            found.clear()
            where = "?"
            task = loop.create_task(ns.do_async(body))
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 4e-3))
                loop.run_until_complete(task)
            except KeyboardInterrupt:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert here() == home
            asyncio.events._set_running_loop(None)
            loop._thread_id = None  # type: ignore[attr-defined]
            if where == "body":
                # In a coroutine's own step, or in asyncio's call_soon() below it.
                outcomes.add(found[0] if found else "pending")
                assert found in ([], [link(ns)])
            assert loop.run_until_complete(look()) == home
            if found != [] or where != "body":
                task.cancel()
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            del task
    finally:
        signal.signal(signal.SIGALRM, old)
    assert link(ns) in outcomes


def test_ctrl_c_under_asyncio_run(ns: netns.NetNS) -> None:
    """Case: what a body's `finally` would take down is inside, also at the second one."""
    script = """
import asyncio, netns, os, signal
here = lambda: os.readlink("/proc/thread-self/ns/net")
home = here()
def interrupt(): os.kill(os.getpid(), signal.SIGINT)
async def body(host):
    try:
        asyncio.get_running_loop().call_soon(interrupt)
        await asyncio.sleep(60)
    finally:
        print(here() == f"net:[{ns.ino}]", flush=True)
        await asyncio.sleep(0)
        print(here() == f"net:[{ns.ino}]", flush=True)
async def main():
    try:
        await ns.do_async(body)
    finally:
        print(here() == home)
with netns.new() as ns:
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted", here() == home)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["True", "True", "True", "interrupted", "True"], done.stderr


# What others build on asyncio; `tox -e asyncio` has them all


def test_anyio(ns: netns.NetNS, run_main: Run) -> None:
    """Its task groups and cancel scopes, also where tasks are eager."""
    anyio = package("anyio")

    async def body(host: netns.NetNS) -> list[object]:
        found: list[object] = []

        async def work() -> None:
            with anyio.move_on_after(0.01) as scope:
                await anyio.sleep(5)
            found.append((here(), scope.cancelled_caught))

        async def started(*, task_status: Any) -> None:
            task_status.started(here())
            await anyio.sleep(0)

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            group.start_soon(work)
            found.append(await group.start(started))
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 5)
            await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        return found

    async def main() -> None:
        assert await ns.do_async(body) == [link(ns), (link(ns), True), (link(ns), True)]

    run_main(main())


def test_trio_is_refused(ns: netns.NetNS) -> None:
    trio = package("trio")

    async def body(host: netns.NetNS) -> None:
        raise AssertionError

    async def main() -> None:
        with pytest.raises(netns.InvalidTypeError, match="trio"):
            await ns.do_async(body)
        with pytest.raises(netns.InvalidTypeError, match="trio"):
            async with ns.enter():
                raise AssertionError
        await trio.sleep(0)

    home = here()
    trio.run(main)
    assert here() == home


def test_asgiref(ns: netns.NetNS) -> None:
    """A synchronous view of Django that calls asynchronous code."""
    sync = package("asgiref.sync")

    async def look() -> str:
        await asyncio.sleep(0)
        return here()

    def view() -> list[Any]:
        return [here(), sync.async_to_sync(look)()]

    async def main() -> None:
        home = here()
        async with ns.enter():
            assert await sync.sync_to_async(view)() == [link(ns)] * 2
            assert await sync.sync_to_async(view, thread_sensitive=False)() == [link(ns)] * 2
        assert await sync.sync_to_async(view)() == [home] * 2

    asyncio.run(main())
    sync.SyncToAsync.single_thread_executor.shutdown()
    sync.SyncToAsync.single_thread_executor = ThreadPoolExecutor(1)


def test_sentry(ns: netns.NetNS) -> None:
    """It replaces the task factory by one of its own in the middle of things."""
    package("sentry_sdk")
    from sentry_sdk.integrations.asyncio import patch_asyncio

    async def look() -> str:
        await asyncio.sleep(0)
        return here()

    async def body(host: netns.NetNS) -> list[str]:
        patch_asyncio()
        assert asyncio.get_running_loop().get_task_factory() is not None
        return [*await asyncio.gather(look(), asyncio.create_task(look()))]

    async def main() -> None:
        home = here()
        assert await ns.do_async(body) == [link(ns)] * 2
        assert await asyncio.create_task(look()) == home

    asyncio.run(main())


def test_aiohttp(ns: netns.NetNS, run_main: Run) -> None:
    """A server and a client inside; a trace that awaits, which aiohttp runs in tasks."""
    aiohttp = package("aiohttp")
    from aiohttp import web

    found: list[str] = []

    async def trace(*args: object) -> None:
        found.append(here())
        await asyncio.sleep(0)
        found.append(here())

    async def handler(request: Any) -> Any:
        await asyncio.sleep(0)
        return web.Response(text=here())

    async def main() -> None:
        loopback_up(ns)
        async with bystander() as turns:
            async with ns.enter():
                application = web.Application()
                application.router.add_get("/", handler)
                runner = web.AppRunner(application)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", 8080).start()
                config = aiohttp.TraceConfig()
                config.on_request_start.append(trace)
                config.on_connection_create_start.append(trace)
                config.on_connection_create_end.append(trace)
                config.on_dns_resolvehost_start.append(trace)
                config.on_request_end.append(trace)
                async with aiohttp.ClientSession(trace_configs=[config]) as session:
                    for host in ("127.0.0.1", "localhost"):
                        async with session.get(f"http://{host}:8080/") as response:
                            assert await response.text() == link(ns)
                await runner.cleanup()
            assert turns[0] > 10

    run_main(main())
    assert len(found) >= 16
    assert set(found) == {link(ns)}


def test_httpx(ns: netns.NetNS, run_main: Run) -> None:
    httpx = package("httpx")

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = here().encode()
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(text) + text)
        await writer.drain()
        writer.close()

    async def main() -> None:
        loopback_up(ns)
        async with ns.enter():
            server = await asyncio.start_server(handler, "127.0.0.1", 8080)
            async with httpx.AsyncClient(trust_env=False) as client:
                answers = await asyncio.gather(
                    *(client.get(f"http://{name}:8080/") for name in ("127.0.0.1", "localhost"))
                )
            server.close()
            await server.wait_closed()
        assert [answer.text for answer in answers] == [link(ns)] * 2

    run_main(main())


def test_a_thousand_requests_beside_a_bystander(ns: netns.NetNS, run_main: Run) -> None:
    """Connections in two namespaces at once, of the same address."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(here().encode() + b"\n")
            await writer.drain()
        writer.close()

    async def client(host: netns.NetNS, requests: int) -> set[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
        found = set()
        for _ in range(requests):
            writer.write(b"where\n")
            found.add((await reader.readline()).decode().strip())
        writer.close()
        await writer.wait_closed()
        return found

    async def serve(host: netns.NetNS) -> asyncio.AbstractServer:
        return await asyncio.start_server(handler, "127.0.0.1", 8080)

    async def main() -> None:
        with netns.new() as other:
            for each in (ns, other):
                loopback_up(each)
            servers = [await each.do_async(serve) for each in (ns, other)]
            async with bystander() as turns:
                found = await asyncio.gather(
                    *(each.do_async(client, 50) for each in (ns, other) * 10)
                )
            assert found == [{link(ns)}, {link(other)}] * 10
            assert turns[0] > 50
            for server in servers:
                server.close()
                await server.wait_closed()

    run_main(main())


def test_a_worker_is_born_where_the_loop_is_by_then(ns: netns.NetNS) -> None:
    found = []

    async def main(home: netns.NetNS) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        moved = asyncio.Event()

        async def inside() -> None:
            async with ns.enter():
                await moved.wait()
                found.append(await loop.run_in_executor(None, here))

        task = loop.create_task(inside())
        await asyncio.sleep(0)
        home.set()
        moved.set()
        await task
        found.append(await loop.run_in_executor(None, here))

    with netns.new() as home:
        on_a_thread(lambda: asyncio.run(main(home)))
        assert found == [link(ns), link(home)]


def test_an_interrupt_while_a_loop_goes_keeps_no_descriptor(
    ns: netns.NetNS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython drops what a callback of a weak reference raises, and with it the callback."""
    before, dropped = descriptors(), []

    def interrupt(frame: FrameType, event: str, arg: object) -> None:
        if "weakref" in frame.f_code.co_filename and "remove" in frame.f_code.co_name:
            raise KeyboardInterrupt

    def work() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ns.do_async(nothing))
        loop.close()
        sys.settrace(interrupt)
        try:
            del loop
            gc.collect()
        finally:
            sys.settrace(None)

    async def nothing(host: netns.NetNS) -> None: ...

    monkeypatch.setattr(sys, "unraisablehook", lambda what: dropped.append(what.exc_type))
    on_a_thread(work)
    assert dropped == [KeyboardInterrupt]
    assert descriptors() == before


def loopback_up(ns: netns.NetNS) -> None:
    """By an ioctl, as there is no iproute2 to count on."""
    import fcntl
    import struct

    with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS
