"""What each call takes as namespaces, and processes in them, grow in number.

    python benchmarks/growth.py [--quick] [--most NAMESPACES] [--to DIRECTORY]

Writes docs/growth.md, its plot and growth.json; a quick run, or one of fewer sizes, to
build/bench. Everything is made in a mount and a pid
namespace of the run's own, as race.py does it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import netns
from contestants import TARGET
from race import INSIDE, RUN, Crowd, in_own_host, machine
from report import ROOT, number, shown, table

SIZES = (10, 100, 1_000, 10_000, 50_000)
SOME = 1_000  # the most that are visited or opened in turn
MOST_PROCESSES = 10_000  # one in each namespace, as far as memory and process ids go
BATCH, BUDGET, LEAST = 0.01, 1.0, 3  # seconds of a batch, and of all; batches at least
LIST = [sys.executable, "-m", "netns", "list"]
TOLD = {
    "kernel",
    "cpu_model_name",
    "cpu_count",
    "python_version",
    "load_avg_1min",
    "date",
    "netns",
}
GROWS = 1.5  # so many times its first figure


class Place(NamedTuple):
    """What there is at one size."""

    names: Iterator[str]  # in turn
    namespaces: list[netns.NetNS]
    target: netns.NetNS
    pid: int


def visit(place: Place, count: int) -> None:
    with netns.tour() as tour:
        for ns in islice(cycle(place.namespaces), count):
            tour.visit(ns)


def each(call: Callable[[Place], object]) -> Callable[[Place, int], None]:
    def run(place: Place, count: int) -> None:
        for _ in range(count):
            call(place)

    return run


def enter(place: Place) -> None:
    with place.target.enter():
        pass


def create_delete(place: Place) -> None:
    netns.create("growth").close()
    netns.delete("growth")


class Operation(NamedTuple):
    title: str
    run: Callable[[Place, int], None]
    why: str  # it grows, where it does
    settled: bool = False  # after the kernel has cleared ended namespaces away


CACHES = "the same system calls, on more memory than the processor's caches hold"
OPERATIONS = {
    "do": Operation("`ns.do(fn)`", each(lambda place: place.target.do(id)), CACHES),
    "enter": Operation("`with ns.enter():`", each(enter), CACHES),
    "visit": Operation(f"`tour.visit(ns)`, up to {SOME:,} in turn", visit, CACHES),
    "open": Operation(
        f"`open(name)`, up to {SOME:,} in turn",
        each(lambda place: netns.open(next(place.names)).close()),
        CACHES,
    ),
    "new": Operation(
        "`new()` and `close()`",
        each(lambda place: netns.new().close()),
        "what the kernel keeps of all namespaces is searched and extended",
        True,
    ),
    "create_delete": Operation(
        "`create(name)` and `delete(name)`",
        each(create_delete),
        "as `new()`",
        True,
    ),
    "run": Operation(
        '`ns.run(["true"])`',
        each(lambda place: place.target.run(["true"])),
        "for the command's mount namespace the kernel copies every mount",
    ),
    "names": Operation(
        "`names()`",
        each(lambda place: netns.names()),
        "each name is looked at, opened, asked for its type and closed",
    ),
    "list": Operation(
        "`netns list`, the whole process",
        each(lambda place: subprocess.run(LIST, stdout=subprocess.DEVNULL, cwd="/", check=True)),
        "as `names()`, beside the interpreter's start",
    ),
    "identify": Operation(
        "`identify(pid)`",
        each(lambda place: netns.identify(place.pid)),
        "the kernel writes a line for each mount, and the library reads it",
    ),
    "pids": Operation(
        "`pids(ns)`",
        each(lambda place: netns.pids(place.target)),
        "of each process the kernel is asked two questions",
    ),
    "discover": Operation(
        "`discover()`",
        each(lambda place: netns.discover()),
        "as `identify()` and `pids()`, and an object for each namespace",
    ),
}


def yardstick() -> float:
    """Seconds for what takes as long at every size, unless the machine has other work."""
    began = time.perf_counter()
    for _ in range(100):
        os.readlink("/proc/thread-self/ns/net")
    return (time.perf_counter() - began) / 100


def best(operation: Operation, place: Place, crowd: Crowd, budget: float) -> tuple[float, float]:
    """Seconds for a call in the fastest of several batches, and the yardstick's beside them."""
    count, start = 1, time.monotonic()
    taken: list[float] = []
    beside: list[float] = []
    while len(taken) < (LEAST if budget else 1) or time.monotonic() - start < budget:
        if operation.settled:
            crowd.settle()
        began = time.perf_counter()
        operation.run(place, count)
        spent = time.perf_counter() - began
        if spent < BATCH / 2:
            count = max(count + 1, int(count * min(10.0, BATCH / spent)))
        else:
            taken.append(spent / count)
            beside.append(yardstick())
    return min(taken), min(beside)


def measure(sizes: list[int], budget: float = BUDGET) -> dict[str, Any]:
    netns.create(TARGET).close()
    crowd = Crowd()
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in OPERATIONS}
    crowds = []
    for size in sizes:
        start = time.monotonic()
        crowd.grow(size)
        processes = min(size, MOST_PROCESSES)
        with crowd.processes(processes) as pids, netns.open(TARGET) as target:
            some = [netns.open(name) for name in crowd.names[:SOME]]
            place = Place(cycle(crowd.names[:SOME]), some, target, pids[-1])
            for key, operation in OPERATIONS.items():
                found[key].append(best(operation, place, crowd, budget))
            for ns in some:
                ns.close()
        crowds.append([size, processes])
        print(f"{size:,} namespaces: {time.monotonic() - start:.0f} s", flush=True)
    # Others' measurements should not begin beside the kernel's clearing up.
    subprocess.run(["umount", "--lazy", RUN], check=True)
    crowd.settle()
    told = {key: said for key, said in machine().items() if key in TOLD}
    return {"machine": told, "crowds": crowds, "best": found}


def page(results: dict[str, Any]) -> str:
    crowds, best_of = results["crowds"], results["best"]
    machine = "; ".join(f"{key.replace('_', ' ')}: {v}" for key, v in results["machine"].items())
    body, reasons, flat = [], [], []
    for key, times in best_of.items():
        operation = OPERATIONS[key]
        first, last = (spent / beside for spent, beside in (times[0], times[-1]))
        row = [operation.title, *(shown(spent, "s") for spent, _ in times)]
        body.append([*row, f"{number(last / first)} ×"])
        if last / first >= GROWS:
            reasons.append(f"- {operation.title}: {operation.why}.\n")
        else:
            flat.append(operation.title)
    head = ["namespaces, processes", *(f"{n:,}, {p:,}" for n, p in crowds), "grows to"]
    parts = [
        "# Growth\n",
        "What a call takes where there are many namespaces, each with a name, and processes,"
        " at most one in each: the best of several batches, in one run. Made by"
        " `python benchmarks/growth.py`. Not edited by hand.\n",
        f"{machine}\n",
        "![What each call takes, against the number of namespaces](growth.svg)\n",
        table(head, body),
        "The last column is from the first size to the last, in terms of a yardstick beside"
        " each: a `readlink`, which takes longer only when the machine has other work."
        f" What grows to at least {GROWS:g} times does so for a reason:\n",
        "".join(reasons) or "- nothing did.\n",
        f"Not so: {', '.join(flat)}.\n" if flat else "",
    ]
    return "\n".join(part for part in parts if part)


def plot(results: dict[str, Any], to: Path) -> None:
    """A line for each operation, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "netns"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 7), layout="constrained")
    sizes = [names for names, _ in results["crowds"]]
    for (key, times), marker in zip(results["best"].items(), cycle("osD^vP")):
        title = OPERATIONS[key].title.replace("`", "")
        axes.plot(sizes, [1e6 * spent for spent, _ in times], marker=marker, label=title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("namespaces (logarithmic)")
    axes.set_ylabel("best, µs a call (logarithmic)")
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    figure.savefig(to, metadata={"Date": None})
    pyplot.close(figure)


def write(results: dict[str, Any], data: Path, docs: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)
    (data / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    (docs / "growth.md").write_text(page(results))
    try:
        plot(results, docs / "growth.svg")
    except ModuleNotFoundError as error:
        print(f"no plot: {error} (the extra `bench` has it)", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--most", type=int, default=SIZES[-1], metavar="NAMESPACES")
    parser.add_argument("--quick", action="store_true", help="that it works, not how fast it is")
    parser.add_argument("--to", type=Path, help="a directory for growth.json and what shows it")
    args = parser.parse_args()
    if not os.environ.get(INSIDE):
        return in_own_host()
    sizes = [size for size in SIZES if size <= args.most] or [args.most]
    results = measure(sizes, 0 if args.quick else BUDGET)
    partial = ROOT / "build/bench" if args.quick or sizes != [*SIZES] else None
    to = args.to or partial
    write(results, to or ROOT / "benchmarks", to or ROOT / "docs")
    print(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
