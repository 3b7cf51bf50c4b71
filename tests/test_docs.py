"""The examples in the documentation run, and print what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAID = re.compile(r"^ *print\(.*\) +# ([^:\n]+).*$", re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    return [
        (f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 1}", match.group(1))
        for page in PAGES
        for match in BLOCK.finditer(page.read_text())
    ]


@pytest.mark.parametrize(("where", "code"), blocks())
def test_examples_print_what_they_say(where: str, code: str, tmp_path: Path) -> None:
    run_directory = tmp_path / "run"
    try:
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "NETNS_RUN_DIR": str(run_directory)},
        )
    finally:
        if run_directory.exists():
            subprocess.run(["umount", run_directory], check=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == SAID.findall(code)
