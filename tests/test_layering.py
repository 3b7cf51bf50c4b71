"""A file uses only what stands above it in its list.

Each language has a list, and a way to find out what a file uses.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"

# Discovery stands below the core: the core must not use it.
C = [
    "netns.h",
    "core/fault.h",
    "core/sys.h",
    "core/fault.c",
    "core/internal.h",
    "core/error.c",
    "core/process.c",
    "core/handle.c",
    "core/thread.c",
    "core/helper.c",
    "core/switch.c",
    "core/rundir.c",
    "core/nsid.c",
    "core/open.c",
    "core/create.c",
    "core/socket.c",
    "core/exec.c",
    "discover/holders.h",
    "discover/holders.c",
    "discover/names.c",
    "discover/mounts.c",
    "discover/descriptors.c",
    "discover/processes.c",
    "discover/discover.c",
]

# The binding is a client of netns.h.
BINDING = [
    "netns.h",
    "python/binding.h",
    "python/interpreter.c",
    "python/errors.c",
    "python/handle.c",
    "python/switch.c",
    "python/follow.c",
    "python/guard.c",
    "python/thread.c",
    "python/module.c",
]

PYTHON = [
    "_types",
    "_lazy",
    "_native",
    "_errors",
    "_call",
    "_threads",
    "_switch",
    "_process",
    "_executor",
    "_socket",
    "_asyncio",
    "_handle",
    "_create",
    "_names",
    "_holder",
    "_discover",
    "_watch",
    "_pool",
    "_config",
    "__init__",
    "_words",
    "_arguments",
    "_cli",
    "__main__",
]

# The title of a header's section, which declares what one file defines.
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
    """Files that the list lacks, and entries of the list that are no files."""
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
    """The symbols of the objects show every use, whatever is declared."""
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


@pytest.mark.parametrize(
    ("header", "order"),
    [("core/internal.h", C), ("discover/holders.h", C), ("python/binding.h", BINDING)],
)
def test_c_sections_stand_in_order(header: str, order: list[str]) -> None:
    """A header declares file by file, in the order of the list."""
    folder = header.split("/")[0]
    sections = [f"{folder}/{name}" for name in SECTION.findall((CSRC / header).read_text())]
    assert len(sections) > 2
    assert sections == [file for file in order if file in sections]


def test_the_binding(tmp_path: Path) -> None:
    """The binding uses only netns.h of the core, and its files stand in order."""
    files = {f"python/{path.name}" for path in (CSRC / "python").glob("*.[ch]")} | {"netns.h"}
    assert unlisted(BINDING, files) == set()
    public = set(re.findall(r"netns_\w+(?=;)", (CSRC / "netns.map").read_text()))
    where = dict.fromkeys(public, "netns.h")
    uses: dict[str, dict[str, str]] = {}
    needed: dict[str, set[str]] = {}
    for file in BINDING[2:]:
        made = tmp_path / (Path(file).stem + ".o")
        flags = [f"-I{CSRC}", f"-I{sysconfig.get_path('include')}", "-D_GNU_SOURCE"]
        compile_it = ["cc", "-c", "-o", str(made), *flags, str(CSRC / file)]
        subprocess.run(compile_it, check=True)
        where.update(dict.fromkeys(nm(made, "-g", "--defined-only"), file))
        needed[file] = set(nm(made, "-u"))
    for file, symbols in needed.items():
        uses[file] = {symbol: where[symbol] for symbol in symbols if symbol in where}
        ours = {symbol for symbol in symbols if symbol.startswith("netns")} - where.keys()
        assert ours <= {"netns__init_cffi"}, (file, ours)
    assert sum(map(len, uses.values())) > 15
    assert wrong_arrows(BINDING, uses) == []


def imported(tree: ast.AST) -> dict[str, str]:
    """The package's modules that a module imports anywhere, lazily too; each by its line.

    Not below `if TYPE_CHECKING`, which never runs. A name in a string counts: that of
    a Lazy, and those in the table of public names.
    """
    found: dict[str, str] = {}
    for node in ast.iter_child_nodes(tree):
        line = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                found.update(imported(ast.Module([other], [])))
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            named = [node.module] if node.module else [alias.name for alias in node.names]
            found.update({f"{line}, {name}": str(name) for name in named})
        elif isinstance(node, ast.Import):
            modules = [alias.name.partition(".")[::2] for alias in node.names]
            inner = [rest or "__init__" for top, rest in modules if top == "netns"]
            found.update({f"{line}, {name}": name for name in inner})
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.rpartition("netns.")[2]
            if name in PYTHON:
                found[f"{line}, {name}"] = name
        found.update(imported(node))
    return found


def test_python_imports() -> None:
    package = ROOT / "netns"
    modules = {path.stem for path in package.glob("*.py")} | {"_native"}
    assert unlisted(PYTHON, modules) == set()
    uses = {
        module: imported(ast.parse((package / f"{module}.py").read_text()))
        for module in PYTHON
        if module != "_native"
    }
    assert set(uses["_handle"].values()) >= {"_call", "_executor", "_socket"}
    assert len(set(uses["__init__"].values())) > 8
    assert wrong_arrows(PYTHON, uses) == []


def test_a_lazy_import_is_seen() -> None:
    source = """
def f():
    from ._handle import NetNS
    later = Lazy("netns._create")
if TYPE_CHECKING:
    from ._pool import Pool
"""
    uses = {"_call": imported(ast.parse(source))}
    assert wrong_arrows(PYTHON, uses) == [
        "_call uses line 3, _handle of _handle, which stands below it",
        "_call uses line 4, _create of _create, which stands below it",
    ]


def test_a_wrong_arrow_is_seen() -> None:
    uses = {"core/thread.c": {"netns__go_home": "core/switch.c"}, "core/open.c": {}}
    assert wrong_arrows(C, uses) == [
        "core/thread.c uses netns__go_home of core/switch.c, which stands below it"
    ]
    assert unlisted(C, {*C, "core/new.c"}) == {"core/new.c"}
