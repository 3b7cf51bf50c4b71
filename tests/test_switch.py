"""do, enter, set: in the target, and home again whatever happens."""

from __future__ import annotations

import contextvars
import functools
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import netns
from support import here, task_links


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


def test_do_runs_in_the_target(ns: netns.NetNS) -> None:
    home = here()
    assert ns.do(lambda host: here()) == link(ns) != home
    assert here() == home


def test_do_passes_arguments_and_returns_the_result(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS, a: int, *more: int, fn: str, self: str) -> object:
        return a, more, fn, self

    assert ns.do(body, 1, 2, 3, fn="f", self="s") == (1, (2, 3), "f", "s")


def test_do_by_path_and_by_name(name: str) -> None:
    with netns.create(name) as ns:
        pass
    assert netns.do(name, lambda host: here()) == link(ns)
    assert netns.do(f"/run/netns/{name}", lambda host: here()) == link(ns)
    with pytest.raises(netns.NotFoundError):
        netns.do("/nonexistent/netns", lambda host: None)


def test_host_is_the_callers_namespace(ns: netns.NetNS) -> None:
    with netns.new() as inner, netns.current() as home:

        def outer_body(host: netns.NetNS) -> None:
            assert host == home
            inner.do(inner_body, host)
            assert here() == link(ns)

        def inner_body(host: netns.NetNS, outermost: netns.NetNS) -> None:
            assert host == ns
            assert host.do(lambda host: here()) == link(ns)
            assert outermost.do(lambda host: host) == inner
            assert here() == link(inner)

        ns.do(outer_body)


def test_host_outlives_the_body_and_cannot_be_closed(ns: netns.NetNS) -> None:
    hosts = [ns.do(lambda host: host) for _ in range(2)]
    hosts[0].close()
    with hosts[0]:
        pass
    with netns.current() as home:
        assert not hosts[0].closed
        assert hosts[0] == hosts[1] == home


def test_host_after_the_thread_moved_elsewhere(ns: netns.NetNS) -> None:
    """The host is read anew at each call, also when somebody else moved the thread."""
    with netns.new() as other, netns.current() as home:
        assert ns.do(lambda host: host) == home
        other.set()
        assert ns.do(lambda host: host) == other
        assert here() == link(other)
        home.set()
        assert ns.do(lambda host: host) == home


def test_host_when_called_concurrently(ns: netns.NetNS) -> None:
    with netns.current() as home:
        threads = 200
        barrier = threading.Barrier(threads)
        ran = []

        def body(host: netns.NetNS) -> None:
            assert host == home
            assert here() == link(ns)
            ran.append(threading.get_ident())

        def call() -> None:
            barrier.wait()
            for _ in range(10):
                ns.do(body)
                assert here() == link(home)

        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(call) for _ in range(threads)]:
                future.result()
        assert len(ran) == 10 * threads
        assert len(set(ran)) == threads


@pytest.mark.parametrize(
    "error",
    [ValueError("potato"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), OSError(1)],
)
def test_whatever_the_body_raises_the_thread_is_home(
    ns: netns.NetNS, error: BaseException
) -> None:
    home = here()

    def body(host: netns.NetNS) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        ns.do(body)
    assert caught.value is error
    assert error.__context__ is None
    assert here() == home
    with pytest.raises(type(error)) as caught, ns.enter():
        raise error
    assert caught.value is error
    assert here() == home


def test_enter_nests(ns: netns.NetNS) -> None:
    home = here()
    with netns.new() as other:
        with ns.enter() as host:
            assert (here(), link(host)) == (link(ns), home)
            with other.enter() as host:
                assert (here(), link(host)) == (link(other), link(ns))
                with ns.enter() as host:
                    assert (here(), link(host)) == (link(ns), link(other))
                assert here() == link(other)
            assert here() == link(ns)
        assert here() == home


def test_deep_nesting(ns: netns.NetNS) -> None:
    home = here()

    def body(host: netns.NetNS, other: netns.NetNS, depth: int) -> int:
        assert here() == link(ns)
        return other.do(back, ns, depth) if depth else 0

    def back(host: netns.NetNS, other: netns.NetNS, depth: int) -> int:
        return 1 + other.do(body, host, depth - 1)

    with netns.current() as outside:
        assert ns.do(body, outside, 50) == 50
    assert here() == home


def test_inside_already(ns: netns.NetNS) -> None:
    with netns.current() as home:
        assert home.do(lambda host: (host, here())) == (home, link(home))
        with ns.enter(), ns.enter() as host:
            assert host == ns
            assert here() == link(ns)
        assert here() == link(home)


def test_inside_already_and_moved_by_the_body(ns: netns.NetNS) -> None:
    with netns.current() as home:
        home.do(lambda host: ns.set())
        assert here() == link(home)


def test_threads_of_a_body_are_born_inside(ns: netns.NetNS) -> None:
    seen = []

    def body(host: netns.NetNS) -> None:
        thread = threading.Thread(target=lambda: seen.append(here()))
        thread.start()
        thread.join()

    ns.do(body)
    assert seen == [link(ns)]


def test_other_threads_stay_where_they_are(ns: netns.NetNS) -> None:
    home = here()
    entered, leave = threading.Event(), threading.Event()

    def inside() -> None:
        with ns.enter():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=inside)
    thread.start()
    assert entered.wait(30)
    links = task_links()
    leave.set()
    thread.join()
    assert links[str(thread.native_id)] == link(ns)
    assert links[str(threading.get_native_id())] == home


def test_set_moves_the_thread_for_good(ns: netns.NetNS) -> None:
    seen: list[object] = []

    def live() -> None:
        ns.set()
        seen.append(here())
        with netns.current() as current:
            seen.append(current == ns)
            ns.do(lambda host: seen.append(host == ns))

    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
    assert seen == [link(ns), True, True]


def test_sockets_stay_where_they_were_made(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS) -> list[str]:
        return [name for _, name in socket.if_nameindex()]

    assert ns.do(body) == ["lo"]
    with ns.enter():
        inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside, pytest.raises(OSError, match=r"[Nn]etwork is unreachable"):
        inside.connect(("192.0.2.1", 9))


async def coroutine(host: netns.NetNS) -> None:
    raise AssertionError("ran")


def generator(host: netns.NetNS) -> Iterator[None]:
    raise AssertionError("ran")
    yield


async def async_generator(host: netns.NetNS) -> AsyncIterator[None]:
    raise AssertionError("ran")
    yield


class Callable:
    async def __call__(self, host: netns.NetNS) -> None:
        raise AssertionError("ran")

    async def method(self, host: netns.NetNS) -> None:
        raise AssertionError("ran")


@pytest.mark.parametrize(
    "fn",
    [
        coroutine,
        generator,
        async_generator,
        functools.partial(functools.partial(coroutine)),
        Callable(),
        Callable().method,
        None,
        "string",
    ],
)
def test_what_would_run_outside_is_refused(ns: netns.NetNS, fn: object) -> None:
    for do in (ns.do, ns.do_in_thread, functools.partial(netns.do, "/proc/thread-self/ns/net")):
        with pytest.raises(TypeError) as caught:
            do(fn)  # type: ignore[arg-type, call-arg]
        assert isinstance(caught.value, netns.InvalidTypeError)
        assert caught.value.errno
        assert caught.value.step


def test_builtins_and_callable_objects(ns: netns.NetNS) -> None:
    class Plain:
        def __call__(self, host: netns.NetNS) -> str:
            return here()

    assert ns.do(isinstance, netns.NetNS) is True
    assert ns.do(Plain()) == link(ns)
    assert ns.do(functools.partial(Plain())) == link(ns)
    assert ns.do(netns.NetNS.fileno) >= 0


def test_closed(ns: netns.NetNS) -> None:
    ns.close()
    for use in (lambda: ns.do(lambda host: None), ns.set, ns.fileno, ns.enter().__enter__):
        with pytest.raises(netns.ClosedError) as caught:
            use()
        assert isinstance(caught.value, ValueError)
        assert caught.value.step == "use the handle"
    with pytest.raises(netns.ClosedError), ns:
        pass


def test_closed_inside_its_own_body(ns: netns.NetNS) -> None:
    home = here()
    with ns.enter():
        ns.close()
        assert here() == link(ns)
        with netns.current() as current:
            assert current.ino == ns.ino
    assert here() == home


def test_a_guard_serves_again_but_not_twice_at_once(ns: netns.NetNS) -> None:
    home = here()
    guard = ns.enter()
    for _ in range(2):
        with guard:
            assert here() == link(ns)
            with pytest.raises(netns.OrderError), guard:
                pass
        assert here() == home
    with pytest.raises(netns.OrderError):
        guard.__exit__(None, None, None)


def test_guards_left_out_of_order(ns: netns.NetNS) -> None:
    home = here()
    with netns.new() as other:
        first, second = ns.enter(), other.enter()
        first.__enter__()
        second.__enter__()
        with pytest.raises(netns.OrderError):
            first.__exit__(None, None, None)
        assert here() == home
        with pytest.raises(netns.OrderError):
            second.__exit__(None, None, None)
        assert here() == home
        assert ns.do(lambda host: here()) == link(ns)


def test_a_guard_left_on_another_thread(ns: netns.NetNS) -> None:
    home = here()
    guard = ns.enter()
    guard.__enter__()
    errors: list[BaseException] = []

    def leave() -> None:
        try:
            guard.__exit__(None, None, None)
        except netns.OrderError as error:
            errors.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert len(errors) == 1
    # This thread goes home at its next use.
    with netns.new() as other:
        assert other.do(lambda host: link(host)) == home
    assert here() == home


def test_a_dropped_guard_leaves(ns: netns.NetNS) -> None:
    home = here()
    guard = ns.enter()
    guard.__enter__()
    assert here() == link(ns)
    del guard
    assert here() == home


def test_do_in_thread(ns: netns.NetNS) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    def body(host: netns.NetNS, /, *args: object, **kwargs: object) -> tuple[object, ...]:
        return threading.get_native_id(), variable.get(), here(), link(host), args, kwargs

    tid, *rest = ns.do_in_thread(body, 1, key=2)
    assert tid != threading.get_native_id()
    assert rest == ["set", link(ns), here(), (1,), {"key": 2}]


def test_do_in_thread_carries_exceptions_over(ns: netns.NetNS) -> None:
    def potato(host: netns.NetNS) -> None:
        raise KeyboardInterrupt("potato")

    with pytest.raises(KeyboardInterrupt, match="potato") as caught:
        ns.do_in_thread(potato)
    assert caught.traceback[-1].name == "potato"


def test_fork_inside_a_body(ns: netns.NetNS) -> None:
    """Parent and child both know where they are, and both come home."""
    home = here()

    def child() -> int:
        with netns.current() as current:
            assert current == ns
            assert home_ns.do(lambda host: (here(), host == ns)) == (home, True)
            assert here() == link(ns)
        return 0

    with netns.current() as home_ns:
        with ns.enter():
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    status = child()
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert here() == home


def test_fork_and_leave_in_the_child(ns: netns.NetNS) -> None:
    home = here()
    guard = ns.enter()
    guard.__enter__()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            guard.__exit__(None, None, None)
            assert here() == home
            assert ns.do(lambda host: (here(), link(host))) == (link(ns), home)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert here() == link(ns)
    guard.__exit__(None, None, None)
    assert here() == home
