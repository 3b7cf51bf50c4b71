"""asyncio: the namespace follows the context.

A context variable names the namespace. Contexts already travel to whatever a task
starts; here, once for each event loop, the methods that schedule callbacks learn to
look at them. A callback whose context names a namespace runs inside, natively
(csrc/python/follow.c); every other goes on as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from functools import partial
from weakref import WeakSet, WeakValueDictionary, ref

from ._errors import closed, wrong_type
from ._executor import Executor
from ._lazy import _types as t
from ._native import call_inside, guard, schedule, step_home
from ._threads import has_files, run_in_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._handle import NetNS

INSIDE: ContextVar[t.Optional[NetNS]] = ContextVar("netns.inside", default=None)

_following: WeakSet[t.Any] = WeakSet()  # loops

# The duplicates that contexts name: one for each namespace and files in /etc/netns.
_shared: WeakValueDictionary[tuple[int, int, t.Optional[str]], NetNS] = WeakValueDictionary()


def check_coroutine_function(fn: t.Callable[..., object]) -> None:
    inner = fn
    while isinstance(inner, partial):
        inner = inner.func
    call = getattr(inner, "__call__", None)  # noqa: B004
    if not (inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)):
        raise wrong_type("do_async() takes a coroutine function (async def); do() others", fn)


async def run(
    ns: NetNS, fn: t.Callable[..., t.Any], args: tuple[t.Any, ...], kwargs: dict[str, t.Any]
) -> t.Any:
    async with guard(ns) as host:
        return await fn(host, *args, **kwargs)


def begin(ns: NetNS) -> tuple[ContextVar[t.Optional[NetNS]], NetNS]:
    """What a guard's __aenter__ sets, and to what; the running loop follows from now on.

    Raises what entering would raise, in the task and before anything has changed.
    """
    loop = asyncio._get_running_loop()
    inside = _duplicate(ns)
    with guard(inside):
        pass
    try:
        if loop is None or asyncio.current_task(loop) is None:
            raise TypeError("no task")
        if loop not in _following:
            _follow(loop)
            _following.add(loop)
    except (AttributeError, TypeError):
        raise wrong_type(
            "async with NetNS.enter(), and do_async(), are for tasks of an asyncio event loop "
            "whose methods can be replaced (not for trio's)",
            loop,
        ) from None
    if not isinstance(sys.get_asyncgen_hooks().finalizer, _Finalizer):
        _follow_generators(loop)
    return INSIDE, inside


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


class _StandIn(partial):  # type: ignore[type-arg]
    """call_inside(ns, callback, ...) in place of a callback; asyncio shows it as that."""

    __slots__ = ()


def _follow(loop: t.Any) -> None:
    """Replaces methods of the loop, as few as will do.

    CPython 3.13's own loops have 26 attributes, and with 30 every use of one would be
    slower; so there they get three.
    """

    def are_asyncios(*names: str) -> bool:
        return all(getattr(type(loop), n) is getattr(asyncio.BaseEventLoop, n) for n in names)

    soon, timers = {"call_soon": 0, "call_soon_threadsafe": 0}, ["call_at", "call_later"]
    if are_asyncios(*soon):
        soon = {"_call_soon": 2}  # of both; it takes the callback, arguments and context
    if are_asyncios(*timers):
        timers = ["call_at"]  # which call_later() calls
    for name, at in soon.items():
        setattr(loop, name, schedule(INSIDE, *_method(loop, name), at, _StandIn, call_inside))
    for name in timers:
        inside = partial(_call_at, _own(loop, name))
        setattr(loop, name, schedule(INSIDE, *_method(loop, name), 0, inside, None))
    loop.run_in_executor = partial(_run_in_executor, _own(loop, "run_in_executor"))
    if not are_asyncios("getaddrinfo", "getnameinfo"):  # which are by run_in_executor()
        _follow_names(loop)


def _method(loop: t.Any, name: str) -> tuple[t.Callable[..., t.Any], t.Optional[ref[t.Any]]]:
    """A method, and what it takes first: not bound, or the loop would hold itself."""
    method = getattr(loop, name)
    if getattr(method, "__self__", None) is not loop:
        return method, None
    return getattr(method, "__func__", None) or getattr(type(loop), name), ref(loop)


def _own(loop: t.Any, name: str) -> t.Callable[..., t.Any]:
    method, alive = _method(loop, name)
    return method if alive is None else lambda *args, **kw: method(alive(), *args, **kw)


def _call_at(own: t.Any, when: float, fn: t.Any, *args: t.Any, context: t.Any = None) -> t.Any:
    """Where the context names a namespace."""
    if not isinstance(fn, _StandIn):
        # asyncio keeps a cancelled timer, and its context, until it would have been due;
        # but not its callback.
        context = copy_context() if context is None else context
        fn, context = _StandIn(call_inside, context[INSIDE], context.run, fn), Context()
    timer = own(when, fn, *args, context=context)
    made_at = getattr(timer, "_source_traceback", None)
    if made_at:  # in debug mode: asyncio says who called it, and that was not this module
        made_at[:] = [frame for frame in made_at if frame.filename != __file__]
    return timer


def _run_in_executor(own: t.Any, executor: t.Any, func: t.Any, *args: t.Any) -> t.Any:
    ns = INSIDE.get()
    follows = executor is None or isinstance(executor, ThreadPoolExecutor)
    if ns is None or not follows or isinstance(executor, Executor):
        return own(executor, func, *args)
    # A worker is born where the thread is that submits.
    home = step_home()
    with contextlib.nullcontext() if home is None else guard(home):
        return own(executor, _run_job, ns, func, *args)


def _run_job(ns: NetNS, func: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
    token = INSIDE.set(ns)  # for what the job sends back to the loop
    try:
        return run_in_thread(ns, func, args, {}) if has_files(ns) else call_inside(ns, func, *args)
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
        setattr(loop, name, partial(_look_up, _own(loop, name), look_up))


async def _look_up(own: t.Any, look_up: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
    if INSIDE.get() is None:
        return await own(*args, **kwargs)
    job = partial(look_up, *args, **kwargs)
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
