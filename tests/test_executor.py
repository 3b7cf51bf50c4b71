"""executor: its workers are inside, wherever they are started from, and no other thread is."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import netns
from support import here


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


def test_jobs_run_inside(ns: netns.NetNS) -> None:
    home = here()
    with ns.executor(2, "inside") as pool:
        assert isinstance(pool, ThreadPoolExecutor)
        assert pool.submit(here).result() == link(ns)
        assert pool.submit(threading.current_thread).result().name.startswith("inside")
    assert here() == home


def closed_at(step: int) -> bool:
    """Closes the handle at that step of executor(), and has its descriptor used again.

    False where there are fewer steps.
    """
    with contextlib.ExitStack() as stack:
        ns = stack.enter_context(netns.new())
        inside = link(ns)
        steps = itertools.count()

        def close(*event: object) -> None:
            if next(steps) == step:
                sys.setprofile(None)
                ns.close()
                stack.enter_context(netns.new())

        sys.setprofile(close)
        try:
            pool = ns.executor(1)
        except netns.ClosedError:
            return True
        finally:
            sys.setprofile(None)
        with pool:
            assert pool.submit(here).result() == inside
        return ns.closed


def test_the_handle_closed_at_any_step() -> None:
    """As another thread may do it, whose next descriptor gets the handle's number."""
    home = here()
    assert sum(1 for _ in itertools.takewhile(closed_at, itertools.count())) > 5
    assert here() == home


def test_workers_started_from_anywhere(ns: netns.NetNS) -> None:
    """Each submission starts another worker, from the submitter's namespace."""
    with netns.new() as other, ns.executor(3) as pool:
        barrier = threading.Barrier(3)

        def look() -> tuple[int, str]:
            barrier.wait(30)
            return threading.get_ident(), here()

        jobs = [pool.submit(look)]
        jobs.append(other.do(lambda host: pool.submit(look)))
        jobs.append(ns.do(lambda host: pool.submit(look)))
        found = dict(job.result() for job in jobs)
        assert list(found.values()) == [link(ns)] * 3


def test_the_handle_may_be_closed_first() -> None:
    with netns.new() as ns:
        pool = ns.executor(1)
    with pool:
        assert pool.submit(here).result() == link(ns)
    with pytest.raises(netns.ClosedError):
        ns.executor()


def test_shut_down_without_waiting(ns: netns.NetNS) -> None:
    pool = ns.executor(1)
    job = pool.submit(here)
    pool.shutdown(wait=False)
    assert job.result() == link(ns)
    for thread in pool._threads:
        thread.join()


def test_initializer(ns: netns.NetNS) -> None:
    seen: list[object] = []
    with ns.executor(1, initializer=lambda x: seen.extend((x, here())), initargs=(1,)) as pool:
        pool.submit(here).result()
    assert seen == [1, link(ns)]


def test_in_an_event_loop(ns: netns.NetNS) -> None:
    async def main() -> str:
        with ns.executor(1) as pool:
            return await asyncio.get_running_loop().run_in_executor(pool, here)

    assert asyncio.run(main()) == link(ns)


def test_the_default_executor_stays_where_it_was_first_used(ns: netns.NetNS) -> None:
    """The loop's default executor, first used inside, runs everybody's jobs there.

    ns.executor() is there to avoid that.
    """

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        # Of one thread: a larger one may start another before the first is idle.
        loop.set_default_executor(ThreadPoolExecutor(1))
        with ns.enter():
            job = loop.run_in_executor(None, here)
        return [await job, await loop.run_in_executor(None, here)]

    assert asyncio.run(main()) == [link(ns)] * 2


def test_do_async_does_not_move_the_default_executor(ns: netns.NetNS) -> None:
    home = here()

    async def body(host: netns.NetNS) -> list[str]:
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(None, here), await asyncio.to_thread(here)]

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        inside = await ns.do_async(body)
        return [*inside, await loop.run_in_executor(None, here)]

    assert asyncio.run(main()) == [link(ns), link(ns), home]
