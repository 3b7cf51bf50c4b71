"""The command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netns
from support import here


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "netns", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_add_list_exec_delete(name: str) -> None:
    assert run("add", name).returncode == 0
    assert name in run("list").stdout.splitlines()
    with netns.open(name) as ns:
        inside = run("exec", name, "readlink", "/proc/self/ns/net")
        assert (inside.returncode, inside.stdout) == (0, f"net:[{ns.ino}]\n")
    assert run("exec", f"/run/netns/{name}", "sh", "-c", "exit 42").returncode == 42
    assert run("delete", name).returncode == 0
    assert name not in netns.names()


def test_exec_passes_options_on(name: str) -> None:
    netns.create(name).close()
    assert run("exec", name, "echo", "-n", "--help", "-x").stdout == "--help -x"


def test_failures_are_told(name: str) -> None:
    netns.create(name).close()
    again = run("add", name)
    assert again.returncode == 1
    assert again.stderr == f"netns: make the mount point: File exists: '/run/netns/{name}'\n"
    missing = run("delete", f"{name}-a", f"{name}-b")
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 2
    assert run("exec", f"{name}-a", "true").returncode == 1
    assert run("exec", name, "/nonexistent/command").returncode == 127
    assert run("exec", name, "/etc/passwd").returncode == 126
    assert run().returncode == run("nonsense").returncode == 2


def test_demo() -> None:
    pytest.importorskip("pyroute2", reason="the demo needs pyroute2 (netns[demo])")
    demo = run("demo")
    assert demo.returncode == 0, demo.stderr
    lines = demo.stdout.splitlines()
    homes = [line for line in lines if line.startswith("home")]
    assert len(homes) == 2
    assert homes[0] == homes[1]
    assert here() in homes[0]
    links = [line for line in lines if line.startswith("  links:")]
    assert [("dummy0" in line) for line in links] == [False, True, False]
    assert lines[-1] == "The thread is home again."
