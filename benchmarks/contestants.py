"""Who races: long-lived worker processes, and how each is built."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from operations import (
    CNI,
    COMPILED,
    FLOOR,
    GIL,
    IP,
    LSNS,
    NSENTER,
    OURS,
    PLAIN,
    PYPI_NETNS,
    PYPI_NSENTER,
    PYROUTE2,
    SETNS,
    SINGLY,
    VISHVANANDA,
    C,
    Operation,
)

HERE = Path(__file__).resolve().parent
TARGET = "bench-target"
SHARE = Path("/usr/share/gocode/src/github.com")  # where Debian has Go's packages
PATIENCE = 300  # seconds that a batch may take


class AbsentError(Exception):
    """Why a contestant does not take part."""


class FailedError(Exception):
    """What a contestant said when it failed."""


def command(*argv: object, **env: str) -> str:
    """A build step's output, or AbsentError with what it said last."""
    try:
        done = subprocess.run(
            [str(arg) for arg in argv],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError:
        raise AbsentError(f"no {argv[0]} on the path") from None
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise AbsentError(f"{argv[0]} failed: {last}")
    return done.stdout


class Worker(NamedTuple):
    process: subprocess.Popen[str]
    said: int  # a descriptor of what it wrote to its standard error


class Contestant:
    """Long-lived worker processes of one program: one on a CPU of its own, one anywhere."""

    def __init__(self, *program: object, args: tuple[str, ...] = (), **env: str) -> None:
        self.argv = [*map(str, program), TARGET, *args]
        self.env = {**os.environ, "PYTHONPATH": str(HERE), **env}
        self.workers: dict[bool, Worker] = {}
        self.operations: frozenset[str] = frozenset()
        try:
            self.start(True)
        except BaseException:
            self.close()
            raise

    def start(self, pinned: bool) -> None:
        cpus = {pinned_cpu()} if pinned else os.sched_getaffinity(0)

        def begin() -> None:
            os.sched_setaffinity(0, cpus)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the race ends them

        said = os.memfd_create("said")
        try:
            process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=self.env,
                preexec_fn=begin,
            )
        except BaseException:
            os.close(said)
            raise
        self.workers[pinned] = Worker(process, said)
        first = self.read(pinned)
        if first.startswith("absent: "):
            raise AbsentError(first[len("absent: ") :])
        self.operations = frozenset(first.split())

    def read(self, pinned: bool) -> str:
        process, said = self.workers[pinned]
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            raise FailedError(f"no answer in {PATIENCE} s")
        line = process.stdout.readline().strip()
        if line and not line.startswith("failed"):
            return line
        status = process.wait()
        words = os.pread(said, 1 << 20, 0).decode(errors="replace")
        raise FailedError(line or last_words(words) or f"it ended with status {status}")

    def spend(self, operation: Operation, count: int, present: int) -> int:
        """What so many calls take, in the operation's unit; FailedError where they fail.

        Whoever failed begins anew when it is next asked.
        """
        pinned = operation.pinned
        try:
            if pinned not in self.workers:
                self.start(pinned)
            pipe = self.workers[pinned].process.stdin
            assert pipe is not None
            print(operation.asks, count, present, file=pipe, flush=True)
            return int(self.read(pinned))
        except (OSError, ValueError, AbsentError) as error:
            self.close(pinned)
            raise FailedError(f"{type(error).__name__}: {error}") from error
        except FailedError:
            self.close(pinned)
            raise

    def close(self, *which: bool) -> None:
        for pinned in which or tuple(self.workers):
            if pinned in self.workers:
                process, said = self.workers.pop(pinned)
                process.kill()
                process.communicate()
                os.close(said)


def last_words(text: str) -> str:
    """The last line; of a traceback also the one before it, a command's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    begun = [i for i, line in enumerate(lines) if line.startswith("Traceback ")]
    before = lines[begun[0] - 1 : begun[0]] if begun and begun[0] else []
    return "; ".join(before + lines[-1:])


def pinned_cpu() -> int:
    """One that the kernel keeps free, where there is one; else the last."""
    isolated = Path("/sys/devices/system/cpu/isolated").read_text().strip()
    return int(isolated.replace("-", ",").split(",")[-1] or max(os.sched_getaffinity(0)))


CFLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"]


def floor(build: Path) -> Contestant:
    sources = [HERE / "floor.c", HERE / "floor_discover.c"]
    command("cc", *CFLAGS, "-o", build / "floor", *sources)
    return Contestant(build / "floor")


def library(build: Path, csrc: Path = HERE.parent / "csrc", name: str = "library") -> Contestant:
    out, archive = build / f"csrc-{name}", build / f"csrc-{name}/libnetns.a"
    command("make", "-s", "-C", csrc, f"out={out}", "static")
    command("cc", *CFLAGS, f"-I{csrc}", "-o", build / name, HERE / "library.c", archive)
    return Contestant(build / name)


def go(source: str, package: str, debian: str) -> Callable[[Path], Contestant]:
    def build(directory: Path) -> Contestant:
        if not (SHARE / package).is_dir():
            raise AbsentError(f"no {package} in {SHARE} (Debian: golang-go, {debian})")
        sources = [HERE / "peers" / f"{source}.go", HERE / "peers/protocol.go"]
        env = {"GO111MODULE": "off", "GOPATH": str(SHARE.parent.parent), "CGO_ENABLED": "0"}
        command("go", "build", "-o", directory / source, *sources, **env)
        return Contestant(directory / source)

    return build


def python(script: str, *args: str) -> Callable[[Path], Contestant]:
    return lambda build: Contestant(sys.executable, HERE / script, args=args)


def pypi_netns(build: Path) -> Contestant:
    """It has our import name, so it gets a directory and a process of its own."""
    where = build / "pypi"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--retries", "1"]
    command(*install, "-t", where, "netns==1.0")
    path = f"{where}:{HERE}"
    return Contestant(sys.executable, HERE / "peers/pypi_netns.py", PYTHONPATH=path)


CONTESTANTS: dict[str, Callable[[Path], Contestant]] = {
    FLOOR: floor,
    C: library,
    OURS: python("library.py"),
    GIL: python("library.py", "keep_gil"),
    SINGLY: python("library.py", "singly"),
    COMPILED: python("library.py", "compiled"),
    CNI: go(
        "cni",
        "containernetworking/plugins/pkg/ns",
        "golang-github-containernetworking-plugins-dev",
    ),
    VISHVANANDA: go("vishvananda", "vishvananda/netns", "golang-github-vishvananda-netns-dev"),
    SETNS: python("peers/os_setns.py"),
    PYROUTE2: python("peers/with_pyroute2.py"),
    PYPI_NETNS: pypi_netns,
    PYPI_NSENTER: python("peers/pypi_nsenter.py"),
    IP: python("peers/commands.py", "ip"),
    NSENTER: python("peers/commands.py", "nsenter"),
    LSNS: python("peers/commands.py", "lsns"),
    PLAIN: python("peers/plain.py"),
}
