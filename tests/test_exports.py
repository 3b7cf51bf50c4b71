"""The public names: each is exported once, documented and typed, and importing them is cheap."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import netns

CSRC = Path(__file__).resolve().parent.parent / "csrc"
DOCUMENTED = ("Thread:", "Privilege:", "Since:", "Source:")


def test_all_is_what_is_public() -> None:
    assert all(getattr(netns, name) for name in netns.__all__)
    assert set(netns.__all__) <= set(dir(netns))
    public = {
        name
        for name, value in vars(netns).items()
        if name[0] != "_" and not inspect.ismodule(value)
    }
    assert public == set(netns.__all__)
    stub = Path(netns.__file__).with_name("__init__.pyi").read_text()
    typed = re.findall(r"(\w+) as (\w+)", stub)
    assert sorted(name for name, _ in typed) == netns.__all__
    assert all(name == exported for name, exported in typed)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        netns.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_functions_and_methods_are_documented() -> None:
    functions = [getattr(netns, name) for name in netns.__all__ if name != "Target"]
    functions += [getattr(netns.NetNS, name) for name in vars(netns.NetNS) if name[0] != "_"]
    for function in functions:
        doc = inspect.getdoc(function)
        assert doc, function
        if inspect.isfunction(function):
            assert [word for word in DOCUMENTED if word not in doc] == [], function


def test_the_reference_has_all_that_is_public() -> None:
    pages = "".join(page.read_text() for page in (CSRC.parent / "docs/reference").glob("*.md"))
    entry = r"^\.\. (?:autofunction|autoclass|autoexception|py:data):: (\w+)"
    documented = re.findall(entry, pages, re.MULTILINE)
    assert sorted(documented) == netns.__all__


def test_annotations_resolve() -> None:
    """Dependency injectors and documentation tools resolve them, on the oldest CPython too."""
    public = [getattr(netns, name) for name in netns.__all__ if name != "Target"]
    kinds = [each for each in public if inspect.isclass(each)]
    functions = [each for each in public if inspect.isfunction(each)]
    for kind in kinds:
        typing.get_type_hints(kind)
        for name, each in vars(kind).items():
            if name[0] == "_":
                continue
            function = each.fget if isinstance(each, property) else each
            functions += [function] if inspect.isfunction(function) else []
    assert len(functions) > 50
    for function in functions:
        hints = typing.get_type_hints(function)
        assert set(hints) >= set(inspect.signature(function).parameters) - {"self"}, function


def test_version_is_the_headers() -> None:
    match = re.search(r'NETNS_VERSION "(.+)"', (CSRC / "netns.h").read_text())
    assert match is not None
    assert netns.__version__ == match.group(1)


def test_import_is_light() -> None:
    """Heavy modules are imported when they are first needed."""
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
    """Else a host with a libnetns of its own would capture the extension's calls."""
    from netns import _native

    run = subprocess.run(
        ["nm", "--dynamic", "--defined-only", _native.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[-1] for line in run.stdout.splitlines()] == ["PyInit__native"]


def test_imported_anew(ns: netns.NetNS) -> None:
    """Tests of others drop modules and import them again; older handles must go on working."""
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
