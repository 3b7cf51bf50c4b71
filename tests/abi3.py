"""Builds a wheel by the oldest and by the newest CPython, and uses each on all of them.

    python tests/abi3.py     (needs two or more of CPython 3.9 to 3.14 in PATH)

Whichever CPython builds it, the wheel must be cp39-abi3 and work on all.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = [f"3.{minor}" for minor in range(9, 15)]
PROGRAM = """
import netns
with netns.new() as ns:
    assert ns.do(lambda host: ns.is_current())
    assert not ns.is_current()
"""


def run(*command: object, cwd: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nabi3: {command[0]} ended with {done.returncode}")


def main() -> None:
    found = {}
    for version in VERSIONS:
        python = shutil.which(f"python{version}")
        # A pyenv without that version has a program that only says so.
        if python and not subprocess.run([python, "-c", ""], capture_output=True).returncode:
            found[version] = python
    if len(found) < 2:
        sys.exit("abi3: fewer than two CPythons in PATH")
    with tempfile.TemporaryDirectory(prefix="netns-abi3-") as name:
        work = Path(name)
        for version, python in found.items():
            run(python, "-m", "venv", work / version, cwd=work)
            run(work / version / "bin/pip", "install", "-q", "cffi", cwd=work)
        for builder in (min(found, key=VERSIONS.index), max(found, key=VERSIONS.index)):
            pip = [work / builder / "bin/pip", "wheel", "-q", "--no-deps"]
            source = shutil.copytree(
                ROOT,
                work / f"source-{builder}",
                ignore=shutil.ignore_patterns(".git", ".tox", "build", "_build", "*.so"),
            )
            run(*pip, "-w", work / "wheels" / builder, source, cwd=work)
            (wheel,) = (work / "wheels" / builder).iterdir()
            assert "-cp39-abi3-" in wheel.name, wheel.name
            for version in found:
                install = ["install", "-q", "--no-deps", "--force-reinstall", wheel]
                run(work / version / "bin/pip", *install, cwd=work)
                run(work / version / "bin/python", "-W", "error", "-c", PROGRAM, cwd=work)
            print(f"{wheel.name}, built by {builder}: works on {' '.join(found)}")


if __name__ == "__main__":
    main()
