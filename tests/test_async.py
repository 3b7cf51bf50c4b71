"""asyncio: do_async, and awaits inside enter(), which debug mode reports."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import netns
from support import here, task_links


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


# do_async


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


@pytest.fixture(autouse=True, scope="module")
def pool_of_libuv() -> None:
    """Its threads never end, so they begin before the leak guard looks."""
    with contextlib.suppress(ImportError):
        import uvloop

        loop = uvloop.new_event_loop()
        loop.run_until_complete(loop.getaddrinfo("localhost", 1))
        loop.close()


def under_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def under_anyio(main: Coroutine[Any, Any, Any]) -> Any:
    async def wrapped() -> Any:
        return await main

    return pytest.importorskip("anyio").run(wrapped)


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
            assert not {"run_in_executor", "getaddrinfo"} & {*vars(loop)}
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
        # The body's own executor goes with it.
        for _ in range(500):
            if set(task_links().values()) == {home}:
                break
            await asyncio.sleep(0.01)
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
    pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", LIBUV], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "at home\n", done.stderr


def test_an_await_inside_enter_inside(ns: netns.NetNS) -> None:
    async def body(host: netns.NetNS, other: netns.NetNS) -> None:
        with other.enter():
            await asyncio.sleep(0)

    async def main() -> None:
        with netns.new() as other:
            async with bystander():
                with pytest.raises(netns.OrderError):
                    await ns.do_async(body, other)

    asyncio.run(main())


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


def test_a_dropped_coroutine_cleans_up_inside(ns: netns.NetNS) -> None:
    home = here()
    seen: list[str] = []

    async def body(host: netns.NetNS) -> None:
        try:
            await Once()
        finally:
            seen.append(here())

    class Once:
        def __await__(self) -> Generator[None, None, None]:
            yield

    running = ns.do_async(body)
    running.send(None)
    assert here() == home
    del running
    assert seen == [link(ns)]
    assert here() == home


def test_steps_within_steps(ns: netns.NetNS) -> None:
    """As eager tasks begin them; what the loop does of its own comes back each time."""

    async def look() -> str:
        await asyncio.sleep(0)
        return here()

    async def body(host: netns.NetNS, *others: netns.NetNS) -> list[asyncio.Future[str]]:
        loop = asyncio.get_running_loop()
        found: list[asyncio.Future[str]] = [asyncio.create_task(look())]
        if others:
            try:
                others[0].do_async(body, *others[1:]).send(None)
            except StopIteration as end:  # its first step is its last
                found += end.value
        return [*found, asyncio.create_task(look()), loop.run_in_executor(None, here)]

    async def look_up(*args: object, **kwargs: object) -> list[Any]:
        return ["looked up by the user's own"]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = look_up  # type: ignore[method-assign]
        factory = loop.get_task_factory()
        with netns.new() as other:
            found = await asyncio.gather(*await ns.do_async(body, other, ns))
            there = [link(ns), link(other), link(ns)]
            assert found == there + [link(ns)] * 2 + [link(other)] * 2 + [link(ns)] * 2
        assert loop.getaddrinfo == look_up
        assert loop.get_task_factory() is factory
        assert await loop.run_in_executor(None, here) == here()

    asyncio.run(main())


# create_subprocess_exec

LOOK = 'readlink /proc/self/ns/net; read line; echo "$line" >&2; exit 3'


def begun_here() -> list[str]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread ended
            found += (task / "children").read_text().split()
    return found


async def talk(child: asyncio.subprocess.Process, input: bytes | None = None) -> Any:
    return await child.communicate(input)
