"""Work on a thread made for it, whatever interrupts those who wait for it."""

from __future__ import annotations

import sys
import threading
from _thread import allocate_lock, start_new_thread
from contextvars import copy_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Errand:
    """Work that a thread of its own does, with the context variables of who sends it.

    Not a threading.Thread: an interrupt in its start() may leave locks taken
    for good. Of the thread made here and of its sender, the one that comes
    second sees what the other did: a result is taken, or undone, by just one.

    Args:
        name: the thread's.
        work: gives the result.
        undo: what becomes of a result that nobody waits for any more.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Any],
        undo: Callable[[Any], object] = lambda result: None,
    ) -> None:
        self._name = name
        self._work: Callable[[], Any] | None = work
        self._context = copy_context()
        self._undo = undo
        self._result: Any = None
        self._error: BaseException | None = None
        self._settled = allocate_lock()  # taken by who comes first, never released

    def start(self, tell: Callable[[], object]) -> None:
        """Let the thread begin; it calls tell() when all is over."""
        start_new_thread(self._live, (tell,))

    def wait(self) -> Any:
        """Do all of it: the result, or what the work raised."""
        over = allocate_lock()
        over.acquire()
        try:
            self.start(over.release)
            over.acquire()
            return self.take()
        except BaseException:
            self.give_up()
            raise

    def take(self) -> Any:
        """What came of it, after tell() was called."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame, which would hold it

    def give_up(self) -> None:
        """Undo the result, as soon as there is one."""
        if not self._settled.acquire(False):
            self._drop()

    def _drop(self) -> None:
        result, self._result = self._result, None
        if result is not None:
            self._undo(result)

    def _live(self, tell: Callable[[], object]) -> None:
        try:
            introduce(self._name)
            assert self._work is not None
            self._result = self._context.run(self._work)
        except BaseException as error:
            self._error = error
        try:
            self._work = None  # and what it holds, before anybody hears of its end
            if not self._settled.acquire(False):
                self._drop()
        finally:
            if sys.version_info < (3, 13):  # since then it goes with its thread
                threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]
            tell()


def introduce(name: str) -> None:
    """The calling thread to `threading`, which did not start it."""
    threading.current_thread().name = name
    if sys.version_info >= (3, 10):
        # Of debuggers and the like.
        trace, profile = threading.gettrace(), threading.getprofile()
        if trace is not None:
            sys.settrace(trace)
        if profile is not None:
            sys.setprofile(profile)
