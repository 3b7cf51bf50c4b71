"""Race this library, the least that C takes, and its peers, interleaved in one run.

    python benchmarks/race.py [--quick] [--only OPERATION ...] [--to DIRECTORY]

README.md has the method. Everything is made in a mount and a pid namespace of the
run's own, so all of it goes with the run, however that ends.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyperf

import netns
import report
from operations import (
    CNI,
    COMPILED,
    FLOOR,
    FULL,
    GIL,
    IP,
    LSNS,
    NSENTER,
    OPERATIONS,
    OURS,
    PLAIN,
    PYPI_NETNS,
    PYPI_NSENTER,
    PYROUTE2,
    QUICK,
    SETNS,
    SINGLY,
    VISHVANANDA,
    C,
    Operation,
    Sizes,
)

HERE = Path(__file__).resolve().parent
INSIDE = "NETNS_BENCH_INSIDE"
RUN = Path("/run/netns")
TARGET = "bench-target"
RTNLGRP_NSID, RTM_DELNSID = 28, 89  # linux/rtnetlink.h
SHARE = Path("/usr/share/gocode/src/github.com")  # where Debian has Go's packages


class AbsentError(Exception):
    """Why a contestant does not take part."""


def in_own_host() -> int:
    """Run this again where only the run's mounts and processes are, and all go with it."""
    found = RUN.is_dir()
    dies_with_us = ["setpriv", "--pdeathsig", "KILL"]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    script = f'mount -t tmpfs none {RUN} && mount -t tmpfs none "$TMPDIR" && exec "$@"'
    with tempfile.TemporaryDirectory(prefix="netns-bench-") as build:
        try:
            RUN.mkdir(parents=True, exist_ok=True)
            child = subprocess.Popen(
                [*dies_with_us, *unshare, "sh", "-c", script, "sh", sys.executable, *sys.argv],
                env={**os.environ, INSIDE: "1", "TMPDIR": build},
            )
            while True:
                try:
                    return child.wait()
                except KeyboardInterrupt:
                    pass  # the child has it too, and says what it has to say
        finally:
            if not found:
                RUN.rmdir()


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


class Contestant:
    """Long-lived worker processes of one program: one on a CPU of its own, one anywhere."""

    def __init__(self, *program: object, args: tuple[str, ...] = (), **env: str) -> None:
        self.argv = [*map(str, program), TARGET, *args]
        self.env = {**os.environ, "PYTHONPATH": str(HERE), **env}
        self.workers: dict[bool, subprocess.Popen[str]] = {}
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

        self.workers[pinned] = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.env,
            preexec_fn=begin,
        )
        first = self.read(pinned)
        if first.startswith("absent: "):
            raise AbsentError(first[len("absent: ") :])
        self.operations = frozenset(first.split())

    def read(self, pinned: bool) -> str:
        worker = self.workers[pinned]
        assert worker.stdout is not None
        line = worker.stdout.readline().strip()
        if not line or line.startswith("failed"):
            raise SystemExit(f"{self.argv}: {line or 'the worker ended'} ({worker.wait()})")
        return line

    def spend(self, operation: Operation, count: int, present: int) -> int:
        """What so many calls take, in the operation's unit."""
        if operation.pinned not in self.workers:
            self.start(operation.pinned)
        pipe = self.workers[operation.pinned].stdin
        assert pipe is not None
        print(operation.asks, count, present, file=pipe, flush=True)
        return int(self.read(operation.pinned))

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.communicate()


def pinned_cpu() -> int:
    """One that the kernel keeps free, where there is one; else the last."""
    isolated = Path("/sys/devices/system/cpu/isolated").read_text().strip()
    return int(isolated.replace("-", ",").split(",")[-1] or max(os.sched_getaffinity(0)))


CFLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"]


def floor(build: Path) -> Contestant:
    sources = [HERE / "floor.c", HERE / "floor_discover.c"]
    command("cc", *CFLAGS, "-o", build / "floor", *sources)
    return Contestant(build / "floor")


def library(build: Path) -> Contestant:
    csrc = HERE.parent / "csrc"
    command("make", "-s", "-C", csrc, f"out={build}/csrc", "static")
    archive = build / "csrc/libnetns.a"
    command("cc", *CFLAGS, f"-I{csrc}", "-o", build / "library", HERE / "library.c", archive)
    return Contestant(build / "library")


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
    command(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-t", where, "netns==1.0")
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


def assemble(build: Path) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Who takes part, and why the others don't."""
    present: dict[str, Contestant] = {}
    absent: dict[str, str] = {}
    for name, make in CONTESTANTS.items():
        try:
            present[name] = make(build)
        except AbsentError as error:
            absent[name] = str(error)
        print(f"{name}: {absent.get(name, 'here')}", flush=True)
    return present, absent


def gone(message: bytes) -> int | None:
    """The id in a RTM_DELNSID: behind two headers, its only attribute."""
    kind, nsid = struct.unpack_from("=4xH18xi", message)
    return int(nsid) if kind == RTM_DELNSID else None


class Crowd:
    """The namespaces that are present: named, and with a process in each if asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def grow(self, size: int) -> None:
        for i in range(len(self.names), size):
            self.names.append(f"bench-{i:05}")
            netns.create(self.names[-1]).close()

    def settle(self) -> None:
        """Wait until the kernel is through with the namespaces that have ended.

        It clears them away in batches, one after the other, and says of each namespace
        with an id when its batch begins: the second one's begins when the first one's,
        with all that had ended before, is over.
        """
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as news:
            news.bind((0, 1 << RTNLGRP_NSID - 1))
            for _ in range(2):
                with netns.new() as last:
                    last.nsid = -1
                    nsid = last.nsid
                while gone(news.recv(4096)) != nsid:
                    pass

    @contextmanager
    def processes(self, wanted: bool) -> Iterator[None]:
        pids: list[int] = []

        def fork(host: netns.NetNS) -> None:
            pids.append(os.fork())
            while pids[-1] == 0:
                signal.pause()

        try:
            for name in self.names if wanted else ():
                netns.do(name, fork)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


class Race:
    def __init__(self, present: dict[str, Contestant], quick: bool) -> None:
        self.present = present
        self.sizes: Sizes = QUICK if quick else FULL
        # The shortest batch, what an operation may take in all, and the most rounds.
        self.batch, self.budget, self.rounds = (1e-4, 0.2, 3) if quick else (0.01, 12.0, 31)
        self.least_rounds = 2 if quick else 9
        self.crowd = Crowd()
        self.order = random.Random(1)

    def once(self, name: str, operation: Operation, count: int) -> int:
        """What one batch of one contestant takes, in the operation's unit."""
        number = len(self.crowd.names)
        if operation.settled:
            self.crowd.settle()
        doomed = [f"doomed-{i:05}" for i in range(number if operation.doomed else 0)]
        for each in doomed:
            netns.create(each).close()
        spent = self.present[name].spend(operation, count, number)
        left = [each for each in doomed if (RUN / each).exists()]
        if left or spent < 0:
            raise SystemExit(f"{name}, {operation.key}: {len(left)} names left, {spent} spent")
        return spent

    def of_one(self, spent: int, operation: Operation, count: int) -> float:
        """Seconds, or bytes, for one call."""
        calls = count * (len(self.crowd.names) if operation.each else 1)
        return spent / calls / (1e9 if operation.unit == "ns" else 1)

    def count(self, name: str, operation: Operation) -> int:
        """So many calls that a batch is long enough to be timed; they also warm up."""
        count = operation.least
        while count < operation.most:
            took = self.once(name, operation, count) / 1e9
            if operation.unit != "ns" or took >= self.batch:
                break
            grown = int(count * min(10.0, 1.2 * self.batch / max(took, 1e-9))) + 1
            count = min(grown, operation.most)
        return count

    def run(self, operation: Operation) -> dict[str, list[float]]:
        """Batches in turn, in an order that differs from round to round."""
        if operation.crowd:
            self.crowd.grow(getattr(self.sizes, operation.crowd))
        names = [name for name, each in self.present.items() if operation.asks in each.operations]
        times: dict[str, list[float]] = {name: [] for name in names}
        with self.crowd.processes(operation.processes):
            counts = {name: self.count(name, operation) for name in names}
            start = time.monotonic()
            for done in range(self.rounds):
                if done >= self.least_rounds and time.monotonic() - start > self.budget:
                    break
                self.order.shuffle(names)
                for name in names:
                    spent = self.once(name, operation, counts[name])
                    times[name].append(self.of_one(spent, operation, counts[name]))
        return times


def machine() -> dict[str, object]:
    """What pyperf knows of the machine and the interpreter."""
    known = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    wanted = ("cpu_model_name", "cpu_count", "platform", "python_version", "load_avg_1min", "date")
    found: dict[str, object] = {key: str(known[key]) for key in wanted if key in known}
    for program in (["go", "version"], ["cc", "--version"]):
        try:
            found[program[0]] = command(*program).splitlines()[0]
        except AbsentError as error:
            found[program[0]] = str(error)
    return {**found, "pinned_to_cpu": pinned_cpu(), "netns": netns.__version__}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few rounds and small crowds")
    keys = [operation.key for operation in OPERATIONS]
    parser.add_argument("--only", nargs="+", choices=keys, default=keys, metavar="OPERATION")
    parser.add_argument("--to", type=Path, help="a directory for results.json and what shows it")
    args = parser.parse_args()
    if not os.environ.get(INSIDE):
        return in_own_host()
    try:
        results = compete(args.quick, args.only)
    except KeyboardInterrupt:
        print("interrupted; nothing is left", file=sys.stderr)
        return 128 + signal.SIGINT
    places = report.Places.of(args.to, args.quick or args.only != keys)
    places.results.parent.mkdir(parents=True, exist_ok=True)
    places.results.write_text(json.dumps(results, indent=1) + "\n")
    report.write(places)
    return 0


def compete(quick: bool, only: list[str]) -> dict[str, object]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results: dict[str, object] = {"quick": quick, "machine": machine()}
    measured: dict[str, object] = {}
    netns.create(TARGET).close()
    present, results["absent"] = assemble(Path(tempfile.gettempdir()))
    race = Race(present, quick)
    try:
        for operation in OPERATIONS:
            if operation.key in only:
                start = time.monotonic()
                measured[operation.key] = {
                    "title": operation.title.format(**race.sizes._asdict()),
                    "unit": "s" if operation.unit == "ns" else operation.unit,
                    "values": race.run(operation),
                }
                print(f"{operation.key}: {time.monotonic() - start:.1f} s", flush=True)
    finally:
        for contestant in present.values():
            contestant.close()
    return {**results, "operations": measured}


if __name__ == "__main__":
    sys.exit(main())
