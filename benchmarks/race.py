"""Race this library, the least that C takes, and its peers, interleaved in one run.

    python benchmarks/race.py [--quick] [--only OPERATION ...] [--to DIRECTORY]
    python benchmarks/race.py --against REV [--quick] [--only OPERATION ...]

README.md has the method. Everything is made in a mount and a pid namespace of the
run's own, so all of it goes with the run, however that ends.
"""

from __future__ import annotations

import argparse
import contextlib
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyperf

import against
import netns
import report
from contestants import (
    CONTESTANTS,
    TARGET,
    AbsentError,
    Contestant,
    FailedError,
    command,
    pinned_cpu,
)
from operations import FULL, OPERATIONS, QUICK, Operation, Sizes

INSIDE = "NETNS_BENCH_INSIDE"
RUN = Path("/run/netns")
RTNLGRP_NSID, RTM_DELNSID = 28, 89  # linux/rtnetlink.h


def in_own_host(**env: str) -> int:
    """Run this again where only the run's mounts and processes are, and all go with it.

    Where that takes more rights than there are, as root of a user namespace.
    """
    dies_with_us = ["setpriv", "--pdeathsig", "KILL"]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL).returncode:
        unshare += ["--map-root-user", "--net"]
    try:
        RUN.mkdir(parents=True)
        made = True
    except (FileExistsError, PermissionError):
        made = False
    # Where /run is another's, it is made on a mount over /run.
    script = (
        f"{{ [ -d {RUN} ] || {{ mount -t tmpfs none {RUN.parent} && mkdir {RUN}; }}; }} &&"
        f' mount -t tmpfs none {RUN} && mount -t tmpfs none "$TMPDIR" && exec "$@"'
    )
    with tempfile.TemporaryDirectory(prefix="netns-bench-") as build:
        try:
            child = subprocess.Popen(
                [*dies_with_us, *unshare, "sh", "-c", script, "sh", sys.executable, *sys.argv],
                env={**os.environ, INSIDE: " ".join(unshare), "TMPDIR": build, **env},
            )
            while True:
                try:
                    return child.wait()
                except KeyboardInterrupt:
                    pass  # the child has it too, and says what it has to say
        finally:
            if made:
                RUN.rmdir()


def assemble(
    build: Path, contestants: Mapping[str, Callable[[Path], Contestant]]
) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Who takes part, and why the others don't."""
    present: dict[str, Contestant] = {}
    absent: dict[str, str] = {}
    for name, make in contestants.items():
        try:
            present[name] = make(build)
        except AbsentError as error:
            absent[name] = str(error)
        except (FailedError, OSError) as error:
            absent[name] = f"failed: {error}"
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

    def tidy(self) -> None:
        """Remove the names that a contestant which failed has left."""
        for name in {entry.name for entry in RUN.iterdir()} - {TARGET, *self.names}:
            with contextlib.suppress(netns.Error):
                netns.delete(name)
            (RUN / name).unlink(missing_ok=True)

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
    def processes(self, count: int) -> Iterator[list[int]]:
        """Their ids: one in each of so many namespaces."""
        pids: list[int] = []

        def start(host: netns.NetNS) -> None:
            # A fork of this process takes ten times as long, and twice the memory.
            pids.append(os.posix_spawnp("sleep", ["sleep", "infinity"], os.environ))

        try:
            for name in self.names[:count]:
                netns.do(name, start)
            yield pids
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for pid in pids:
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
            raise FailedError(f"{len(left)} names left, {spent} spent")
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

    def run(self, operation: Operation) -> tuple[dict[str, list[float]], dict[str, str]]:
        """Batches in turn, in an order that differs from round to round.

        Who fails in one is out of this operation; what it said stands for its times.
        """
        if operation.crowd:
            self.crowd.grow(getattr(self.sizes, operation.crowd))
        names = [name for name, each in self.present.items() if operation.asks in each.operations]
        times: dict[str, list[float]] = {name: [] for name in names}
        counts: dict[str, int] = {}
        failed: dict[str, str] = {}

        def attempt(call: Callable[[str], None]) -> None:
            for name in list(names):
                try:
                    call(name)
                except FailedError as error:
                    failed[name] = str(error)
                    names.remove(name)
                    del times[name]
                    self.crowd.tidy()
                    print(f"{operation.key}: {name} failed: {error}", flush=True)

        def trial(name: str) -> None:
            counts[name] = self.count(name, operation)

        def batch(name: str) -> None:
            spent = self.once(name, operation, counts[name])
            times[name].append(self.of_one(spent, operation, counts[name]))

        with self.crowd.processes(len(self.crowd.names) if operation.processes else 0):
            attempt(trial)
            start = time.monotonic()
            for done in range(self.rounds):
                if done >= self.least_rounds and time.monotonic() - start > self.budget:
                    break
                self.order.shuffle(names)
                attempt(batch)
        return times, failed


def how() -> str:
    """The command that this run is inside of."""
    return os.environ.get(INSIDE, "")


def machine() -> dict[str, object]:
    """What pyperf knows of the machine and the interpreter."""
    known = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    wanted = ("cpu_model_name", "cpu_count", "platform", "python_version", "load_avg_1min", "date")
    found: dict[str, object] = {key: str(known[key]) for key in wanted if key in known}
    found = {"kernel": f"{os.uname().sysname} {os.uname().release}", **found}
    found.setdefault("cpu_model_name", os.uname().machine)
    found["rights"] = "root of a user namespace" if "--map-root-user" in how() else "root"
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
    parser.add_argument(
        "--against", metavar="REV", help="race this tree against that commit, and nobody else"
    )
    args = parser.parse_args()
    if not os.environ.get(INSIDE):
        if not args.against:
            return in_own_host()
        with tempfile.TemporaryDirectory(prefix="netns-trees-") as trees:
            against.build(Path(trees), args.against)
            return in_own_host(**{against.TREES: trees})
    contestants = against.contestants() if args.against else CONTESTANTS
    try:
        results = compete(args.quick, args.only, contestants)
    except KeyboardInterrupt:
        print("interrupted; nothing is left", file=sys.stderr)
        return 128 + signal.SIGINT
    if args.against:
        print(against.page(args.against, results))
        return 0
    places = report.Places.of(args.to, args.quick or args.only != keys)
    places.results.parent.mkdir(parents=True, exist_ok=True)
    places.results.write_text(json.dumps(results, indent=1) + "\n")
    report.write(places)
    return 0


def compete(
    quick: bool, only: list[str], contestants: Mapping[str, Callable[[Path], Contestant]]
) -> dict[str, Any]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results: dict[str, Any] = {"quick": quick, "machine": machine()}
    measured: dict[str, Any] = {}
    netns.create(TARGET).close()
    present, results["absent"] = assemble(Path(tempfile.gettempdir()), contestants)
    race = Race(present, quick)
    try:
        for operation in OPERATIONS:
            if operation.key in only:
                start = time.monotonic()
                values, failed = race.run(operation)
                measured[operation.key] = {
                    "title": operation.title.format(**race.sizes._asdict()),
                    "unit": "s" if operation.unit == "ns" else operation.unit,
                    "values": values,
                    "failed": failed,
                }
                print(f"{operation.key}: {time.monotonic() - start:.1f} s", flush=True)
    finally:
        for contestant in present.values():
            contestant.close()
    return {**results, "operations": measured}


if __name__ == "__main__":
    sys.exit(main())
