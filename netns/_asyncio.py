"""asyncio: coroutines driven inside."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import socket
import sys
from collections.abc import Coroutine

from ._errors import wrong_type
from ._native import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import Any

    from ._executor import Executor
    from ._handle import NetNS


def check_coroutine_function(fn: Callable[..., object]) -> None:
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not (
        inspect.iscoroutinefunction(inner)
        or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004
    ):
        raise wrong_type("do_async() takes a coroutine function (async def); do() others", fn)


async def run(
    ns: NetNS, fn: Callable[..., Coroutine[Any, Any, Any]], args: Any, kwargs: Any
) -> Any:
    work = Work(ns)
    await _start_pool_at_home()
    return await Steps(work, lambda host: fn(host, *args, **kwargs))


_pool_started = False


async def _start_pool_at_home() -> None:
    """libuv's threads all start at its first look-up, and stay where that was made."""
    global _pool_started
    uvloop = sys.modules.get("uvloop")
    loop = asyncio._get_running_loop()
    if _pool_started or uvloop is None or not isinstance(loop, uvloop.Loop):
        return
    with contextlib.suppress(OSError):
        await loop.getaddrinfo("localhost", 1)
    _pool_started = True


class Work:
    """What the coroutines of one do_async share: their namespace, and its executor."""

    def __init__(self, ns: NetNS) -> None:
        # A duplicate: closing the handle waits for uses under way.
        self.ns = ns._duplicate()
        self.ns._borrowed = True
        self._executor: Executor | None = None

    def executor(self) -> Executor:
        if self._executor is None:
            self._executor = self.ns.executor()
        return self._executor


class Steps(Coroutine["Any", "Any", "Any"]):
    """A coroutine whose every step runs inside.

    For the time of a step, and no longer, the loop makes tasks that run inside
    as well, and sends jobs for its default executor to one that lives inside.
    """

    __slots__ = ("__weakref__", "_begin", "_coro", "_guard", "_scope", "_work")

    def __init__(self, work: Work, begin: Callable[[NetNS], Coroutine[Any, Any, Any]]) -> None:
        self._coro: Coroutine[Any, Any, Any] | None = None
        self._work: Work | None = work
        self._guard = guard(work.ns)
        self._scope: Scope | None = None
        self._begin = begin

    def __await__(self) -> Steps:
        return self

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        scope = self._scope
        if scope is None or scope.inside.loop is not asyncio._get_running_loop():
            return self._step("send", value)
        # The way of nearly all steps: the same, with less to look up.
        try:
            with self._guard:
                return scope.call(scope.send, value)
        except BaseException:
            self._end()
            raise

    def throw(self, *error: Any) -> Any:
        return self._step("throw", *error)

    def close(self) -> None:
        if self._work is not None:
            self._step("close")
            self._work = self._scope = None

    def __getattr__(self, name: str) -> Any:
        # What asyncio shows of a task: the body's name, code, frame and line.
        if name.startswith(("cr_", "__name__", "__qualname__")):
            return getattr(self._coro, name)
        raise AttributeError(name)

    def _step(self, resume: str, *args: Any) -> Any:
        if self._work is None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        try:
            with self._guard as host:
                if self._coro is None:
                    self._coro = self._begin(host)
                step = getattr(self._coro, resume)
                loop = asyncio._get_running_loop()
                if loop is None:
                    return step(*args)
                if self._scope is None or self._scope.inside.loop is not loop:
                    self._scope = Scope(Inside(self._work, loop), self._coro.send)
                return self._scope.call(step, *args)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        # Done, but for one whose guard failed: it can't go on.
        self._work = self._scope = None
        if self._coro is not None:
            self._coro.close()


class Scope:
    """Steps of one coroutine, with the running loop, and this thread, doing otherwise."""

    __slots__ = ("finalize", "inside", "overrides", "send")

    def __init__(self, inside: Inside, send: Callable[[Any], Any]) -> None:
        self.inside = inside
        self.send = send
        # Once for all steps: a method is a new object each time that it is looked up.
        self.finalize = inside.finalize
        self.overrides = {name: getattr(inside, name) for name in OVERRIDES}

    def call(self, resume: Callable[..., Any], *args: Any) -> Any:
        inside = self.inside
        loop = inside.loop
        factory = loop.get_task_factory()
        attributes = vars(loop)
        if isinstance(factory, Inside):
            # In another's step (of an eager task, say): over what the loop itself does.
            if factory.work is inside.work:
                return resume(*args)
            inside.factory, inside.run = factory.factory, factory.run
        else:
            inside.factory, inside.run = factory, loop.run_in_executor
        hidden = None
        if not attributes.keys().isdisjoint(OVERRIDES):
            hidden = {name: attributes[name] for name in OVERRIDES if name in attributes}
        hooks = sys.get_asyncgen_hooks()
        try:
            loop.set_task_factory(inside)
            attributes.update(self.overrides)
            if hooks.finalizer is not None:
                sys.set_asyncgen_hooks(finalizer=self.finalize)
            return resume(*args)
        finally:
            sys.set_asyncgen_hooks(*hooks)
            for name in OVERRIDES:
                attributes.pop(name, None)
            if hidden is not None:
                attributes.update(hidden)
            loop.set_task_factory(factory)


class Inside:
    """What the loop does otherwise; it is its own task factory."""

    __slots__ = ("factory", "loop", "run", "work")

    def __init__(self, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.factory: Any = None
        self.run: Callable[..., Any] = loop.run_in_executor

    def __call__(self, loop: Any, coro: Any, **kwargs: Any) -> Any:
        if not isinstance(coro, Steps):
            steps = Steps(self.work, lambda host: coro)
            steps._coro = coro
            coro = steps
        if self.factory is not None:
            return self.factory(loop, coro, **kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Awaitable[Any]:
        if executor is None:
            executor = self.work.executor()
        job: Awaitable[Any] = self.run(executor, func, *args)
        return job

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
        # uvloop's own does not ask run_in_executor; asyncio's does the same.
        look_up = functools.partial(socket.getaddrinfo, host, port, **kwargs)
        return await self.run(self.work.executor(), look_up)

    async def getnameinfo(self, address: Any, flags: int = 0) -> Any:
        return await self.run(self.work.executor(), socket.getnameinfo, address, flags)

    def finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Of an async generator that was dropped: what it has to clean up is inside."""
        if not self.loop.is_closed():
            closing = Steps(self.work, lambda host: generator.aclose())
            self.loop.call_soon_threadsafe(self.loop.create_task, closing)


OVERRIDES = ("run_in_executor", "getaddrinfo", "getnameinfo")
