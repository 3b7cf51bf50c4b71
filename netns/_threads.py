"""A function on a new kernel thread, inside, in a copy of the caller's context."""

from __future__ import annotations

import _thread
import sys
import threading
from _queue import SimpleQueue
from contextvars import copy_context
from errno import ENOTSUP
from os import fsencode
from os.path import isdir
from types import BuiltinFunctionType

from ._call import Handle, allocate, call, ffi, lib, native
from ._errors import Error, OrderError, from_native, step_text
from ._lazy import _types as t
from ._native import forget_host
from ._native import start_thread as _start_thread


def _no_thread(why: str) -> OrderError:
    return OrderError(ENOTSUP, step_text(lib.NETNS_STEP_START_THREAD), None, why)


def start_thread(fn: t.Callable[[], object]) -> None:
    """fn() on a new kernel thread, whatever has become of Python's own threads.

    Who waits for it does so in a SimpleQueue of C: gevent's and eventlet's locks
    are for greenlets, and an interrupt can't leave the queue half changed.
    """
    if sys.is_finalizing():  # no other thread runs Python any more
        raise _no_thread("no thread can be started while the interpreter shuts down")
    _start_thread(fn)


def is_green(thing: object) -> bool:
    """Whether gevent or eventlet has put it in the place of the standard library's."""
    return getattr(thing, "__module__", "").partition(".")[0] in ("gevent", "eventlet")


def refuse_greenlets() -> None:
    """Raises OrderError if a threading.Thread is a greenlet of its creator's thread."""
    start = _thread.start_new_thread
    if not isinstance(start, BuiltinFunctionType):
        by = getattr(start, "__module__", None) or "a monkey patch"
        raise _no_thread(
            f"its workers would be greenlets of this thread ({by} has replaced threads); "
            "call do_in_thread(), or do() in a pool of real threads"
        )


def has_files(ns: Handle) -> bool:
    """Whether a namespace that was opened by name has files in /etc/netns."""
    return ns._name is not None and isdir(f"/etc/netns/{ns._name}")


_MOST = 8  # of what could not be set up; each takes a page


def try_setup_exec(name: t.Optional[str]) -> list[Error]:
    """Gives the calling thread, which is inside for good, the /sys and /etc of a name.

    Returns what could not be set up, as errors that nobody raises.
    """
    left_out = allocate("struct netns_error[]", _MOST)
    encoded = ffi.NULL if name is None else fsencode(name)
    count = call(lib.netns_setup_exec, encoded, left_out, _MOST)
    return [
        from_native(each.err, each.step, ffi.string(each.path))
        for each in left_out[0 : min(count, _MOST)]
    ]


def setup_exec(ns: Handle) -> None:
    """The same, with a warning for what could not be set up."""
    left_out = try_setup_exec(ns._name)
    if left_out:
        import warnings

        for each in left_out:
            warnings.warn(f"left as it was: {each}", RuntimeWarning, stacklevel=2)


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


def end_event_loop() -> None:
    """Ends the event loop that the calling thread got where its code waited greenly.

    gevent and eventlet keep it, with its descriptors and threads, when the thread ends.
    """
    modules = sys.modules
    gevent, eventlet = modules.get("gevent._hub_local"), modules.get("eventlet.hubs")
    hub = gevent.get_hub_if_exists() if gevent else None
    if hub is not None:
        hub.destroy(destroy_loop=True)
    hub = getattr(eventlet._threadlocal, "hub", None) if eventlet else None
    if hub is not None:
        hub.abort(wait=True)
        del eventlet._threadlocal.hub  # type: ignore[union-attr]


class Job:
    """A function that a new thread runs while its caller waits.

    It is no threading.Thread: that may be a greenlet of its creator's thread, and an
    interrupt in its start() may leave locks taken for good. The caller may be
    interrupted while it waits; whichever of the two threads comes second then abandons
    the result.

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
        self._results: list[t.Any] = []  # popped by whoever abandons it
        self._error: t.Optional[BaseException] = None
        self._first = [True]  # popped by whichever of the two threads comes first

    def run(self) -> t.Any:
        """The function's result, or what it raised, when its thread is through."""
        done: SimpleQueue[None] = SimpleQueue()
        try:
            start_thread(lambda: self._main(done))
            done.get()
            return self._take()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Each of the two threads calls it to be rid of the result. The second abandons it."""
        try:
            self._first.pop()
            return
        except IndexError:
            pass
        try:
            result = self._results.pop()
        except IndexError:
            return
        self._abandon(result)

    def _take(self) -> t.Any:
        error, self._error = self._error, None
        if error is None:
            return self._results[0]
        try:
            raise error
        finally:
            del error  # its traceback holds this frame, which would hold it

    def _main(self, done: SimpleQueue[None]) -> None:
        try:
            introduce(self._name)
            assert self._fn is not None
            self._results.append(self._context.run(self._fn))
        except BaseException as error:
            self._error = error
        try:
            self._fn = None  # and what it holds, before the caller goes on
            self.abandon()
            end_event_loop()
        finally:
            # Since 3.13 it goes with its thread, except under gevent.
            threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]
            done.put(None)


def run_in_thread(
    ns: Handle, fn: t.Callable[..., t.T], args: tuple[t.Any, ...], kwargs: dict[str, t.Any]
) -> t.T:
    """fn's result, or its exception, from a thread that moves into ns and ends."""

    def inside() -> t.T:
        move_in(ns)
        return fn(*args, **kwargs)

    result: t.T = Job("netns-do", inside).run()
    return result
