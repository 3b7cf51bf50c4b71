"""`ip netns` and the library list, use and delete what the other one makes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import netns
from support import RUN, here, is_shared, mountinfo, nsfs_mounts

IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")


@pytest.fixture(autouse=True, scope="module")
def iproute2() -> None:
    if IP is None:
        reason = "iproute2 (ip) is not installed"
        pytest.skip(reason)


def ip(*args: str) -> str:
    assert IP is not None
    run = subprocess.run([IP, *args], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_ip_netns_lists_runs_in_and_deletes_ours(name: str) -> None:
    with netns.create(name) as ns:
        assert name in [line.split()[0] for line in ip("netns", "list").splitlines()]
        link = ip("netns", "exec", name, "readlink", "/proc/self/ns/net").strip()
        assert link == f"net:[{ns.ino}]"
        ip("netns", "delete", name)
        assert name not in netns.names()
        assert not (RUN / name).exists()
        assert ns.do(lambda host: here()) == link  # the handle keeps it alive


def test_ours_list_run_in_and_delete_those_of_ip_netns(name: str) -> None:
    ip("netns", "add", name)
    assert name in netns.names()
    with netns.open(name) as ns:
        link = ip("netns", "exec", name, "readlink", "/proc/self/ns/net").strip()
        assert ns.do(lambda host: here()) == link
    with pytest.raises(netns.ExistsError):
        netns.create(name)
    netns.delete(name)
    assert name not in ip("netns", "list").split()
    assert not (RUN / name).exists()


def test_ip_netns_refuses_a_name_of_ours(name: str) -> None:
    netns.create(name).close()
    assert IP is not None
    run = subprocess.run([IP, "netns", "add", name], capture_output=True, text=True)
    assert run.returncode != 0
    assert "File exists" in run.stderr
    assert nsfs_mounts().count(str(RUN / name)) == 1


def run_directory_mounts() -> list[str]:
    """How each mount on the run directory propagates, the uppermost last."""
    return [fields[6].split(":")[0] for fields in mountinfo() if fields[4] == str(RUN)]


def test_the_run_directory_is_shared_once(name: str) -> None:
    """Whichever of them makes it, it is mounted once."""
    before = run_directory_mounts()
    ip("netns", "add", name)
    netns.create(f"{name}-2").close()
    ip("netns", "add", f"{name}-3")
    try:
        after = run_directory_mounts()
        assert after == (before if before[-1:] == ["shared"] else [*before, "shared"])
        # If the mount below is shared, it also has what ip netns mounts.
        mounts = [path for path in nsfs_mounts() if name in path]
        assert sorted(set(mounts)) == [str(RUN / f"{name}{suffix}") for suffix in ("", "-2", "-3")]
        assert len(mounts) == 3 or is_shared(RUN.parent)
    finally:
        netns.delete(name, f"{name}-2", f"{name}-3")


def test_concurrent_creators_of_both_kinds(name: str) -> None:
    """One winner each, in several processes, and no stacked mounts."""
    assert IP is not None
    for turn in range(4):
        target = f"{name}-{turn}"
        ours = [sys.executable, "-c", f"import netns; netns.create({target!r}).close()"]
        theirs = [IP, "netns", "add", target]
        processes = [
            subprocess.Popen(command, stderr=subprocess.DEVNULL)
            for command in (ours, theirs, ours, theirs)
        ]
        try:
            assert sorted(process.wait() == 0 for process in processes) == [False] * 3 + [True]
            assert nsfs_mounts().count(str(RUN / target)) == 1
            assert netns.is_netns(target)
        finally:
            netns.delete(target)
        assert not (RUN / target).exists()


def test_concurrent_deleters_of_both_kinds(name: str) -> None:
    """One wins each name; the others find nothing there."""
    assert IP is not None
    for turn in range(4):
        target = f"{name}-{turn}"
        netns.create(target).close()
        ours = [sys.executable, "-c", f"import netns; netns.delete({target!r})"]
        theirs = [IP, "netns", "delete", target]
        processes = [
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            for command in (ours, theirs, ours, theirs)
        ]
        errors = [process.communicate()[1] for process in processes]
        assert sorted(process.returncode == 0 for process in processes) == [False] * 3 + [True]
        assert all("No such file" in text for text in errors if text)
        assert nsfs_mounts().count(str(RUN / target)) == 0
        assert not (RUN / target).exists()
