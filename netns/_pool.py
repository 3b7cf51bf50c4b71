"""Namespaces made ahead, for programs that can't wait for each."""

from __future__ import annotations

import os
from _queue import Empty, SimpleQueue
from errno import EBADF, EINVAL
from weakref import ref

from ._call import lib, number
from ._create import new
from ._errors import ClosedError, OrderError, step_text
from ._handle import NetNS
from ._lazy import _types as t
from ._threads import start_thread


class Worker:
    """The thread that makes them, and all that it shares with its pool.

    It makes namespaces until enough are ready, and looks again whenever it is woken.
    So it replaces a namespace that was lost to an interrupt. It also tells waiting
    takers that the pool was left, because no signal handler runs on this thread. It
    holds no reference to the pool: dropping the pool wakes and ends it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.running = False
        # The queues are C's: an interrupt can't leave them half changed. A message is
        # sent or it is not: True to look again, whatever else to end.
        self.messages: SimpleQueue[t.Any] = SimpleQueue()
        self.ready: SimpleQueue[t.Union[NetNS, Exception, None]] = SimpleQueue()
        self.ended: SimpleQueue[None] = SimpleQueue()
        self.dropped: t.Any = None

    def start(self, pool: Pool) -> None:
        try:
            # The callback is C's too: it can't swallow an interrupt.
            self.dropped = ref(pool, self.messages.put)
            self.running = True
            start_thread(self.make)
        except BaseException:
            self.stop()
            self.running = False
            raise

    def stop(self) -> None:
        self.messages.put(None)

    def look_again(self) -> None:
        self.messages.put(True)

    def make(self) -> None:
        try:
            while self.fill() and self.messages.get() is True:
                pass
        finally:
            self.discard()
            self.running = False
            self.ready.put(None)
            self.ended.put(None)

    def fill(self) -> bool:
        """Makes what is missing. False if a message came to end meanwhile."""
        while all(message is True for message in _drain(self.messages)):
            if self.ready.qsize() >= self.size:
                return True
            try:
                self.ready.put(new())
            except Exception as error:
                self.ready.put(error)
                return True  # it tries again when somebody has seen the error
        return False

    def discard(self) -> None:
        for made in _drain(self.ready):
            if isinstance(made, NetNS):
                made.close()


class Pool:
    """Fresh namespaces, made ahead on a thread of the pool's: see `pool`."""

    def __init__(self, size: int) -> None:
        self._worker = Worker(number(size, "a pool's size", 1))
        self._pid = 0  # of the process that entered it

    def take(self) -> NetNS:
        """One of the namespaces made ahead; waits where they are used up.

        Returns:
            A handle, the caller's to close.

        Raises:
            What `new` raises: the pool tries again then.
            ClosedError: the pool is not entered, or was left.
            OrderError: it was entered in the parent of this process.

        Thread: any. No thread of the caller's moves.
        Privilege: none beyond what entering the pool took.
        Since: Linux 4.9. Source: unshare(2).
        """
        worker = self._worker
        if not worker.running:
            raise self._left()
        if self._pid != os.getpid():
            raise self._misused("a pool is of the process that entered it")
        if worker.ready.empty():
            worker.look_again()  # an interrupt may have kept somebody from it below
        try:
            taken = worker.ready.get()
        finally:
            if worker.running:
                worker.look_again()
            else:
                worker.ready.put(None)  # for the next who waits
        if taken is None:
            raise self._left()
        if isinstance(taken, Exception):
            raise taken
        return taken

    def _left(self) -> ClosedError:
        step = step_text(lib.NETNS_STEP_USE_HANDLE)
        return ClosedError(EBADF, step, None, "the pool is not entered, or was left")

    def _misused(self, why: str) -> OrderError:
        return OrderError(EINVAL, step_text(lib.NETNS_STEP_CHECK_ORDER), None, why)

    def __enter__(self) -> Pool:
        if self._pid:
            raise self._misused("a pool is entered once")
        self._pid = os.getpid()
        self._worker.start(self)
        return self

    def __exit__(self, *exc: object) -> None:
        worker = self._worker
        worker.stop()
        if self._pid != os.getpid():  # a fork's child has no worker
            worker.running = False
            worker.discard()
        elif worker.running:
            worker.ended.get()
            worker.ended.put(None)  # for another thread that leaves it as well


def _drain(queue: SimpleQueue[t.T]) -> list[t.T]:
    found: list[t.T] = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


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
        OrderError (at the start of the block): it was entered before, or the
            interpreter is shutting down.

    Thread: any. No thread of the caller's moves.
    Privilege: CAP_SYS_ADMIN in the thread's user namespace.
    Since: Linux 4.9. Source: unshare(2).
    """
    return Pool(size)
