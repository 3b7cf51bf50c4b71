"""The agent of examples/: up, down and gone are told; nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import agent
import pytest

import netns
from support import unshare_run_directory

COMMAND = [sys.executable, "-W", "error", agent.__file__]
PORTS = 8080, 9090


class Log:
    """What the agent writes, in a FIFO: each line is awaited."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path, self.fd, self.rest = path, os.open(path, os.O_RDWR), b""

    def line(self) -> tuple[str, str]:
        while b"\n" not in self.rest:
            assert select.select([self.fd], [], [], 30)[0]
            self.rest += os.read(self.fd, 4096)
        line, _, self.rest = self.rest.partition(b"\n")
        told = json.loads(line)
        return told["namespace"], told["service"]

    def lines(self, count: int) -> set[tuple[str, str]]:
        return {self.line() for _ in range(count)}


@pytest.fixture
def rundir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run"
    yield path
    netns.delete(*netns.names(rundir=path), rundir=path)
    unshare_run_directory(path)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "log")
    yield made
    os.close(made.fd)


def make(rundir: Path, name: str, port: int) -> socket.socket:
    """A namespace whose service is this socket, which alone holds it beside its name.

    It gets the name when the service is there: the agent may look at once.
    """
    with netns.new() as ns:
        ns.run(["ip", "link", "set", "lo", "up"], check=True)
        server = ns.create_server(("127.0.0.1", port))
        ns.pin(name, rundir=rundir)
        return server


def configure(path: Path, port: int) -> None:
    path.write_text(json.dumps({"port": port, "interval": 0.1, "timeout": 5}))


@contextlib.contextmanager
def running(log: Log, *options: str) -> Iterator[int]:
    done = subprocess.run(
        [*COMMAND, "--daemon", "--log", str(log.path), *options],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    pid = int(done.stdout)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def await_end(pid: int) -> None:
    """It is no child of this process: a pidfd tells of its end."""
    fd = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGTERM)
        assert select.select([fd], [], [], 30)[0]
    finally:
        os.close(fd)


def test_agent(rundir: Path, tmp_path: Path, log: Log) -> None:
    names = [f"host{number}" for number in range(8)]
    servers = {name: make(rundir, name, PORTS[0]) for name in names}
    config = tmp_path / "config"
    configure(config, PORTS[0])
    with contextlib.ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server)
        with running(log, "--config", str(config), "--rundir", str(rundir)) as pid:
            assert log.lines(8) == {(name, "up") for name in names}
            # One descriptor each keeps a namespace, and none is left of before the daemon.
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]
            assert links == [os.devnull] * 3

            servers["host0"].close()
            assert log.line() == ("host0", "down")
            stack.enter_context(make(rundir, "late", PORTS[0]))
            assert log.line() == ("late", "up")

            ino = os.stat(rundir / "host1").st_ino
            netns.delete("host1", rundir=rundir)
            assert log.line() == ("host1", "gone")
            servers["host1"].close()
            # On Python 3.9 asyncio's streams leave cycles for the collector.
            while ino in {found.ino for found in netns.discover(descriptors=True)}:
                os.sched_yield()

            configure(config, PORTS[1])
            os.kill(pid, signal.SIGHUP)
            assert log.lines(7) == {(name, "down") for name in [*names[2:], "late"]}
            config.write_text("{")
            os.kill(pid, signal.SIGHUP)
            name, state = log.line()
            assert not name
            assert state.startswith("the configuration stays as it was")
            await_end(pid)


@pytest.mark.parametrize("options", [["--daemon"], ["--config", "/nowhere"]])
def test_refused_before_it_begins(options: list[str]) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, timeout=60)
    assert done.returncode
    assert b"agent.py: " in done.stderr
