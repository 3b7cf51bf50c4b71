"""Uses a wheel that CPython 3.12 built on 3.9: 100,000 calls must not change None's count.

``python tests/oldest.py BUILDER OLDEST``: the two interpreters. None is
immortal from 3.12 on, so macros of its headers may leave out a count that 3.9 needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLS = """
import gc, sys, netns
ns = netns.new()

def use():
    with ns.enter():
        pass
    ns.do(lambda host: None)
    netns.current().close()
    with netns.tour() as t:
        t.visit(ns)
    ns.set.__self__.closed
    guard = ns.enter()
    guard.close()
    ns == ns, ns != 1, ns.is_current() if hasattr(ns, "is_current") else None

constants = (None, True, False, NotImplemented)
for _ in range(100):
    use()
gc.collect()
before = [sys.getrefcount(each) for each in constants]
for _ in range(12500):  # eight calls each
    use()
gc.collect()
after = [sys.getrefcount(each) for each in constants]
print(sys.version_info[:2], [b - a for a, b in zip(before, after)])
sys.exit(any(abs(b - a) > 100 for a, b in zip(before, after)))
"""


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


def main(builder: str, oldest: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        build, use = Path(scratch, "build"), Path(scratch, "use")
        run(builder, "-m", "venv", build)
        run(build / "bin/pip", "install", "-q", "cffi", "setuptools >= 77", "wheel")
        run(
            build / "bin/pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            scratch,
            ROOT,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        run(oldest, "-m", "venv", use)
        run(use / "bin/pip", "install", "-q", wheel)
        run(use / "bin/python", "-W", "ignore", "-c", CALLS)


if __name__ == "__main__":
    main(*sys.argv[1:])
