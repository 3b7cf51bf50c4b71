"""A few interrupts at random points of each public operation; interrupts.py alone does more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_operation() -> None:
    script = Path(__file__).with_name("interrupts.py")
    done = subprocess.run(
        [sys.executable, script, "20", "0.3"], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 30
