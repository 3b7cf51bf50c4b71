"""Namespaces made ahead, for who needs many and can't wait for each."""

from __future__ import annotations

import os
from _queue import Empty, SimpleQueue
from _thread import allocate_lock, start_new_thread
from errno import EBADF, EINVAL

from ._create import new
from ._errors import ClosedError, OrderError, step_text
from ._handle import number
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from typing_extensions import Self

    from ._handle import NetNS

    Made = Union[NetNS, Exception, None]


class Pool:
    """Fresh namespaces, made ahead on a thread of the pool's: see `pool`."""

    def __init__(self, size: int) -> None:
        self._size = number(size, "a pool's size", 1)
        self._pid = 0  # of the process that entered it
        self._running = False
        self._over = allocate_lock()  # held by the maker
        # The queues are C's: an interrupt can't leave them half changed.
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._again: SimpleQueue[bool] = SimpleQueue()
        self._made: SimpleQueue[Made] = SimpleQueue()

    def take(self) -> NetNS:
        """One of the namespaces made ahead; waits where they are used up.

        Returns:
            A handle, the caller's to close.

        Raises:
            What `new` raises: the maker tries again then.
            ClosedError: the pool is not entered, or was left.
            OrderError: it was entered in the parent of this process.

        Thread: any. No thread of the caller's moves.
        Privilege: none beyond what entering the pool took.
        Since: Linux 4.9. Source: unshare(2).
        """
        if not self._running:
            raise self._left()
        if self._pid != os.getpid():
            raise self._misused("a pool is of the process that entered it")
        made = self._made.get()
        if made is None:
            self._made.put(None)  # for the next who waits
            raise self._left()
        if isinstance(made, Exception):
            self._again.put(True)
            raise made
        self._wanted.put(True)
        return made

    def _left(self) -> ClosedError:
        step = step_text(lib.NETNS_STEP_USE_HANDLE)
        return ClosedError(EBADF, step, None, "the pool is not entered, or was left")

    def _misused(self, why: str) -> OrderError:
        return OrderError(EINVAL, step_text(lib.NETNS_STEP_CHECK_ORDER), None, why)

    def _make(self) -> None:
        try:
            while self._wanted.get():
                made = self._one()
                while self._running and isinstance(made, Exception):
                    self._made.put(made)
                    self._again.get()
                    made = self._one()
                self._made.put(made)
                if not self._running:
                    break
        finally:
            self._discard()
            self._over.release()

    def _one(self) -> Made:
        try:
            return new()
        except Exception as error:
            return error

    def __enter__(self) -> Self:
        if self._pid:
            raise self._misused("a pool is entered once")
        self._pid = os.getpid()
        self._over.acquire()
        try:
            self._running = True
            start_new_thread(self._make, ())
            for _ in range(self._size):
                self._wanted.put(True)
        except BaseException:
            self._stop()  # and not wait, for there may be no maker
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()
        if self._pid == os.getpid():
            self._over.acquire()
        self._discard()
        self._made.put(None)

    def _stop(self) -> None:
        self._running = False
        self._wanted.put(False)
        self._again.put(False)

    def _discard(self) -> None:
        while True:
            try:
                made = self._made.get_nowait()
            except Empty:
                return
            if made is not None and not isinstance(made, Exception):
                made.close()


def pool(size: int) -> Pool:
    """Namespaces made ahead, handed over in microseconds: ``with netns.pool(size) as p:``.

    A thread of the pool's makes `size` of them when it is entered, and a new
    one for each that ``p.take()`` hands over. They are as by `new`, made with the
    privileges of the thread that enters. What was not taken is closed at the end,
    when the thread is gone as well.

    Args:
        size: how many to hold ready, an int from 1.

    Returns:
        A context manager.

    Raises:
        InvalidTypeError, InvalidValueError: no such size.
        RuntimeError (at the start of the block): no thread can be started.
        OrderError (at the start of the block): it was entered before.

    Thread: any. No thread of the caller's moves.
    Privilege: CAP_SYS_ADMIN in the thread's user namespace.
    Since: Linux 4.9. Source: unshare(2).
    """
    return Pool(size)
