"""do, enter, set: the thread is in the target, and home again whatever happens."""

from __future__ import annotations

import contextvars
import errno
import functools
import gc
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import netns
from netns import _errors
from support import (
    CLONE_NEWNET,
    FREE_THREADED,
    LIBC,
    Capabilities,
    checked_on_a_thread,
    descriptors,
    ends,
    here,
    interrupt_at_random,
    link,
    on_a_thread,
    task_links,
)


def test_do_runs_in_the_target(ns: netns.NetNS) -> None:
    home = here()
    assert ns.do(lambda host: here()) == link(ns) != home
    assert here() == home


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
    """The host is read anew at each call, also after set()."""
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
    "type_of_error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, OSError]
)
def test_whatever_the_body_raises_the_thread_is_home(
    ns: netns.NetNS, type_of_error: type[BaseException]
) -> None:
    home, error = here(), type_of_error("potato")

    def body(host: netns.NetNS) -> None:
        raise error

    with pytest.raises(type_of_error) as caught:
        ns.do(body)
    assert caught.value is error
    assert error.__context__ is None
    assert here() == home
    with pytest.raises(type_of_error) as caught, ns.enter():
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


def test_threads_that_a_body_starts_are_inside(ns: netns.NetNS) -> None:
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

    def stay() -> None:
        ns.set()
        seen.append(here())
        with netns.current() as current:
            seen.append(current == ns)
            ns.do(lambda host: seen.append(host == ns))

    thread = threading.Thread(target=stay)
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
    # This thread goes home at its next use of the library.
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


@pytest.mark.parametrize("kind", ["profile", "trace"])
def test_the_thread_of_do_in_thread_is_known(ns: netns.NetNS, kind: str) -> None:
    traced: list[str] = []
    hook = getattr(threading, f"set{kind}")
    before = getattr(threading, f"get{kind}", lambda: None)()  # since Python 3.10

    def body(host: netns.NetNS) -> tuple[str, bool, threading.Thread]:
        thread = threading.current_thread()
        return thread.name, thread.daemon, thread

    if sys.version_info >= (3, 10):
        hook(lambda frame, event, arg: traced.append(frame.f_code.co_name))
    try:
        name, daemon, thread = ns.do_in_thread(body)
    finally:
        hook(before)
    assert (name, daemon) == ("netns-do", True)
    assert sys.version_info < (3, 10) or "body" in traced
    deadline = time.monotonic() + 30
    while thread in threading.enumerate():  # its last step takes it out of there
        assert time.monotonic() < deadline
        os.sched_yield()


# Without a GIL the lock of an import runs a weakref callback, which may swallow an interrupt.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_do_in_thread_interrupted_anywhere(ns: netns.NetNS) -> None:
    """The caller's wait ends, every body ends, and threads can still be started."""
    home, threads = here(), set(task_links())
    begun: list[int] = []  # append() is one step without a GIL too
    ended: list[int] = []

    def body(host: netns.NetNS) -> None:
        begun.append(threading.get_ident())
        threading.current_thread()
        ended.append(threading.get_ident())

    for _ in interrupt_at_random(1, lambda: ns.do_in_thread(body)):
        assert here() == home
    assert [tid for tid in set(task_links()) - threads if not ends(tid)] == []
    assert len(begun) == len(ended) > 10
    on_a_thread(lambda: None)


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


def test_host_after_somebody_else_moved_the_thread(ns: netns.NetNS) -> None:
    def run() -> None:
        with netns.new() as other, netns.current() as home:
            assert ns.do(lambda host: host) == home
            assert LIBC.setns(other.fileno(), CLONE_NEWNET) == 0
            assert ns.do(lambda host: host) == other
            assert here() == link(other)

    checked_on_a_thread(run)


def test_host_is_one_object(ns: netns.NetNS) -> None:
    assert ns.do(lambda host: host) is ns.do(lambda host: host)


def test_what_a_thread_left_for_good_is_not_kept(ns: netns.NetNS) -> None:
    """The host that was handed out last must not keep the former home alive."""

    def run() -> None:
        with netns.new() as former:
            former.set()
            ns.do(lambda host: None)
            ns.set()
        gc.collect()
        assert link(former) not in descriptors()

    checked_on_a_thread(run)


def test_what_the_host_of_a_body_knows(ns: netns.NetNS) -> None:
    """It has no name and no path, and what is not asked for is not looked up."""

    def body(host: netns.NetNS) -> None:
        assert (host.name, host.path, host.closed) == (None, None, False)
        assert os.readlink(f"/proc/self/fd/{host.fileno()}") == home
        assert repr(host) == f"<NetNS {home}>"
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            host.nothing  # type: ignore[attr-defined]  # noqa: B018

    home = here()
    ns.do(body)
    ns.do(lambda outer: ns.do(lambda host: host == ns and host.do(lambda _: here()) == link(ns)))


def test_do_passes_all_arguments_and_returns_the_result(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS, /, *args: object, **kwargs: object) -> object:
        return args, kwargs

    assert ns.do(body) == ((), {})
    assert ns.do(body, 1, 2) == ((1, 2), {})
    assert ns.do(body, 1, fn=2, self=3) == ((1,), {"fn": 2, "self": 3})
    with pytest.raises(TypeError):
        ns.do()  # type: ignore[call-arg]


def test_a_refusal_in_the_body_is_the_bodys(ns: netns.NetNS) -> None:
    """do() does not take the body's refusal for its own, and so does not run the body again."""
    ran = []

    def body(host: netns.NetNS) -> None:
        ran.append(here())
        raise netns.NotPermittedError(errno.EPERM, "check the way back")

    with pytest.raises(netns.NotPermittedError):
        ns.do(body)
    assert ran == [link(ns)]


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="threading.getprofile() is there from Python 3.10 on"
)
def test_only_an_unsure_return_takes_a_thread(ns: netns.NetNS) -> None:
    """threading.setprofile() shows whether the library has made a thread."""
    seen: list[int] = []

    def note(*event: object) -> None:
        seen.append(threading.get_ident())

    def run() -> None:
        threading.setprofile(note)
        try:
            with Capabilities(), pytest.raises(netns.NotPermittedError) as caught:
                ns.do(lambda host: None)
            assert caught.value.step == "enter the namespace"
            assert seen == []
            ns.do_in_thread(lambda host: None)
            assert seen
        finally:
            threading.setprofile(None)

    checked_on_a_thread(run)


def test_what_would_run_outside_is_refused_before_all_else(ns: netns.NetNS) -> None:
    nested = functools.partial(coroutine)
    # functools would merge a partial without attributes into the outer one.
    nested.attribute = None  # type: ignore[attr-defined]
    for fn in (
        functools.partial(nested),
        functools.lru_cache(coroutine),
        staticmethod(coroutine),
    ):
        with pytest.raises(netns.InvalidTypeError):
            ns.do(fn)  # type: ignore[unused-coroutine]
    with pytest.raises(netns.InvalidTypeError):
        netns.do("netns-test-missing", coroutine)  # type: ignore[unused-coroutine]


def test_a_guard_dropped_on_another_thread_is_reported(
    ns: netns.NetNS, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = here()
    guards = [ns.enter()]
    guards[0].__enter__()
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_type))
    on_a_thread(guards.clear)
    # Without a GIL an object is freed on its own thread if that still counts references.
    assert reported == ([] if FREE_THREADED else [netns.OrderError])
    netns.current().close()
    assert here() == home


def test_a_guard_dropped_while_an_exception_passes(ns: netns.NetNS) -> None:
    def entered() -> netns.Guard:
        guard = ns.enter()
        guard.__enter__()
        return guard

    home = here()
    with pytest.raises(ZeroDivisionError):
        [entered(), 1 / 0]
    assert here() == home


def test_close_of_a_guard_out_of_order(ns: netns.NetNS) -> None:
    home = here()
    first, second = ns.enter(), ns.enter()
    first.close()  # nothing, outside
    with first:
        second.__enter__()
        second.close()
        second.close()
        assert here() == link(ns)
    first.__enter__()
    second.__enter__()
    for guard in (first, second):
        with pytest.raises(netns.OrderError):
            guard.close()
    assert here() == home


def test_guards_and_handles_keep_no_reference_to_their_type(ns: netns.NetNS) -> None:
    for kind, use in (
        (netns.Guard, lambda: ns.enter()),
        (netns.NetNS, lambda: netns.from_fd(ns.fileno()).close()),
    ):
        before = sys.getrefcount(kind)
        for _ in range(100):
            use()
        assert sys.getrefcount(kind) <= before + 10, kind


def test_the_interpreter_is_free_during_native_calls() -> None:
    """Another thread goes on while this one is in setns(2), both ways.

    It ticks every 5 ms: the sleep is the clock that shows how long it had to wait.
    """
    if shutil.which("strace") is None:
        reason = "needs strace, to hold setns(2) up"
        pytest.skip(reason)
    script = """
import threading, time, netns
ns = netns.new()
ticks, stop = 0, False

def tick():
    global ticks
    while not stop:
        time.sleep(0.005)
        ticks += 1

ticker = threading.Thread(target=tick)
ticker.start()
seen = [ticks]
guard = ns.enter()
guard.__enter__()
seen.append(ticks)
guard.__exit__(None, None, None)
seen.append(ticks)
stop = True
ticker.join()
ns.close()
assert seen[1] - seen[0] > 10 and seen[2] - seen[1] > 10, seen
"""
    # 0.3 s for each setns(2).
    inject = "inject=setns:delay_enter=300000"
    run = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", "trace=setns", "-e", inject]
        + [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr


def test_host_of_a_thread_cannot_be_closed(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS) -> bool:
        host.close()
        return host.closed

    assert ns.do_in_thread(body) is False


def test_do_in_thread_keeps_no_exception(ns: netns.NetNS) -> None:
    """A kept one would keep the frames of its traceback until the collector runs."""

    class PotatoError(Exception):
        pass

    def potato(host: netns.NetNS) -> None:
        raise PotatoError

    gc.disable()
    try:
        try:
            ns.do_in_thread(potato)
        except PotatoError as error:
            kept = weakref.ref(error)
        assert kept() is None
    finally:
        gc.enable()


def test_an_interrupted_wait_does_not_wait_for_the_body() -> None:
    script = """
import signal, threading, netns

def interrupt(*args):
    raise KeyboardInterrupt

def body(host):
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    threading.Event().wait()

signal.signal(signal.SIGALRM, interrupt)
ns = netns.new()
try:
    ns.do_in_thread(body)
except KeyboardInterrupt:
    ns.close()
    print("interrupted")
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr


def test_errors_of_guards_are_not_kept(ns: netns.NetNS) -> None:
    guard = ns.enter()
    gc.disable()
    try:
        for _ in range(2):
            try:
                guard.__exit__(None, None, None)
            except netns.OrderError as error:
                kept = weakref.ref(error)
            assert kept() is None
    finally:
        gc.enable()


def test_calls_of_the_facade_keep_nothing(ns: netns.NetNS) -> None:
    """Each reference that native code takes to a Python object is given back."""
    objects = (_errors, _errors.from_native, netns.NetNS)
    before = [sys.getrefcount(each) for each in objects]
    guard = ns.enter()
    for _ in range(100):
        with pytest.raises(netns.OrderError):
            guard.__exit__(None, None, None)
        with ns.enter(), ns.enter():
            pass
    after = [sys.getrefcount(each) for each in objects]
    assert all(now <= then + 10 for now, then in zip(after, before)), (before, after)


def test_failing_calls_leave_no_blocks(ns: netns.NetNS) -> None:
    guard = ns.enter()

    def fail(times: int) -> int:
        for _ in range(times):
            with pytest.raises(netns.OrderError):
                guard.__exit__(None, None, None)
        gc.collect()
        return sys.getallocatedblocks()

    fail(10)
    assert fail(2000) - fail(2000) > -1000


def test_guards_can_not_be_constructed() -> None:
    for kind in (netns.Guard, netns.Tour):
        with pytest.raises(TypeError, match=r"NetNS\.enter\(\) and netns\.tour\(\)"):
            kind()
