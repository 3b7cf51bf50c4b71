"""One way: a file uses only what stands above it in its list.

Each language has a list, from top to bottom, and a way to tell what a file uses.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"

# Discovery stands below the core, so the core can't use it.
C = [
    "netns.h",
    "core/fault.h",
    "core/sys.h",
    "core/fault.c",
    "core/internal.h",
    "core/error.c",
    "core/handle.c",
    "core/thread.c",
    "core/helper.c",
    "core/switch.c",
    "core/rundir.c",
    "core/open.c",
    "core/create.c",
    "core/socket.c",
    "core/nsid.c",
    "core/exec.c",
    "discover/holders.h",
    "discover/holders.c",
    "discover/names.c",
    "discover/mounts.c",
    "discover/processes.c",
    "discover/discover.c",
]

# A section of a header, which declares what one file defines.
SECTION = re.compile(r"^/\* (\w+\.c) \*/$", re.MULTILINE)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def wrong_arrows(order: list[str], uses: dict[str, dict[str, str]]) -> list[str]:
    """Uses of files that stand below; uses: file -> what it uses -> the file that has it."""
    return [
        f"{file} uses {what} of {there}, which stands below it"
        for file, used in sorted(uses.items())
        for what, there in sorted(used.items())
        if order.index(there) > order.index(file)
    ]


def unlisted(order: list[str], files: set[str]) -> set[str]:
    """Files that the list lacks, and names in it that no file has."""
    return files ^ set(order)


def nm(path: Path, *options: str) -> list[str]:
    done = subprocess.run(
        ["nm", "--format=posix", *options, str(path)], capture_output=True, text=True, check=True
    )
    return [line.split()[0] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core's objects, in a folder of their own."""
    if not shutil.which("make") or not shutil.which("nm"):
        reason = "needs make and nm"
        pytest.skip(reason)
    out = tmp_path_factory.mktemp("objects")
    make = ["make", "-s", "-C", str(CSRC), f"out={out}", "CFLAGS=-O0", "static"]
    subprocess.run(make, check=True)
    return out


def test_c_files_are_listed() -> None:
    files = {
        str(path.relative_to(CSRC))
        for pattern in ("*.h", "core/*.[ch]", "discover/*.[ch]")
        for path in CSRC.glob(pattern)
    }
    assert unlisted(C, files) == set()


def test_c_symbols(objects: Path) -> None:
    """What the linker sees, which no declaration and no comment can hide."""
    built = {str(path.relative_to(objects))[:-2] + ".c": path for path in objects.rglob("*.o")}
    where = {
        symbol: file for file, path in built.items() for symbol in nm(path, "-g", "--defined-only")
    }
    uses = {
        file: {symbol: where[symbol] for symbol in nm(path, "-u") if symbol in where}
        for file, path in built.items()
    }
    assert len(built) > 15
    assert sum(map(len, uses.values())) > 50
    assert wrong_arrows(C, uses) == []


def test_c_includes() -> None:
    paths = {Path(file).name: file for file in C if file.endswith(".h")}
    uses = {
        file: {header: paths[header] for header in INCLUDE.findall((CSRC / file).read_text())}
        for file in C
    }
    assert uses["core/exec.c"] == {"internal.h": "core/internal.h", "sys.h": "core/sys.h"}
    assert wrong_arrows(C, uses) == []


@pytest.mark.parametrize("header", ["core/internal.h", "discover/holders.h"])
def test_c_sections_stand_in_order(header: str) -> None:
    """A header declares file by file, in the order of the list."""
    folder = header.split("/")[0]
    sections = [f"{folder}/{name}" for name in SECTION.findall((CSRC / header).read_text())]
    assert len(sections) > 2
    assert sections == [file for file in C if file in sections]


def test_a_wrong_arrow_is_seen() -> None:
    uses = {"core/thread.c": {"netns__go_home": "core/switch.c"}, "core/open.c": {}}
    assert wrong_arrows(C, uses) == [
        "core/thread.c uses netns__go_home of core/switch.c, which stands below it"
    ]
    assert unlisted(C, {*C, "core/new.c"}) == {"core/new.c"}
