"""asyncio: child processes born inside, noticed and talked to by the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from _thread import start_new_thread
from asyncio.subprocess import Process
from signal import SIGKILL, SIGTERM

from ._errors import wrong_value
from ._process import birth, end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import Any

    from ._errand import Errand
    from ._handle import NetNS

_TEXT_OR_SHELL = ("bufsize", "encoding", "errors", "shell", "text", "universal_newlines")


async def create(ns: NetNS, argv: list[Any], limit: int, kwargs: dict[str, Any]) -> Child:
    for name in _TEXT_OR_SHELL:
        if kwargs.get(name):
            raise wrong_value("streams are of bytes, unbuffered, and there is no shell", name)
    kwargs["bufsize"] = 0
    child = Child(await _wait(birth(ns, argv, kwargs)))
    try:
        await child._connect(limit)
    except BaseException:
        child._end()
        raise
    return child


async def _wait(errand: Errand) -> Any:
    """As its wait(), without blocking the loop."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    errand.start(lambda: _tell(loop, over.set))
    try:
        await over.wait()
    except asyncio.CancelledError:
        errand.give_up()
        # Not before the child is gone: the loop, the process may be about to end.
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        raise
    except BaseException:  # closed with its loop
        errand.give_up()
        raise
    return errand.take()


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # it was closed; nobody waits
        loop.call_soon_threadsafe(what)


class End(asyncio.StreamReaderProtocol):
    """Our end of a pipe, closed as soon as the other is; it keeps its reader."""

    def __init__(self, limit: int) -> None:
        self.reader = asyncio.StreamReader(limit)
        super().__init__(self.reader)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # uvloop would keep the pipe open


class Child(Process):
    """An `asyncio.subprocess.Process` about a child that was begun elsewhere."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._exited = asyncio.Event()
        self._pidfd: io.FileIO | None = None
        self._pipes: list[Any] = []
        self.stdin = self.stdout = self.stderr = None
        self.pid = child.pid
        try:
            # A file, for it closes itself should the loop be gone before the child.
            self._pidfd = io.FileIO(os.pidfd_open(child.pid))
            self._loop.add_reader(self._pidfd, self._reap)
        except (AttributeError, OSError):  # not before Linux 5.3; not in each sandbox
            self._watch_on_a_thread()

    def _watch_on_a_thread(self) -> None:
        def watch() -> None:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            _tell(self._loop, self._reap)

        start_new_thread(watch, ())

    def _reap(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            self._pidfd.close()
            self._pidfd = None
        self._child.wait()
        self._exited.set()

    async def _connect(self, limit: int) -> None:
        """The pipes, each of which goes from the child to its transport."""
        child, loop = self._child, self._loop
        if child.stdin is not None:
            file, child.stdin = child.stdin, None
            end = await self._pipe(loop.connect_write_pipe, file, limit)
            self.stdin = asyncio.StreamWriter(self._pipes[0], end, end.reader, loop)
        if child.stdout is not None:
            file, child.stdout = child.stdout, None
            self.stdout = (await self._pipe(loop.connect_read_pipe, file, limit)).reader
        if child.stderr is not None:
            file, child.stderr = child.stderr, None
            self.stderr = (await self._pipe(loop.connect_read_pipe, file, limit)).reader

    async def _pipe(self, connect: Callable[..., Any], file: Any, limit: int) -> End:
        end: End
        try:
            transport, end = await connect(lambda: End(limit), file)
        except BaseException:
            with contextlib.suppress(OSError):  # a uvloop has closed its descriptor
                file.close()
            raise
        self._pipes.append(transport)
        return end

    def _end(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        end(self._child)
        self._reap()

    @property
    def returncode(self) -> int | None:
        return self._child.returncode if self._exited.is_set() else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid}>"

    async def wait(self) -> int:
        await self._exited.wait()
        status: int = self._child.returncode
        return status

    def send_signal(self, signal: int) -> None:
        if self._exited.is_set():
            raise ProcessLookupError
        self._child.send_signal(signal)

    def terminate(self) -> None:
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        self.send_signal(SIGKILL)

    async def communicate(
        self, input: bytes | bytearray | memoryview | None = None
    ) -> tuple[Any, Any]:  # bytes, or None of what is no pipe
        out, err, _ = await asyncio.gather(
            _read(self.stdout), _read(self.stderr), self._feed(input)
        )
        await self.wait()
        return out, err

    async def _feed(self, input: bytes | bytearray | memoryview | None) -> None:
        if self.stdin is None:
            return
        # The child may not read all, or nothing.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if input is not None and not self.stdin.is_closing():
                self.stdin.write(input)
            await self.stdin.drain()
        self.stdin.close()


async def _read(stream: asyncio.StreamReader | None) -> bytes | None:
    return None if stream is None else await stream.read()
