"""The pytest plugin: namespaces for other people's tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def run(tmp_path: Path, tests: str, *options: str, before: tuple[str, ...] = ()) -> str:
    """What pytest prints for these tests, with the plugin as it is installed."""
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    # hypothesis has a plugin as well, which takes seconds to import.
    without = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command = [*before, sys.executable, "-m", "pytest", *without, "-ra", *options]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_"))}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, env=env
    )
    return done.stdout + done.stderr


def ended(said: str) -> dict[str, int]:
    last = [line for line in said.splitlines() if re.match(r"=+ \d+ (?!warning)\w+", line)]
    assert last, said
    return {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", last[-1])}


def test_netns(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
import socket

def test_fresh(netns):
    assert netns.do(lambda host: [name for _, name in socket.if_nameindex()])[0] == "lo"
    with netns.create_server(("127.0.0.1", 0)) as server:
        netns.create_connection(server.getsockname()).close()  # the loopback device is up
""",
    )
    assert ended(said)["passed"] == 1, said


def test_netns_pair(tmp_path: Path) -> None:
    pytest.importorskip("pyroute2")
    said = run(
        tmp_path,
        """
def test_joined(netns_pair):
    left, right = netns_pair
    with right.ns.create_server((right.address, 0)) as server:
        with left.ns.create_connection(server.getsockname(), timeout=20) as client:
            assert client.getsockname()[0] == left.address
    assert left.ns != right.ns
    assert left.device != right.device
""",
    )
    assert ended(said)["passed"] == 1, said


def test_netns_pair_is_ready(tmp_path: Path) -> None:
    """Both ends are up: a packet that a cable loses is sent again only after a second."""
    pytest.importorskip("pyroute2")
    said = run(
        tmp_path,
        """
import pytest
from pyroute2 import IPRoute

def state(host, device):
    with IPRoute() as route:
        return route.get_links(ifname=device)[0].get_attr("IFLA_OPERSTATE")

@pytest.mark.parametrize("number", range(20))
def test_up(netns_pair, number):
    assert [end.ns.do(state, end.device) for end in netns_pair] == ["UP", "UP"]
""",
    )
    assert ended(said) == {"passed": 20}, said


def test_in_netns(tmp_path: Path) -> None:
    """The function alone is inside, and the thread is home however the function ends."""
    said = run(
        tmp_path,
        """
import os, pytest

def here():
    return os.readlink("/proc/thread-self/ns/net")

HOME = here()

@pytest.fixture
def place():
    assert here() == HOME
    yield here()
    assert here() == HOME

@pytest.mark.in_netns
@pytest.mark.parametrize("number", [1, 2])
def test_inside(place, number):
    assert here() != HOME == place

@pytest.mark.in_netns
class TestMethods:
    def test_method(self):
        assert here() != HOME

@pytest.mark.in_netns
def test_fails():
    assert here() == HOME

def test_afterwards():
    assert here() == HOME
""",
        "--strict-markers",
    )
    assert ended(said) == {**ended(said), "passed": 4, "failed": 1}, said


def test_marked_tests_that_can_not_run_inside_fail(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
import pytest, unittest

@pytest.mark.in_netns
async def test_coroutine():
    pass

@pytest.mark.in_netns
class TestOld(unittest.TestCase):
    def test_method(self):
        pass
""",
    )
    assert "do_async" in said
    assert "unittest.TestCase" in said
    assert "passed" not in ended(said), said


NEEDS = """
import pytest

def test_fixture(netns):
    pass

@pytest.mark.in_netns
def test_marked():
    pass
"""


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ((), "skipped"),
        (("--netns-unprivileged=fail",), "failed"),
        (("-o", "netns_unprivileged=fail"), "failed"),
        (("-o", "netns_unprivileged=fail", "--netns-unprivileged=skip"), "skipped"),
    ],
)
def test_without_privileges(tmp_path: Path, options: tuple[str, ...], outcome: str) -> None:
    """They are skipped, or fail where that is set, and the reason names the capability."""
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    said = run(tmp_path, NEEDS, *options, before=drop)
    count = ended(said)
    assert count.get(outcome, 0) + count.get("errors", 0) + count.get("error", 0) == 2, said
    assert "CAP_SYS_ADMIN" in said


def test_without_the_privilege_over_devices(tmp_path: Path) -> None:
    """The namespace is closed before the skip: an unclosed one would warn."""
    drop = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    said = run(tmp_path, NEEDS, "-W", "error", before=drop)
    assert ended(said) == {"skipped": 2}, said
    assert "Operation not permitted" in said


def test_a_misspelt_choice_is_an_error(tmp_path: Path) -> None:
    said = run(tmp_path, NEEDS, "-o", "netns_unprivileged=fial")
    assert "netns_unprivileged is not one of skip, fail" in said
    assert "passed" not in said


def test_it_imports_nothing_when_unused(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
import sys

def test_nothing():
    assert "pytest_netns" in sys.modules
    assert "netns" not in sys.modules
    assert "pyroute2" not in sys.modules
""",
    )
    assert ended(said) == {"passed": 1}, said


@pytest.mark.parametrize(
    ("module", "fixture", "said"),
    [
        ("netns", "netns", "is the module of the package 'netns', not of 'pynetns'"),
        ("pyroute2", "netns_pair", "python3 -m pip install 'pynetns[pytest]'"),
    ],
)
def test_a_module_that_hides_the_right_one(
    tmp_path: Path, module: str, fixture: str, said: str
) -> None:
    (tmp_path / f"{module}.py").write_text("" if module == "netns" else "raise ImportError")
    tests = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
for name in [name for name in sys.modules if name.partition(".")[0] == {module!r}]:
    del sys.modules[name]

def test_it({fixture}):
    pass
"""
    shown = run(tmp_path, tests)
    assert said in shown
    assert "Traceback" not in shown
