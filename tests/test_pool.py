"""pool: it makes namespaces ahead, hands them over at once, and leaves none behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from statistics import median

import pytest

import netns
from support import Capabilities, descriptors, ends, here, interrupt_at_random, task_links


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def await_ready(count: int, before: Counter[str]) -> None:
    """Waits until so many more descriptors are open than before: no event tells."""
    while sum((descriptors() - before).values()) < count:
        os.sched_yield()


def test_take() -> None:
    """It gives more than it holds ready, each another one; the caller closes them."""
    home = here()
    with netns.pool(2) as pool:
        taken = [pool.take() for _ in range(5)]
    assert here() == home
    assert len({ns.ino for ns in taken}) == 5
    for ns in taken:
        assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
        ns.close()


def test_nothing_is_left() -> None:
    before = set(task_links()), fds()
    with netns.pool(4) as pool:
        pool.take().close()
        (maker,) = set(task_links()) - before[0]
    assert ends(maker)
    assert (set(task_links()), fds()) == before


def test_many_takers() -> None:
    with netns.pool(3) as pool, ThreadPoolExecutor(8) as takers:
        taken = list(takers.map(lambda _: pool.take(), range(40)))
    assert len({ns.ino for ns in taken}) == 40
    for ns in taken:
        ns.close()


def test_outside_the_block() -> None:
    pool = netns.pool(1)
    with pytest.raises(netns.ClosedError):
        pool.take()
    with pool:
        pool.take().close()
        with pytest.raises(netns.OrderError):
            pool.__enter__()
    with pytest.raises(netns.ClosedError):
        pool.take()
    with pytest.raises(netns.OrderError), pool:
        pass


def test_sizes() -> None:
    with pytest.raises(netns.InvalidTypeError):
        netns.pool("1")  # type: ignore[arg-type]
    with pytest.raises(netns.InvalidValueError):
        netns.pool(0)


def test_waiting_takers_learn_of_the_end() -> None:
    ended: list[BaseException] = []

    def wait(took: threading.Event) -> None:
        try:
            while True:
                pool.take().close()
                took.set()
        except netns.ClosedError as error:
            ended.append(error)

    pool = netns.pool(1)
    events = [threading.Event() for _ in range(3)]
    threads = [threading.Thread(target=wait, args=(took,), daemon=True) for took in events]
    with pool:
        for thread in threads:
            thread.start()
        for took in events:  # all but the last one wait again
            assert took.wait(30)
    for thread in threads:
        thread.join(30)
    assert len(ended) == 3


def test_an_error_of_the_maker_reaches_the_taker() -> None:
    """Each take() has the maker try again. It has the rights of the thread that entered."""
    with Capabilities(), netns.pool(2) as pool:
        for _ in range(3):
            with pytest.raises(netns.NotPermittedError) as caught:
                pool.take()
            assert caught.value.step == "make a namespace"


def test_no_thread_for_a_maker() -> None:
    """__enter__() raises, and there is nothing to leave."""
    script = """
import netns, resource, threading
netns.new().close()
pool = netns.pool(2)
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (1 << 20, before[1]))
try:
    pool.__enter__()
except RuntimeError as error:
    refused = error
resource.setrlimit(resource.RLIMIT_AS, before)
print(refused)
try:
    pool.take()
except netns.ClosedError:
    print("closed")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "can't start new thread\nclosed\n", done.stderr


def test_entered_within_a_body(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS) -> None:
        before = descriptors()
        with netns.pool(1) as pool:
            inside = here()
            with pool.take() as made:
                assert made.ino not in (ns.ino, host.ino)
            assert f"net:[{ns.ino}]" == inside
            await_ready(1, before)  # the next one is made
            while list(task_links().values()).count(inside) < 2:
                os.sched_yield()  # until the maker is back where it was started

    ns.do(body)


def test_in_a_forks_child() -> None:
    with netns.pool(1) as pool:
        pool.take().close()
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            try:
                pool.take()
            except netns.OrderError:
                pool.__exit__()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0


def test_faster_than_making_one() -> None:
    """take() costs the taker a fifth of new(), or less."""
    made, taken = [], []
    before = descriptors()
    with netns.pool(30) as pool:
        await_ready(30, before)
        for _ in range(25):
            begin = time.thread_time_ns()
            ns = pool.take()
            taken.append(time.thread_time_ns() - begin)
            ns.close()
    for _ in range(25):
        begin = time.thread_time_ns()
        ns = netns.new()
        made.append(time.thread_time_ns() - begin)
        ns.close()
    assert median(made) > 5 * median(taken)


# The interrupt may drop a namespace that was just taken.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("size", [1, 3])
def test_interrupted_takers(size: int) -> None:
    """An interrupt costs the pool no namespace: it is full again afterwards."""
    taken = 0
    before = descriptors()
    with netns.pool(size) as pool:

        def work() -> None:
            nonlocal taken
            pool.take().close()
            taken += 1

        for _ in interrupt_at_random(1, work):
            pool.take().close()
        await_ready(size, before)
    assert taken


def test_an_interrupt_while_it_ends() -> None:
    """The waiting takers get ClosedError, and no thread stays."""
    threads, before, hits = set(task_links()), descriptors(), 0

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def take_until_it_ends(pool: netns.Pool, ended: SimpleQueue[object]) -> None:
        try:
            while True:
                pool.take().close()
        except netns.ClosedError as error:
            ended.put(error)

    def be_interrupted(ended: SimpleQueue[object]) -> None:
        with netns.pool(1) as pool:
            for _ in range(3):
                threading.Thread(
                    target=take_until_it_ends, args=(pool, ended), daemon=True
                ).start()
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
        while True:  # not signal.pause(): the signal may come before it begins
            pass

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(30):
            ended: SimpleQueue[object] = SimpleQueue()
            with pytest.raises(InterruptedError) as caught:
                be_interrupted(ended)
            hits += any(entry.name == "__exit__" for entry in caught.traceback)
            for _ in range(3):
                ended.get(timeout=30)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert hits
    assert all(ends(tid) for tid in set(task_links()) - threads)
    assert descriptors() == before


# The interrupt may drop a pool between the end of __enter__ and the block.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_interrupted_anywhere() -> None:
    threads, before = set(task_links()), descriptors()

    def work() -> None:
        with netns.pool(2) as pool:
            pool.take().close()

    for _ in interrupt_at_random(1, work):
        pass
    assert all(ends(tid) for tid in set(task_links()) - threads)
    assert descriptors() == before


def test_dropped_without_an_end() -> None:
    threads = set(task_links())
    pool = netns.pool(2)
    pool.__enter__()
    pool.take().close()
    (worker,) = set(task_links()) - threads
    del pool
    assert ends(worker)
