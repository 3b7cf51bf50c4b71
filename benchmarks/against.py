"""Two trees of this library in one race: this one, and a commit (race.py --against)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from contestants import HERE, Contestant, library
from operations import OURS, C
from report import number, ratio, shown, table

ROOT = HERE.parent
TREES = "NETNS_BENCH_TREES"
BEFORE = {OURS: f"{OURS}, before", C: f"{C}, before"}


def build(trees: Path, revision: str) -> None:
    """Both trees, as files and each installed into an environment of its own.

    This one too, with what isn't committed: both are then built and found in the same way.
    """
    git = ["git", "-C", str(ROOT)]
    archive = [*git, "archive", f"{revision}^{{commit}}"]
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    here = b"\0".join(
        file for file in listed.split(b"\0") if os.path.lexists(ROOT / os.fsdecode(file))
    )
    pack = ["tar", "-C", str(ROOT), "--null", "-T", "-", "-c"]
    for name, command, given in (("old", archive, b""), ("new", pack, here)):
        print(f"building the {name} tree", flush=True)
        (trees / name).mkdir()
        packed = subprocess.run(command, input=given, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-C", str(trees / name), "-x"], input=packed, check=True)
        venv = trees / f"{name}-venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin/python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "--disable-pip-version-check", str(trees / name)], check=True)


def contestants() -> dict[str, Callable[[Path], Contestant]]:
    trees = Path(os.environ[TREES])

    def python(tree: str) -> Callable[[Path], Contestant]:
        program = trees / f"{tree}-venv/bin/python"
        return lambda build: Contestant(program, HERE / "library.py")

    def native(tree: str) -> Callable[[Path], Contestant]:
        return lambda build: library(build, trees / tree / "csrc", f"library-{tree}")

    return {
        OURS: python("new"),
        BEFORE[OURS]: python("old"),
        C: native("new"),
        BEFORE[C]: native("old"),
    }


def page(revision: str, results: dict[str, Any]) -> str:
    """A row for each operation and each of the two ways to call it."""
    rows = []
    sure = not results["quick"]
    for operation in results["operations"].values():
        for whose, before in BEFORE.items():
            values, unit = operation["values"], operation["unit"]
            title = operation["title"].replace("`", "") + (", from C" if whose == C else "")
            if values.get(whose) and values.get(before):
                of = ratio(values[whose], values[before])
                middle = [shown(median(values[name]), unit) for name in (before, whose)]
                mark = (
                    "slower" if sure and of.low > 1 else "faster" if sure and of.high < 1 else ""
                )
                rows.append(
                    [title, *middle, number(of.mid), f"{number(of.low)}–{number(of.high)}", mark]
                )
            for name in (whose, before):
                if name in operation["failed"]:
                    rows.append([title, f"{name} failed: {operation['failed'][name]}", *[""] * 4])
    for name, reason in results["absent"].items():
        rows.append([f"{name}: {reason}", *[""] * 5])
    return table(["", revision, "this tree", "this / that", "middle half", ""], rows)
