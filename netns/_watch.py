"""Names as they come and go."""

from __future__ import annotations

import errno
import os
import select
from importlib.util import find_spec, module_from_spec
from io import FileIO
from typing import NamedTuple

from ._call import directories
from ._discover import Pin, pinned
from ._errors import OrderError, closed, from_native, wrong_type, wrong_value
from ._lazy import _types as t
from ._native import lib


class Change(NamedTuple):
    """A name that 'appeared' or 'disappeared' (kind)."""

    kind: str
    name: str


def _make_epoll() -> select.epoll:
    """An epoll object, also where gevent or eventlet has taken the class away."""
    module: t.Any = select
    if not hasattr(module, "epoll"):
        spec = find_spec("select")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    epoll: select.epoll = module.epoll()
    return epoll


def _above_standard_streams(make: t.Callable[[], t.T]) -> t.T:
    """What make() opens; not as descriptor 0, 1 or 2, where those are closed."""
    low: list[t.Any] = []
    try:
        while True:
            made: t.Any = make()
            if made.fileno() > 2:
                return made  # type: ignore[no-any-return]
            low.append(made)
    finally:
        for other in low:
            other.close()


# Entries made, removed and renamed, and the directory itself (inotify(7)).
_LINKS = 0x100 | 0x200 | 0x40 | 0x80 | 0x400 | 0x800


_LONGEST = (2**31 - 1) // 1000  # epoll_wait(2) takes milliseconds, a C int


class Watch:
    """Names appearing and disappearing: an iterator, plain or asynchronous.

    What is watched is the mount table (a namespace has a name from the moment
    that it is mounted there until it is not), by polling
    ``/proc/thread-self/mountinfo``, which tells of every change. So a name is
    never reported before it can be opened, nothing is lost while the run
    directory is made, removed or mounted over, and there is no queue to
    overflow. Only of names that are links the mount table knows nothing: the
    directory is watched as well, by inotify, whose word is only when to look.
    That a link's target has gone nobody tells: it is seen at the next look.

    """

    def __init__(self, timeout: t.Optional[float], rundir: t.Optional[t.Directory]) -> None:
        self._timeout = timeout
        self._rundir = rundir
        # True from before the kernel is asked for a notice, which it gives once, until
        # somebody has looked: neither an error nor an interrupt loses one.
        self._unseen = False
        self._wake: t.Optional[t.Callable[[], None]] = None  # the task that waits
        path = "/proc/thread-self/mountinfo"
        try:
            # Objects that close themselves, should an interrupt fall in between.
            self._epoll = _above_standard_streams(_make_epoll)
            self._mounts = _above_standard_streams(lambda: FileIO(path))
            # For exceptional conditions alone: it is always readable.
            self._epoll.register(self._mounts, select.EPOLLPRI)
            self._directories: set[int] = set()  # what inotify knows them by
            self._links = self._watch_links()
        except OSError as error:
            number = error.errno or errno.EIO
            raise from_native(number, lib.NETNS_STEP_READ_MOUNTS, path.encode()) from None
        try:
            self._look_at_links()
            # The names as last seen, and the changes until then that nobody has taken:
            # one object, as an interrupt may come between any two assignments.
            self._state: tuple[dict[str, Pin], list[Change]] = (pinned(rundir), [])
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> dict[str, int]:
        """Those known so far, with their inode numbers (dict of str to int).

        The changes are relative to it. At first, all that there are.
        """
        return {name: pin.ino for name, pin in self._state[0].items()}

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
            given to another namespace meanwhile disappears and appears (one
            with the same inode number too, from Linux 6.8 on).

        Raises:
            What `netns.names` raises. Nothing is lost: the next call tells.
            ClosedError: the watch is closed.

        Thread: one at a time. Privilege: as `netns.names`. Since: Linux 4.9.
        Source: proc_pid_mountinfo(5).
        """
        # Forget the wake-up before looking, or what comes behind would be lost.
        self._poll(0)
        self._look()
        now, changes = self._state
        self._state = (now, [])
        return changes

    def _look(self) -> None:
        self._look_at_links()
        now = pinned(self._rundir)
        before, changes = self._state
        kept = {name for name in before.keys() & now if now[name].is_as(before[name])}
        now.update((name, before[name]) for name in kept if not now[name].mount)
        gone = [Change("disappeared", name) for name in sorted(before.keys() - kept)]
        come = [Change("appeared", name) for name in sorted(now.keys() - kept)]
        self._state = (now, changes + gone + come)
        self._unseen = False

    def _watch_links(self) -> t.Optional[FileIO]:
        # Users may have few of these: without one, links are seen with the mounts.
        try:
            links = _above_standard_streams(lambda: FileIO(b"inotify", opener=lib.open_inotify))
        except (OSError, ValueError):  # the opener returned -1
            return None
        self._epoll.register(links, select.EPOLLIN)
        return links

    def _look_at_links(self) -> None:
        if self._links is None:
            return
        while self._links.read(4096):
            pass
        inotify = self._links.fileno()
        watched: set[int] = set()
        for path in directories(self._rundir):
            number = lib.inotify_add_watch(inotify, path, _LINKS)
            if number < 0:  # there is none yet: its parent tells of it
                number = lib.inotify_add_watch(inotify, os.path.dirname(path), _LINKS)
            watched.add(number)
        for number in self._directories - watched:
            lib.inotify_rm_watch(inotify, number)
        self._directories = watched

    def _poll(self, timeout: t.Optional[float]) -> None:
        fd = self.fileno()
        self._unseen = True
        if timeout != 0 and not hasattr(select, "epoll"):
            # That of gevent and eventlet, in which this greenlet alone waits.
            select.select([fd], [], [], timeout)
            timeout = 0
        self._epoll.poll(timeout)

    def _take(self) -> Change:
        return self._state[1].pop(0)

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        from time import monotonic

        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._state[1]:
            left = None if deadline is None else max(0, deadline - monotonic())
            if not self._unseen:
                self._poll(left)
            self._poll(0)
            self._look()
            if not self._state[1] and left == 0:
                raise StopIteration
        return self._take()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else loop.time() + self._timeout
        while not self._state[1]:
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
                self._poll(0)
                self._look()
                if not self._state[1]:
                    await asyncio.wait_for(changed.wait(), left)
                    self._poll(0)
                    self._look()
            except asyncio.TimeoutError:
                raise StopAsyncIteration from None
            finally:
                wake()
        return self._take()

    def close(self) -> None:
        """Stop watching. Closing twice is fine; a task that waits gets `ClosedError`.

        Thread: any, but not while another one waits; that of the event loop
            while a task does. Privilege: none.
        Since: any. Source: close(2).
        """
        # Each may be closed already, where an interrupt ended the first attempt.
        if self._wake is not None:
            self._wake()
        self._epoll.close()
        self._mounts.close()
        if self._links is not None:
            self._links.close()

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
