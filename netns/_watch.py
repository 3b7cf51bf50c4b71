"""Names as they come and go."""

from __future__ import annotations

import os
import select
from collections import namedtuple

from ._discover import pinned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NamedTuple

    from typing_extensions import Self

    from ._handle import Directory

    class Change(NamedTuple):
        kind: str
        name: str
else:
    Change = namedtuple("Change", ["kind", "name"])
    Change.__doc__ = "A name that 'appeared' or 'disappeared' (kind, name: str)."


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

    def __init__(self, timeout: float | None, rundir: Directory | None) -> None:
        self._timeout = timeout
        self._rundir = rundir
        self._changes: list[Change] = []
        # Polled for exceptional conditions alone: it is always readable.
        self._mounts = os.open("/proc/thread-self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._epoll = select.epoll()
            self._epoll.register(self._mounts, select.EPOLLPRI)
            self.names = pinned(rundir)
        except BaseException:
            os.close(self._mounts)
            raise

    def fileno(self) -> int:
        """A descriptor that is readable when there may be changes (int).

        For an event loop of one's own, which then takes `pending`; and once
        behind registering it, for that may take the first change's notice.

        Thread: any. Privilege: none. Since: Linux 2.6.30.
        Source: proc_pid_mountinfo(5), epoll(7).
        """
        return self._epoll.fileno()

    def pending(self) -> list[Change]:
        """What has changed since it was last asked, without waiting.

        Returns:
            A list of `Change`; those that disappeared first. A name that was
            given to another namespace meanwhile disappears and appears.

        Raises:
            What `netns.names` raises. Nothing is lost: the next call tells.

        Thread: one at a time. Privilege: as `netns.names`. Since: Linux 4.9.
        Source: proc_pid_mountinfo(5).
        """
        # Forget the wake-up before looking, or what comes behind would be lost.
        self._epoll.poll(0)
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

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        from time import monotonic

        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._changes:
            left = None if deadline is None else max(0, deadline - monotonic())
            self._epoll.poll(left)
            self._changes = self.pending()
            if not self._changes and left == 0:
                raise StopIteration
        return self._changes.pop(0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else loop.time() + self._timeout
        while not self._changes:
            left = None if deadline is None else max(0, deadline - loop.time())
            changed = asyncio.Event()
            loop.add_reader(self._epoll.fileno(), changed.set)
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
                loop.remove_reader(self._epoll.fileno())
        return self._changes.pop(0)

    def close(self) -> None:
        """Stop watching. Closing twice is fine.

        Thread: any, but not while another one waits. Privilege: none.
        Since: any. Source: close(2).
        """
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._mounts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "names") and not self._epoll.closed:
            from _warnings import warn

            warn(f"unclosed {self!r}", ResourceWarning, 2, self)
            self.close()


def watch(*, timeout: float | None = None, rundir: Directory | None = None) -> Watch:
    """Names appearing and disappearing in the run directory.

        with netns.watch() as changes:
            for kind, name in changes: ...

    Args:
        timeout: seconds; iteration ends when nothing has changed for so long,
            and may be begun again. None waits for ever.
        rundir: the run directory, as for `open`. It need not exist.

    Returns:
        An iterator, plain (``for``) and asynchronous (``async for``), of pairs
        ``(kind, name)``, kind being "appeared" or "disappeared". Its ``names``
        has those that were there at the start. To be closed, as by ``with``.

    Raises:
        What `names` raises, also while iterating.

    Thread: any, one at a time; the mount namespace is that of the one that
        began. Privilege: as `names`.
    Since: Linux 4.9. Source: proc_pid_mountinfo(5).
    """
    return Watch(timeout, rundir)
