"""Names as they come and go."""

from __future__ import annotations

import errno
import select
from io import FileIO
from typing import NamedTuple

from ._discover import pinned
from ._errors import OrderError, closed, from_native, wrong_type, wrong_value
from ._lazy import _types as t
from ._native import lib


class Change(NamedTuple):
    """A name that 'appeared' or 'disappeared' (kind)."""

    kind: str
    name: str


_LONGEST = (2**31 - 1) // 1000  # epoll_wait(2) takes milliseconds, a C int


class Watch:
    """Names appearing and disappearing: an iterator, plain or asynchronous.

    What is watched is the mount table, not the directory (a namespace has a
    name from the moment that it is mounted there until it is not), by polling
    ``/proc/thread-self/mountinfo``, which tells of every change. So a name is
    never reported before it can be opened, nothing is lost while the run
    directory is made, removed or mounted over, and there is no queue to
    overflow. inotify, of the library's own or another's, would tell of files
    only, before there is a namespace behind them.

    Attributes:
        names: those known so far (dict of str to inode number); the changes are
            relative to it. At first, all that there are.
    """

    def __init__(self, timeout: t.Optional[float], rundir: t.Optional[t.Directory]) -> None:
        self._timeout = timeout
        self._rundir = rundir
        self._changes: list[Change] = []
        self._wake: t.Optional[t.Callable[[], None]] = None  # the task that waits
        path = "/proc/thread-self/mountinfo"
        try:
            # Objects that close themselves, should an interrupt fall in between.
            self._epoll = select.epoll()
            self._mounts = FileIO(path)
            # For exceptional conditions alone: it is always readable.
            self._epoll.register(self._mounts, select.EPOLLPRI)
        except OSError as error:
            number = error.errno or errno.EIO
            raise from_native(number, lib.NETNS_STEP_READ_MOUNTS, path.encode()) from None
        try:
            self.names = pinned(rundir)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """A descriptor that is readable when there may be changes (int).

        For an event loop of one's own, which then takes `pending`; and once
        behind registering it, for that may take the first change's notice.

        Raises:
            ClosedError: the watch is closed.

        Thread: any. Privilege: none. Since: Linux 2.6.30.
        Source: proc_pid_mountinfo(5), epoll(7).
        """
        if self._epoll.closed:
            raise closed()
        return self._epoll.fileno()

    def pending(self) -> list[Change]:
        """What has changed since it was last asked, without waiting.

        Returns:
            A list of `Change`; those that disappeared first. A name that was
            given to another namespace meanwhile disappears and appears.

        Raises:
            What `netns.names` raises. Nothing is lost: the next call tells.
            ClosedError: the watch is closed.

        Thread: one at a time. Privilege: as `netns.names`. Since: Linux 4.9.
        Source: proc_pid_mountinfo(5).
        """
        # Forget the wake-up before looking, or what comes behind would be lost.
        self._poll(0)
        now = pinned(self._rundir)
        before, self.names = self.names, now
        changes = self._changes
        self._changes = []
        changes += [
            Change("disappeared", name)
            for name, ino in sorted(before.items())
            if now.get(name) != ino
        ]
        changes += [
            Change("appeared", name)
            for name, ino in sorted(now.items())
            if before.get(name) != ino
        ]
        return changes

    def _poll(self, timeout: t.Optional[float]) -> None:
        self.fileno()
        self._epoll.poll(timeout)

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        from time import monotonic

        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._changes:
            left = None if deadline is None else max(0, deadline - monotonic())
            self._poll(left)
            self._changes = self.pending()
            if not self._changes and left == 0:
                raise StopIteration
        return self._changes.pop(0)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else loop.time() + self._timeout
        while not self._changes:
            left = None if deadline is None else max(0, deadline - loop.time())
            if self._wake is not None:
                raise OrderError(errno.EBUSY, "wait for names", None, "another task waits already")
            fd = self.fileno()
            changed = asyncio.Event()

            # At once, or close() would leave the loop a descriptor that may be reused.
            def wake(fd: int = fd, changed: asyncio.Event = changed) -> None:
                if self._wake is wake:
                    self._wake = None
                    loop.remove_reader(fd)
                    changed.set()

            self._wake = wake
            loop.add_reader(fd, wake)
            try:
                # The mount table tells of a change once, and to begin polling
                # (some loops do it at their next turn) may be when: so look
                # behind that, and wait for what comes later.
                await asyncio.sleep(0)
                self._changes = self.pending()
                if not self._changes:
                    await asyncio.wait_for(changed.wait(), left)
                    self._changes = self.pending()
            except asyncio.TimeoutError:
                raise StopAsyncIteration from None
            finally:
                wake()
        return self._changes.pop(0)

    def close(self) -> None:
        """Stop watching. Closing twice is fine; a task that waits gets `ClosedError`.

        Thread: any, but not while another one waits; that of the event loop
            while a task does. Privilege: none.
        Since: any. Source: close(2).
        """
        if not self._epoll.closed:
            if self._wake is not None:
                self._wake()
            self._epoll.close()
            self._mounts.close()

    def __enter__(self) -> Watch:
        self.fileno()
        return self

    def __exit__(
        self,
        kind: t.Optional[type[BaseException]],
        error: t.Optional[BaseException],
        traceback: t.Optional[t.TracebackType],
    ) -> None:
        self.close()


def watch(*, timeout: t.Optional[float] = None, rundir: t.Optional[t.Directory] = None) -> Watch:
    """Names appearing and disappearing in the run directory.

        with netns.watch() as changes:
            for kind, name in changes: ...

    Args:
        timeout: seconds (int or float, from 0); iteration ends when nothing has
            changed for so long, and may be begun again. None waits for ever.
        rundir: the run directory, as for `open`. It need not exist.

    Returns:
        An iterator, plain (``for``) and asynchronous (``async for``), of pairs
        ``(kind, name)``, kind being "appeared" or "disappeared". Its ``names``
        has those that were there at the start. To be closed, as by ``with``.

    Raises:
        What `names` raises, also while iterating.
        InvalidTypeError, InvalidValueError: timeout cannot be one.
        While iterating, ClosedError: it was closed. OrderError: another task
        waits already.

    Thread: any, one thread and one task at a time; the mount namespace is that
        of the thread that began. Privilege: as `names`.
    Since: Linux 4.9. Source: proc_pid_mountinfo(5).
    """
    if timeout is not None:
        if not isinstance(timeout, (int, float)):
            raise wrong_type("a timeout is in seconds (int or float)", timeout)
        if not 0 <= timeout <= _LONGEST:
            raise wrong_value(f"a timeout is from 0 to {_LONGEST} seconds", timeout)
    return Watch(timeout, rundir)
