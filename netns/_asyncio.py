"""asyncio: the namespace follows the context.

A context variable names the namespace. Contexts already travel to whatever a task
starts; here, once for each event loop, the methods that schedule callbacks learn to
look at them. A callback whose context names a namespace runs inside, natively
(csrc/python/follow.c); every other goes on as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from ._errors import closed, wrong_type
from ._executor import Executor
from ._lazy import _types as t
from ._native import call_inside, guard, schedule
from ._threads import has_files, run_in_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._handle import NetNS

INSIDE: ContextVar[t.Optional[NetNS]] = ContextVar("netns.inside", default=None)

# Where the loops that follow have their thread between steps.
_homes: WeakKeyDictionary[t.Any, NetNS] = WeakKeyDictionary()

# The duplicates that contexts name: one for each namespace and files in /etc/netns.
_shared: WeakValueDictionary[tuple[int, int, t.Optional[str]], NetNS] = WeakValueDictionary()


def check_coroutine_function(fn: t.Callable[..., object]) -> None:
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not (
        inspect.iscoroutinefunction(inner)
        or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004
    ):
        raise wrong_type("do_async() takes a coroutine function (async def); do() others", fn)


async def run(
    ns: NetNS,
    fn: t.Callable[..., t.Coroutine[t.Any, t.Any, t.T]],
    args: tuple[t.Any, ...],
    kwargs: dict[str, t.Any],
) -> t.T:
    async with guard(ns) as host:
        return await fn(host, *args, **kwargs)


def begin(ns: NetNS) -> tuple[ContextVar[t.Optional[NetNS]], NetNS]:
    """What a guard's __aenter__ sets, and to what; the running loop follows from now on.

    Raises what entering would raise, in the task and before anything has changed.
    """
    loop = asyncio._get_running_loop()
    if loop is None or asyncio.current_task(loop) is None:
        raise _cannot_follow(loop)
    inside = _duplicate(ns)
    with guard(inside) as host:
        pass
    if loop not in _homes:
        _follow(loop, host)
    elif INSIDE.get() is None:
        _homes[loop] = host  # each time: the loop may run on another thread than before
    if not isinstance(sys.get_asyncgen_hooks().finalizer, _Finalizer):
        _follow_generators(loop)
    return INSIDE, inside


def _cannot_follow(loop: object) -> Exception:
    return wrong_type(
        "async with NetNS.enter(), and do_async(), are for tasks of an asyncio event loop "
        "whose methods can be replaced (not for trio's)",
        loop,
    )


def _duplicate(ns: NetNS) -> NetNS:
    """The handle that contexts keep: closing the user's is fine while tasks run."""
    if ns.closed:
        raise closed()
    key = ns.dev, ns.ino, ns.name
    found = _shared.get(key)
    if found is None:
        found = ns._duplicate()
        found._borrowed = True
        _shared[key] = found
    return found


def _follow(loop: t.Any, home: NetNS) -> None:
    """Replaces methods of the loop, as few as will do: each attribute makes it slower."""
    timer = copy_context, Context
    own = asyncio.BaseEventLoop
    try:
        _replace(loop, "call_soon", 0, None, None)
        _replace(loop, "call_soon_threadsafe", 0, None, None)
        _replace(loop, "call_at", 1, *timer)
        if type(loop).call_later is not own.call_later:  # which is by call_at()
            _replace(loop, "call_later", 1, *timer)
        if type(loop).getaddrinfo is not own.getaddrinfo:  # which is by run_in_executor()
            _follow_names(loop)
        loop.run_in_executor = functools.partial(
            _run_in_executor, *_method(loop, "run_in_executor")
        )
        _homes[loop] = home
    except (AttributeError, TypeError):
        raise _cannot_follow(loop) from None


def _method(loop: t.Any, name: str) -> tuple[t.Callable[..., t.Any], t.Optional[ref[t.Any]]]:
    """A method, and what it takes first: not bound, or the loop would hold itself."""
    method = getattr(loop, name)
    if getattr(method, "__self__", None) is not loop:
        return method, None
    return getattr(method, "__func__", None) or getattr(type(loop), name), ref(loop)


def _replace(loop: t.Any, name: str, position: int, *timer: t.Any) -> None:
    method = _method(loop, name)
    setattr(loop, name, schedule(INSIDE, *method, position, call_inside, *timer))


def _run_in_executor(
    run: t.Callable[..., t.Any],
    loop: t.Optional[t.Callable[[], t.Any]],
    executor: t.Any,
    func: t.Callable[..., t.Any],
    *args: t.Any,
) -> t.Any:
    first = () if loop is None else (loop(),)
    ns = INSIDE.get()
    follows = executor is None or isinstance(executor, ThreadPoolExecutor)
    if ns is None or not follows or isinstance(executor, Executor):
        return run(*first, executor, func, *args)
    # A worker is born where the thread is that submits.
    with guard(_homes[asyncio.get_running_loop()]):
        return run(*first, executor, _run_job, ns, func, *args)


def _run_job(ns: NetNS, func: t.Callable[..., t.T], *args: t.Any) -> t.T:
    token = INSIDE.set(ns)  # for what the job sends back to the loop
    try:
        if has_files(ns):
            return run_in_thread(ns, func, args, {})
        result: t.T = call_inside(ns, func, *args)
        return result
    finally:
        INSIDE.reset(token)


def _follow_names(loop: t.Any) -> None:
    """For a loop that looks names up by other means, uvloop's libuv."""
    # libuv starts all of its threads at its first look-up. They must not be born inside.
    first = loop.getaddrinfo("localhost", 1)
    with contextlib.suppress(StopIteration):
        first.send(None).cancel()
    first.close()
    look_ups: dict[str, t.Callable[..., t.Any]] = {
        "getaddrinfo": lambda *args, **kwargs: socket.getaddrinfo(*args, **kwargs),
        "getnameinfo": lambda address, flags=0: socket.getnameinfo(address, flags),
    }
    for name, look_up in look_ups.items():
        setattr(loop, name, functools.partial(_look_up, *_method(loop, name), look_up))


async def _look_up(
    own: t.Callable[..., t.Any],
    loop: t.Optional[t.Callable[[], t.Any]],
    look_up: t.Callable[..., t.Any],
    *args: t.Any,
    **kwargs: t.Any,
) -> t.Any:
    if INSIDE.get() is None:
        return await own(*(() if loop is None else (loop(),)), *args, **kwargs)
    job = functools.partial(look_up, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(None, job)


class _Finalizer:
    """What becomes of an async generator that is dropped, or left when its loop ends.

    A generator keeps the finalizer that the thread has when it begins. So each gets
    its own, which notes where it began.
    """

    def __init__(self, loop: t.Any, last: t.Callable[[t.Any], object]) -> None:
        self.loop, self.last = loop, last
        self.ns: t.Optional[NetNS] = None
        self.generator: t.Optional[ref[t.Any]] = None

    def _run(self, function: t.Callable[..., t.T], *args: t.Any) -> t.T:
        context = copy_context()
        context.run(INSIDE.set, self.ns)
        return context.run(function, *args)

    def __call__(self, generator: t.Any) -> None:
        self._run(self.last, generator)

    def aclose(self) -> t.Any:
        """For the loop, which has it in the place of a generator that began inside."""
        generator: t.Any = None if self.generator is None else self.generator()
        closing = asyncio.sleep(0) if generator is None else generator.aclose()
        return self._run(self.loop.create_task, closing)


def _follow_generators(loop: t.Any) -> None:
    first, last = sys.get_asyncgen_hooks()
    if first is None or last is None:
        return

    def begin_generator(generator: t.Any) -> None:
        kept, ns = sys.get_asyncgen_hooks().finalizer, INSIDE.get()
        sys.set_asyncgen_hooks(finalizer=_Finalizer(loop, last))
        if ns is not None and isinstance(kept, _Finalizer):
            kept.ns, kept.generator = ns, ref(generator)
            generator = kept
        first(generator)

    sys.set_asyncgen_hooks(begin_generator, _Finalizer(loop, last))
