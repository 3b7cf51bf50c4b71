"""The examples in the documentation run, and print what their comments say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import unshare_run_directory

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
    """What a command prints. Its names are in a run directory of its own."""
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
            unshare_run_directory(run_directory)
    assert done.returncode == 0, done.stderr
    # On a busy machine asyncio's debug mode reports steps as slow.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert said == []
    return done.stdout


def test_every_block_is_run() -> None:
    languages = {found.group(1) for text in PAGES.values() for found in BLOCK.finditer(text)}
    others = {language for language in languages if not language.startswith("{")}
    assert others <= {"python", "sh", "c", "text"}


@pytest.mark.parametrize(("where", "code"), blocks("python"))
def test_examples_print_what_they_say(where: str, code: str, tmp_path: Path) -> None:
    printed = run([sys.executable, "-X", "dev", "-W", "error", "-c", code], tmp_path)
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


def test_the_readme_has_the_two_commands_and_no_other() -> None:
    """.ci/run looks for exactly these."""
    commands = re.findall(r"^    (\S.*)$", BLOCK.sub("", PAGES[ROOT / "README.md"]), re.MULTILINE)
    assert commands == [
        'python3 -m pip install -e ".[demo]" && python3 -m netns demo',
        "python3 -m pip install tox && python3 -m tox",
    ]


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s#]+)\)", PAGES[ROOT / "README.md"])
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_page_names_a_package_host() -> None:
    hosts = re.compile(r"PyPI|pypi\.org|github\.com|debian\.org")
    others = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "pyproject.toml", "setup.py"]
    texts = {**PAGES, **{ROOT / name: (ROOT / name).read_text() for name in others}}
    for path in [*(ROOT / ".github").rglob("*.*"), ROOT / ".readthedocs.yaml"]:
        texts[path] = path.read_text()
    generated = ROOT / "docs/performance.md"
    assert [
        str(page) for page, text in texts.items() if page != generated and hosts.search(text)
    ] == []
