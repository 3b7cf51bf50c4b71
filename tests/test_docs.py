"""The examples in the documentation run, and print what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
PAGES = {
    page: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
NEWLINE = "\n"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAID = re.compile(r"^ *print\(.*\) +# (.+?)(?:: .*)?$", re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(ROOT)}:{text[: match.start()].count(NEWLINE) + 1}", match.group(2))
        for page, text in PAGES.items()
        for match in BLOCK.finditer(text)
        if match.group(1) == language
    ]


def run(command: list[str], directory: Path) -> str:
    """What it prints; names that it makes are in a run directory of its own."""
    run_directory = directory / "run"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=directory,
            env={**os.environ, "NETNS_RUN_DIR": str(run_directory), "PATH": PATH},
        )
    finally:
        if run_directory.exists():
            subprocess.run(["umount", run_directory], check=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_is_run() -> None:
    languages = {found.group(1) for text in PAGES.values() for found in BLOCK.finditer(text)}
    others = {language for language in languages if not language.startswith("{")}
    assert others <= {"python", "sh", "c", "text"}


@pytest.mark.parametrize(("where", "code"), blocks("python"))
def test_examples_print_what_they_say(where: str, code: str, tmp_path: Path) -> None:
    printed = run([sys.executable, "-W", "error", "-c", code], tmp_path)
    assert printed.splitlines() == SAID.findall(code)


@pytest.mark.parametrize(("where", "code"), blocks("sh"))
def test_shell_examples_run(where: str, code: str, tmp_path: Path) -> None:
    run(["sh", "-euc", code], tmp_path)


@pytest.mark.parametrize(("where", "code"), blocks("c"))
def test_c_examples_compile_and_run(where: str, code: str, tmp_path: Path) -> None:
    program = tmp_path / "example"
    program.with_suffix(".c").write_text(code)
    folders = (CSRC / "core", CSRC / "discover")
    sources = [path for folder in folders for path in folder.glob("[!f]*.c")]
    options = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pthread"]
    options += [f"-I{folder}" for folder in (CSRC, *folders)]
    files = [str(path) for path in (program.with_suffix(".c"), *sources)]
    subprocess.run(["cc", *map(str, options), "-o", str(program), *files], check=True)
    run([str(program)], tmp_path)
