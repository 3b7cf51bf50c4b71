"""What race.py measured, as a page and two plots; nothing in them is typed by hand.

python benchmarks/report.py [--to DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pyperf

import ratios
from operations import FLOOR, OURS, TARGETS, Limit, Target

ROOT = Path(__file__).resolve().parent.parent


class Places(NamedTuple):
    results: Path
    page: Path
    plot: Path
    ratios: Path

    @classmethod
    def of(cls, to: Path | None, partial: bool = False) -> Places:
        """The documentation's own, or one directory; a partial run never in the former."""
        if to is None and not partial:
            docs = ROOT / "docs"
            return cls(
                ROOT / "benchmarks/results.json",
                docs / "performance.md",
                docs / "performance.svg",
                docs / "_static/ratios.svg",
            )
        to = to or ROOT / "build/bench"
        names = ("results.json", "performance.md", "performance.svg", "ratios.svg")
        return cls(*(to / name for name in names))


class Ratio(NamedTuple):
    """Of two contestants, round by round: the median, and the middle half's ends."""

    mid: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.mid)} ({number(self.low)}–{number(self.high)})"


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value < 10 else f"{value:.1f}"


def benchmark(name: str, values: list[float], unit: str) -> pyperf.Benchmark:
    metadata = {"name": name, "unit": "second" if unit == "s" else "byte"}
    return pyperf.Benchmark([pyperf.Run(values, metadata=metadata, collect_metadata=False)])


def shown(value: float, unit: str) -> str:
    if unit != "s":
        return f"{number(value)} {unit}"
    for name, scale in (("µs", 1e-6), ("ms", 1e-3)):
        if value < 1000 * scale:
            return f"{number(value / scale)} {name}"
    return f"{number(value)} s"


def ratio(above: list[float], below: list[float]) -> Ratio:
    """Rounds have one batch of each, so what disturbed a round is in both."""
    if len(above) == len(below):
        each = sorted(a / b for a, b in zip(above, below) if b)
    else:
        each = sorted(a / statistics.median(below) for a in above)
    if len(each) < 2:
        return Ratio(*(each or [float("nan")]) * 3)
    low, mid, high = statistics.quantiles(each, n=4, method="inclusive")
    return Ratio(mid, low, high)


def rows(operation: dict[str, Any]) -> list[list[str]]:
    """The contestants of one operation, fastest first."""
    unit, values = operation["unit"], operation["values"]
    found = []
    for name, times in values.items():
        of = benchmark(name, times, unit)
        floor = ratio(times, values[FLOOR]) if FLOOR in values else None
        ours = ratio(times, values[OURS]) if OURS in values and name != OURS else None
        found.append(
            (
                of.median(),
                [
                    f"**{name}**" if name == OURS else name,
                    shown(of.median(), unit),
                    f"{shown(of.percentile(25), unit)} – {shown(of.percentile(75), unit)}",
                    str(floor) if floor and name != FLOOR else "",
                    str(ours) if ours else "",
                ],
            )
        )
    return [row for _, row in sorted(found)]


def judged(target: Target | Limit, operations: dict[str, Any]) -> list[str] | None:
    """A target's row: what it asks, what was measured, the floor's own, whether it is met."""
    if target.operation not in operations:
        return None
    operation = operations[target.operation]
    values = operation["values"]
    if isinstance(target, Limit):
        asked = f"at most {shown(target.seconds, 's')}"
        if not values.get(OURS):
            return [operation["title"], asked, "not measured", "", "–"]
        got = statistics.median(values[OURS])
        return [operation["title"], asked, shown(got, "s"), "", verdict(got <= target.seconds)]
    other = operations.get(target.against_operation or target.operation)
    against = target.against
    if target.against_operation and other:
        against += f", {other['title']}"
    if target.beside:
        title = operations.get(target.beside[0], {}).get("title", target.beside[0])
        against = f"({against} + {title}, {target.beside[1]})"
    whose = f"{target.of}: " if target.of != OURS else ""
    if target.faster:
        asked = f"{whose}at least {target.factor:g} × faster than {against}"
    else:
        asked = f"{whose}at most {target.factor:g} × {against}"
    theirs = other["values"].get(target.against) if other else None
    if theirs and target.beside:
        theirs = also(theirs, operations, *target.beside)
    if not values.get(target.of) or not theirs:
        return [operation["title"], asked, "not measured", "", "–"]
    if target.against_operation:  # whose rounds were others
        theirs = [statistics.median(theirs)] * len(values[target.of])
    if not target.faster:
        of_theirs = ratio(values[target.of], theirs)
        met = of_theirs.mid <= target.factor
        return [operation["title"], asked, str(of_theirs), "", verdict(met)]
    faster = ratio(theirs, values[target.of])
    floor = ratio(theirs, values[FLOOR]) if values.get(FLOOR) else None
    met = faster.mid >= target.factor
    return [operation["title"], asked, str(faster), str(floor or ""), verdict(met)]


def also(
    times: list[float], operations: dict[str, Any], operation: str, whose: str
) -> list[float]:
    """Each with the median of what another operation takes on top; none if that has none."""
    more = operations.get(operation, {"values": {}})["values"].get(whose)
    return [each + statistics.median(more) for each in times] if more else []


def two_agents(operations: dict[str, Any]) -> str:
    """What two processes that make names at once cost each other."""
    keys = ("create_one", "create_two", "create_apart")
    times = [operations.get(key, {"values": {}})["values"].get(OURS) for key in keys]
    if not all(times):
        return ""
    one, two, apart = map(statistics.median, times)
    return (
        f"Two agents on one host make {number(one / two)} × as many names as one alone, with a"
        f" run directory each {number(one / apart)} ×. What is missing of 2 they wait for each"
        " other: for the run directory's lock and in the kernel, or in the kernel alone.\n"
    )


def verdict(met: bool) -> str:
    return "yes" if met else "**no**"


def table(head: list[str], body: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, rule, *body])


def page(results: dict[str, Any]) -> str:
    operations = results["operations"]
    machine = "; ".join(f"{key.replace('_', ' ')}: {v}" for key, v in results["machine"].items())
    judgements = [row for target in TARGETS if (row := judged(target, operations))]
    absent = results["absent"]
    parts = [
        "# Performance\n",
        "Made by `tox -e bench`, which races all of these in one run;"
        " `benchmarks/README.md` says how. Not edited by hand.\n",
        "**A quick run: it shows that the race works, not how fast anything is.**\n"
        if results["quick"]
        else "",
        f"{machine}\n",
        "![Medians by operation](performance.svg)\n",
        "## Operations\n",
        "A contestant that is not listed has no such operation.\n",
    ]
    for key, operation in operations.items():
        head = ["", "median", "middle half", "× C floor", "× netns"]
        count = max(map(len, operation["values"].values()), default=0)
        parts += [f"### {operation['title']}\n"]
        if operation["values"]:
            parts += [f"{count} rounds.\n", table(head, rows(operation))]
        else:
            parts += ["Nobody has it.\n"]
        failures = operation.get("failed", {}).items()
        parts += ["".join(f"- {name} failed: {words}\n" for name, words in failures)]
        parts += [two_agents(operations)] if key == "create_apart" else []
    parts += [
        "## Targets\n",
        "Ratios are medians of the rounds' ratios, in brackets the middle half of them."
        " Where the C floor itself, the least calls known, without a library, is not so much"
        " faster than a peer, a library can hardly be.\n",
        table(["operation", "target", "measured", "C floor", "met"], judgements),
        "## Absent\n",
        "".join(f"- {name}: {reason}\n" for name, reason in absent.items()) or "Nobody.\n",
    ]
    return "\n".join(part for part in parts if part)


def plot(results: dict[str, Any], to: Path) -> None:
    """A group of bars for each operation, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "netns"
    from matplotlib import pyplot

    timed = {
        key: each
        for key, each in results["operations"].items()
        if each["unit"] == "s" and each["values"]
    }
    names = list(dict.fromkeys(name for each in timed.values() for name in each["values"]))
    colours = dict(zip(names, pyplot.get_cmap("tab20").colors))
    figure, columns = pyplot.subplots(1, 2, figsize=(13, 15), layout="constrained")
    for axes, half in zip(columns, halves(list(timed.values()))):
        at, ticks = 0.0, []
        for each in half:
            first = at
            for name in sorted(each["values"], key=names.index):
                width = 1e6 * statistics.median(each["values"][name])
                axes.barh(at, width, 0.9, color=colours[name])
                at += 1
            ticks.append((first + at - 1) / 2)
            at += 1.5
        titles = [each["title"].replace("`", "").replace(", ", ",\n") for each in half]
        axes.set_xscale("log")
        axes.set_yticks(ticks, titles, fontsize=8)
        axes.set_ylim(at, -1.5)
        axes.set_xlabel("median, µs (logarithmic)")
        axes.grid(axis="x", alpha=0.3)
    handles = [matplotlib.patches.Patch(color=colours[name], label=name) for name in names]
    figure.legend(handles=handles, fontsize=9, ncols=8, loc="outside upper center")
    figure.savefig(to, metadata={"Date": None} if to.suffix == ".svg" else None)
    pyplot.close(figure)


def halves(operations: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of as many bars each as can be."""
    bars = [len(each["values"]) + 1.5 for each in operations]
    middle = min(range(len(bars) + 1), key=lambda i: abs(sum(bars[:i]) - sum(bars[i:])))
    return operations[:middle], operations[middle:]


def write(places: Places) -> None:
    results = json.loads(places.results.read_text())
    places.page.write_text(page(results))
    written = [places.results, places.page]
    try:
        plot(results, places.plot)
        written.append(places.plot)
    except ModuleNotFoundError as error:
        print(f"no plot: {error} (the extra `bench` has it)", file=sys.stderr)
    if drawn := ratios.draw(results):
        places.ratios.write_text(drawn)
        written.append(places.ratios)
    judgements = [row for target in TARGETS if (row := judged(target, results["operations"]))]
    for title, *rest in judgements:
        print(title.replace("`", ""), *rest, sep=" | ")
    for operation in results["operations"].values():
        for name, words in operation.get("failed", {}).items():
            print(f"failed: {name}, {operation['title'].replace('`', '')}: {words}")
    for name, reason in results["absent"].items():
        print(f"absent: {name}: {reason}")
    print("written:", *written)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The page and the plots of a run's results")
    parser.add_argument("--to", type=Path, help="the directory that has results.json")
    write(Places.of(parser.parse_args().to))
