"""The race: each contestant races or says why not, and the page shows what was measured."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import against
import contestants
import first
import growth
import limits
import million
import operations
import race
import ratios
import report
from support import RUN

RACE = [sys.executable, race.__file__, "--quick"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> report.Places:
    to = tmp_path_factory.mktemp("race")
    run = subprocess.run([*RACE, "--to", to], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return report.Places.of(to)


@pytest.fixture
def results(places: report.Places) -> Any:
    return json.loads(places.results.read_text())


pytestmark = pytest.mark.timeout(400)  # the Go contestants are compiled where there is Go


def test_everybody_races_or_says_why_not(results: Any) -> None:
    values = [each["values"] for each in results["operations"].values()]
    racing = {name for each in values for name, times in each.items() if len(times) >= 2}
    assert not [each["failed"] for each in results["operations"].values() if each["failed"]]
    assert racing.isdisjoint(results["absent"])
    assert racing | set(results["absent"]) == set(contestants.CONTESTANTS)
    assert all(results["absent"].values())
    assert all(time >= 0 for each in values for times in each.values() for time in times)


def test_those_that_need_no_other_package_race(results: Any) -> None:
    ours = {operations.C, operations.OURS, operations.FLOOR, operations.PLAIN}
    assert ours.isdisjoint(results["absent"])
    assert shutil.which("go") or operations.CNI in results["absent"]
    assert sys.version_info >= (3, 12) or "3.12" in results["absent"][operations.SETNS]


def test_every_operation_is_raced_by_the_library(results: Any) -> None:
    assert list(results["operations"]) == [each.key for each in operations.OPERATIONS]
    targets = [each for each in operations.TARGETS if isinstance(each, operations.Target)]
    beside = {each.beside for each in targets if each.beside}
    for key, each in results["operations"].items():
        who = [operations.OURS, *(whose for other, whose in beside if other == key)]
        assert any(each["values"].get(name) for name in who), key


def test_the_page_is_made_of_the_results(places: report.Places, results: Any) -> None:
    page = places.page.read_text()
    assert page == report.page(results)
    for each in results["operations"].values():
        for name, times in each["values"].items():
            shown = report.shown(statistics.median(times), each["unit"])
            assert f"{name} | {shown} |" in page.replace("**", "")
    for name, reason in results["absent"].items():
        assert f"- {name}: {reason}\n" in page


def test_the_documentation_has_one_race() -> None:
    of = report.Places.of(None)
    results = json.loads(of.results.read_text())
    assert of.page.read_text() == report.page(results), "python benchmarks/report.py"
    assert of.ratios.read_text() == ratios.draw(results), "python benchmarks/report.py"


@pytest.mark.parametrize("target", operations.TARGETS)
def test_a_target_is_met_or_missed_by_the_figures(target: Any, results: Any) -> None:
    def verdict(factor: float) -> str:
        """The verdict if that contestant takes `factor` times what the target is judged by."""
        doctored = copy.deepcopy(results["operations"])
        of = getattr(target, "of", operations.OURS)
        other = getattr(target, "against_operation", "") or target.operation
        if isinstance(target, operations.Target):
            doctored[other]["values"][target.against] = [1.0] * 3
        doctored[target.operation]["values"][of] = [factor] * 3
        row = report.judged(target, doctored)
        assert row is not None
        return row[-1]

    assert verdict(1e-6) == "yes"
    assert verdict(1e6) == "**no**"


def test_what_was_not_measured_is_not_called_met(results: Any) -> None:
    for each in results["operations"].values():
        each["values"] = {}
    rows = [report.judged(target, results["operations"]) for target in operations.TARGETS]
    assert all(row and row[-3:] == ["not measured", "", "–"] for row in rows)
    assert "Nobody has it." in report.page(results)


def test_what_python_adds_in_any_case_is_counted_with_the_floor(results: Any) -> None:
    [target] = [each for each in operations.TARGETS if each.operation == "socket"][:1]
    values = results["operations"]["socket"]["values"]
    values.update({operations.FLOOR: [10.0] * 3, operations.OURS: [13.0] * 3})
    for wrap, verdict in ((2.0, "yes"), (1.0, "**no**")):
        results["operations"]["wrap"]["values"] = {operations.PLAIN: [wrap] * 3}
        row = report.judged(target, results["operations"])
        assert row is not None
        assert row[-1] == verdict


def test_another_operation_had_other_rounds(results: Any) -> None:
    [target] = [each for each in operations.TARGETS if each.operation == "beside"][:1]
    assert isinstance(target, operations.Target)
    results["operations"]["do"]["values"][operations.OURS] = [1.0, 2.0, 30.0]
    results["operations"]["beside"]["values"][operations.GIL] = [2.0, 4.0, 30.0]
    row = report.judged(target, results["operations"])
    assert row is not None
    assert row[2].startswith("2 (")


def test_what_two_agents_cost_each_other_is_told(results: Any) -> None:
    keys = ("create_one", "create_two", "create_apart")
    for key, times in zip(keys, ([6.0] * 3, [5.0, 4.0, 3.0], [3.0] * 3)):
        results["operations"][key]["values"][operations.OURS] = times
    page = report.page(results)
    assert "make 1.5 × as many names as one alone, with a run directory each 2 ×." in page
    del results["operations"]["create_two"]["values"][operations.OURS]
    assert "Two agents" not in report.page(results)


def test_ratios_are_of_the_same_round() -> None:
    assert report.ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == (2.0, 2.0, 2.0)


def test_the_plot_has_every_operation(places: report.Places, results: Any) -> None:
    if find_spec("matplotlib") is None:
        assert not places.plot.exists()
        pytest.skip("matplotlib, of the extra `bench`, is not installed")
    drawn = places.plot.read_text()
    timed = [
        each for each in results["operations"].values() if each["unit"] == "s" and each["values"]
    ]
    # A tick's label of several lines is a comment for each.
    lines = [line for each in timed for line in each["title"].replace("`", "").split(", ")]
    assert all(f"<!-- {line}" in drawn for line in lines)


# A contestant that leaves a name behind, and fails in the way that its argument says.
FAILS = """
import sys
from pathlib import Path
print("do", "enter", flush=True)
left = Path("/run/netns/left")
sys.stdin.readline()
found = left.exists()
left.touch()
if sys.argv[2] == "nonsense":
    print("soon")
else:
    print("the words of a command", file=sys.stderr)
    raise ValueError(f"why it failed, {found}")
"""
RACE_OF_FAILURES = """
import sys
import contestants
import race
from operations import FLOOR, NSENTER, OURS
kept = {name: contestants.CONTESTANTS[name] for name in (FLOOR, OURS, NSENTER)}
contestants.CONTESTANTS.clear()
contestants.CONTESTANTS.update(
    fails=contestants.python(FAILS, "dies"),
    nonsense=contestants.python(FAILS, "nonsense"),
    missing=lambda build: contestants.Contestant("/no/such/program"),
    ends=lambda build: contestants.Contestant("/bin/sh", "-c", "echo why >&2; exit 1"),
    **kept,
)
sys.exit(race.main())
"""


def test_a_contestant_that_fails_does_not_end_the_race(tmp_path: Path) -> None:
    """Nor does a lack of rights end it: it then runs in a user namespace."""
    fails, script, bin, to = (tmp_path / each for each in ("fails", "script", "bin", "to"))
    fails.write_text(FAILS)
    script.write_text(RACE_OF_FAILURES.replace("FAILS", repr(str(fails))))
    bin.mkdir()
    # The package `nsenter` also puts a program of that name into an environment.
    (bin / "nsenter").write_text("#!/bin/sh\nexit 9\n")
    (bin / "nsenter").chmod(0o755)
    path = f"{bin}:{os.environ['PATH']}"
    run = subprocess.run(
        # From Linux 5.12 on, mapping root's id takes the right to set file capabilities.
        ["setpriv", "--bounding-set=-all,+setfcap"]
        + [sys.executable, script, "--quick", "--only", "do", "enter", "run", "--to", to],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(race.__file__).parent), "PATH": path},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads((to / "results.json").read_text())
    assert results["machine"]["rights"] == "root of a user namespace"
    assert results["absent"]["ends"] == "failed: why"
    assert "/no/such/program" in results["absent"]["missing"]
    page = (to / "performance.md").read_text()
    for key in ("do", "enter"):
        each = results["operations"][key]
        # The name that it left was removed before the next operation: "False".
        words = "the words of a command; ValueError: why it failed, False"
        assert each["failed"]["fails"] == words
        assert "soon" in each["failed"]["nonsense"]
        assert set(each["values"]) == {operations.FLOOR, operations.OURS}
        assert f"- fails failed: {words}\n" in page
    assert len(results["operations"]["run"]["values"][operations.NSENTER]) >= 2
    assert "fails failed" in run.stdout


def test_the_page_tells_kernel_and_processor(places: report.Places) -> None:
    page = places.page.read_text()
    assert f"kernel: {os.uname().sysname} {os.uname().release}; " in page
    assert re.search(r"cpu model name: [^;]+", page)


def test_two_trees_are_compared_by_row() -> None:
    before = against.BEFORE
    values = {
        operations.OURS: [2.0, 4.0, 8.0],
        before[operations.OURS]: [1.0, 2.0, 4.0],
        operations.C: [1.0, 2.0, 1.0],
    }
    each = {
        "title": "`a`",
        "unit": "s",
        "values": values,
        "failed": {before[operations.C]: "no such call"},
    }
    shown = against.page("v1", {"quick": False, "operations": {"a": each}, "absent": {}})
    assert "| a | 2 s | 4 s | 2 | 2–2 | slower |" in shown
    assert f"| a, from C | {before[operations.C]} failed: no such call |" in shown


class Paced(contestants.Contestant):
    """A contestant that takes the given times."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)

    def spend(self, operation: operations.Operation, count: int, present: int) -> int:
        return round(count * (self.times.pop(0) if len(self.times) > 1 else self.times[0]))


@pytest.mark.parametrize("key", limits.LIMITS)
def test_a_call_that_became_slower_is_reported(
    key: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    limit = limits.LIMITS[key]
    monkeypatch.setattr(limits, "LIMITS", {key: limit})
    rest = [1e6 * limit[0] * 1.01] * limits.ROUNDS
    for pace, met in ((rest, False), ([1e6 * limit[0] * 0.99], True), ([*rest, 1e6], True)):
        racing = {operations.FLOOR: Paced(1e6), operations.OURS: Paced(*pace)}
        assert limits.check(racing) is met
    assert capfd.readouterr().out.count("SLOWER") == 3


def test_no_call_has_become_half_as_slow_again() -> None:
    run = subprocess.run([sys.executable, limits.__file__], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_first_call_is_made() -> None:
    run = subprocess.run([sys.executable, first.__file__, "1"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    for call in first.CALLS:
        assert re.search(
            rf"^\| `{re.escape(call)}` \| [\d.]+ .s \| [\d.]+ .s \|$", run.stdout, re.M
        )


def test_what_grows_is_measured_at_each_size(tmp_path: Path) -> None:
    command = [sys.executable, growth.__file__, "--quick", "--most", "3", "--to", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads((tmp_path / "growth.json").read_text())
    assert results["crowds"] == [[3, 3]]
    assert list(results["best"]) == list(growth.OPERATIONS)
    assert all(spent > 0 < beside for [[spent, beside]] in results["best"].values())
    assert (tmp_path / "growth.md").read_text() == growth.page(results)


def test_what_grows_has_a_reason() -> None:
    """In terms of the yardstick: a machine that had other work makes nothing grow."""
    best = {key: [(1.0, 1.0), (3.0, 3.0)] for key in growth.OPERATIONS}
    best["names"] = [(1.0, 1.0), (3.0, 1.0)]
    page = growth.page({"machine": {}, "crowds": [(1, 1), (9, 9)], "best": best})
    names = growth.OPERATIONS["names"]
    assert f"| {names.title} | 1 s | 3 s | 3 × |" in page
    assert f"- {names.title}: {names.why}.\n" in page
    flat = ", ".join(each.title for key, each in growth.OPERATIONS.items() if key != "names")
    assert f"Not so: {flat}.\n" in page
    assert page.count("\n- ") == 1


def test_the_page_of_growth_is_of_the_last_run() -> None:
    results = json.loads((report.ROOT / "benchmarks/growth.json").read_text())
    assert (report.ROOT / "docs/growth.md").read_text() == growth.page(results)
    assert [names for names, _ in results["crowds"]] == [*growth.SIZES]


def test_what_is_left_of_many_calls_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    held = million.held
    monkeypatch.setattr(million, "held", lambda: (0, *held()[1:]))  # memory takes longer
    assert million.calls(20) == 0
    assert million.churn(20) == 0
    left: list[int] = []
    try:
        assert million.watch(lambda steps: left.extend(os.dup(0) for _ in steps), 20) == 1
    finally:
        for fd in left:
            os.close(fd)
    assert "grown by 0 KiB, 20 descriptors, 0 threads" in capfd.readouterr().out


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_race_that_was_ended(number: int, tmp_path: Path) -> None:
    found = RUN.is_dir()
    # Reading this pipe ends when the last process has closed it.
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*RACE, "--only", "discover", "--to", tmp_path / "to"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        pass_fds=[writer],
        start_new_session=True,
    ) as outer:
        os.close(writer)
        assert outer.stdout is not None
        while not outer.stdout.readline().startswith(operations.FLOOR):
            assert outer.poll() is None
        if number == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(outer.pid, number)
        else:
            outer.send_signal(number)
        with os.fdopen(reader, "rb") as pipe:
            assert pipe.read() == b""
        outer.communicate()
        assert outer.returncode == (130 if number == signal.SIGINT else -number)
    assert not [*RUN.glob("bench-*"), *RUN.glob("doomed-*")]
    if not found and RUN.is_dir():
        RUN.rmdir()
    # Its mount points are empty; with SIGKILL nobody could remove them.
    assert not list(tmp_path.glob("*/*"))
    assert number != signal.SIGINT or not list(tmp_path.iterdir())
