"""A function on a new kernel thread, inside, in a copy of the caller's context."""

from __future__ import annotations

import sys
import threading
from _thread import allocate_lock, start_new_thread
from contextvars import copy_context
from os import fsencode
from os.path import isdir

from ._call import Handle, call, ffi, lib, native
from ._lazy import _types as t
from ._native import forget_host


def has_files(ns: Handle) -> bool:
    """Whether a namespace that was opened by name has files in /etc/netns."""
    return ns._name is not None and isdir(f"/etc/netns/{ns._name}")


def setup_exec(ns: Handle) -> None:
    """Gives the calling thread, which is inside for good, the /sys and /etc of ns."""
    call(lib.netns_setup_exec, fsencode(ns._name) if ns._name else ffi.NULL)


def move_in(ns: Handle) -> None:
    """Moves the calling thread into ns for good, its files in /etc/netns included."""
    call(lib.netns_set, native(ns))
    forget_host()
    if has_files(ns):
        setup_exec(ns)


def introduce(name: str) -> None:
    """Tells `threading`, and debuggers, of the calling thread, which it did not start."""
    threading.current_thread().name = name
    if sys.version_info >= (3, 10):
        trace, profile = threading.gettrace(), threading.getprofile()
        if trace is not None:
            sys.settrace(trace)
        if profile is not None:
            sys.setprofile(profile)


class Job:
    """A function that a new thread runs while its caller waits.

    It is no threading.Thread: an interrupt in Thread.start() may leave locks taken
    for good. The caller may be interrupted while it waits; whichever of the two
    threads comes second then abandons the result.

    Args:
        name: the thread's name.
        fn: the function.
        abandon: called with a result that nobody waits for any more.
    """

    def __init__(
        self,
        name: str,
        fn: t.Callable[[], t.Any],
        abandon: t.Callable[[t.Any], object] = lambda result: None,
    ) -> None:
        self._name = name
        self._fn: t.Optional[t.Callable[[], t.Any]] = fn
        self._context = copy_context()
        self._abandon = abandon
        self._result: t.Any = None
        self._error: t.Optional[BaseException] = None
        self._settled = allocate_lock()  # taken by who comes first, and never released

    def run(self) -> t.Any:
        """The function's result, or what it raised, when its thread is through."""
        done = allocate_lock()
        done.acquire()
        try:
            start_new_thread(self._main, (done.release,))
            done.acquire()
            return self._take()
        except BaseException:
            if not self._settled.acquire(False):
                self._drop()
            raise

    def _take(self) -> t.Any:
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame, which would hold it

    def _drop(self) -> None:
        result, self._result = self._result, None
        if result is not None:
            self._abandon(result)

    def _main(self, on_done: t.Callable[[], object]) -> None:
        try:
            introduce(self._name)
            assert self._fn is not None
            self._result = self._context.run(self._fn)
        except BaseException as error:
            self._error = error
        try:
            self._fn = None  # and what it holds, before the caller goes on
            if not self._settled.acquire(False):
                self._drop()
        finally:
            if sys.version_info < (3, 13):  # since then it goes with its thread
                threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]
            on_done()


def run_in_thread(
    ns: Handle, fn: t.Callable[..., t.T], args: tuple[t.Any, ...], kwargs: dict[str, t.Any]
) -> t.T:
    """fn's result, or its exception, from a thread that moves into ns and ends."""

    def inside() -> t.T:
        move_in(ns)
        return fn(*args, **kwargs)

    result: t.T = Job("netns-do", inside).run()
    return result
