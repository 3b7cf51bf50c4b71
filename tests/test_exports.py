"""What is public: each name once, documented, typed, and cheap to import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import netns

CSRC = Path(__file__).resolve().parent.parent / "csrc"
DOCUMENTED = ("Thread:", "Privilege:", "Since:", "Source:")


def test_all_is_what_is_public() -> None:
    public = {
        name
        for name, value in vars(netns).items()
        if name[0] != "_" and name != "TYPE_CHECKING" and not inspect.ismodule(value)
    }
    lazy = " ".join(netns._MODULES.values()).split()
    assert sorted(lazy) == netns.__all__
    assert public <= set(lazy) <= set(dir(netns))
    assert all(getattr(netns, name) for name in lazy)
    assert netns.__all__ == sorted(netns.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        netns.nothing  # noqa: B018


def test_functions_and_methods_are_documented() -> None:
    functions = [getattr(netns, name) for name in netns.__all__]
    functions += [getattr(netns.NetNS, name) for name in vars(netns.NetNS) if name[0] != "_"]
    for function in functions:
        doc = inspect.getdoc(function)
        assert doc, function
        if inspect.isfunction(function):
            assert [word for word in DOCUMENTED if word not in doc] == [], function


def test_the_reference_has_all_that_is_public() -> None:
    page = (CSRC.parent / "docs/api.md").read_text()
    documented = re.findall(r"^\.\. auto(?:function|class|exception):: (\w+)", page, re.MULTILINE)
    assert sorted(documented) == netns.__all__


def test_version_is_the_headers() -> None:
    match = re.search(r'NETNS_VERSION "(.+)"', (CSRC / "netns.h").read_text())
    assert match is not None
    assert netns.__version__ == match.group(1)


def test_import_is_light() -> None:
    """Heavy modules wait until they are needed."""
    path = [str(Path(netns.__file__).parent.parent), *sys.path]
    script = f"import sys; sys.path[:] = {path}; import netns; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    heavy = "typing asyncio subprocess socket threading contextlib dataclasses enum logging"
    assert not loaded & {*heavy.split(), "concurrent.futures", "inspect", "re", "contextvars"}


def test_the_extension_exports_nothing_else() -> None:
    """Or a host with a libnetns of its own would capture the extension's calls."""
    from netns import _native

    run = subprocess.run(
        ["nm", "--dynamic", "--defined-only", _native.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[-1] for line in run.stdout.splitlines()] == ["PyInit__native"]


def test_imported_anew(ns: netns.NetNS) -> None:
    """Handles of before go on working, as in tests that drop modules."""
    script = """
import sys, netns
ns = netns.new()
for name in [name for name in sys.modules if name.split(".")[0] == "netns"]:
    del sys.modules[name]
import netns as again
assert ns.do(lambda host: 1) == 1
with again.new() as other:
    assert other.do(lambda host: 2) == 2
ns.close()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
