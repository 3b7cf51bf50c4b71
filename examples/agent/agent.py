"""Watches a TCP service in every named network namespace of a host, in one thread.

    python agent.py [--config FILE] [--rundir DIR] [--log FILE] [--daemon]

The file has JSON, {"port": 80, "interval": 10, "timeout": 2}, and is read again at
SIGHUP. A line of JSON tells of each change: a service is up or down, a name is gone.
SIGTERM ends it. With --daemon it goes on in the background, and its id is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TextIO

import netns

AT_ONCE = 100  # checks; each has a descriptor or two


@dataclass
class Config:
    port: int = 80
    interval: float = 10  # seconds between two checks of a service
    timeout: float = 2  # seconds in which it must answer


def read_config(path: str | None) -> Config:
    if path is None:
        return Config()
    with open(path) as file:
        return Config(**json.load(file))


class Agent:
    def __init__(self, config: str | None, rundir: str | None, log: TextIO) -> None:
        self.path, self.rundir, self.log = config, rundir, log
        self.config = read_config(config)
        self.checks: dict[str, asyncio.Task[None]] = {}  # one for each name

    def tell(self, name: str, state: str) -> None:
        line = {"time": round(time.time(), 3), "namespace": name, "service": state}
        print(json.dumps(line), file=self.log, flush=True)

    def reload(self) -> None:
        try:
            self.config = read_config(self.path)
        except (OSError, TypeError, ValueError) as error:
            self.tell("", f"the configuration stays as it was: {error}")
        self.changed.set()
        self.changed.clear()

    async def dial(self, ns: netns.NetNS) -> str:
        """The state of the service: all that happens in the block happens inside."""
        async with self.turns, ns.enter():
            connecting = asyncio.open_connection("127.0.0.1", self.config.port)
            try:
                _, writer = await asyncio.wait_for(connecting, self.config.timeout)
            except (OSError, asyncio.TimeoutError):
                return "down"
            writer.close()
            return "up"

    async def check(self, name: str) -> None:
        """One name, until it is taken away; a handle alone would keep the namespace."""
        state = ""
        try:
            with netns.open(name, rundir=self.rundir) as ns:
                while True:
                    before, state = state, await self.dial(ns)
                    if state != before:
                        self.tell(name, state)
                    await self.pause()
        except netns.Error as error:
            self.tell(name, str(error))

    async def pause(self) -> None:
        """Until the next check, or until the configuration has changed."""
        try:
            await asyncio.wait_for(self.changed.wait(), self.config.interval)
        except asyncio.TimeoutError:
            return

    async def follow(self) -> None:
        with netns.watch(rundir=self.rundir) as changes:
            for name in changes.names:
                self.checks[name] = asyncio.create_task(self.check(name))
            async for kind, name in changes:
                if kind == "appeared":
                    self.checks[name] = asyncio.create_task(self.check(name))
                else:
                    await self.end(name)
                    self.tell(name, "gone")

    async def end(self, *names: str) -> None:
        ended = {self.checks.pop(name) for name in names}
        while ended:  # before Python 3.12, asyncio.wait_for() may swallow one cancel()
            for check in ended:
                check.cancel()
            _, ended = await asyncio.wait(ended, timeout=1)

    async def run(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.changed = asyncio.Event()
        loop, following = asyncio.get_running_loop(), asyncio.ensure_future(self.follow())
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, following.cancel)
        try:
            await following
        except asyncio.CancelledError:
            await self.end(*self.checks)


def daemonize() -> None:
    """As daemons have always begun: no terminal, no descriptor of before."""
    if os.fork():
        os._exit(0)
    os.setsid()
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    os.chdir("/")
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", metavar="FILE", type=os.path.abspath)
    parser.add_argument("--rundir", metavar="DIR", type=os.path.abspath)
    parser.add_argument("--log", metavar="FILE", type=os.path.abspath, help="(default: stdout)")
    parser.add_argument("--daemon", action="store_true", help="needs --log")
    options = parser.parse_args()
    if options.daemon and not options.log:
        parser.error("a daemon has no standard output: where shall it --log?")
    try:
        netns.names(rundir=options.rundir)  # what is refused is refused now
        read_config(options.config)
    except (netns.Error, OSError, TypeError, ValueError) as error:
        return print(f"agent.py: {error}", file=sys.stderr) or 1
    if options.daemon:
        daemonize()
    with open(options.log, "a") if options.log else sys.stdout as log:
        asyncio.run(Agent(options.config, options.rundir, log).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
