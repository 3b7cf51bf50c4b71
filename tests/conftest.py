"""Namespaces of the tests' own, the way into a user namespace, the leak guard."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

import netns
from support import PREFIX, RUN, ends, task_links, world

INSIDE = "NETNS_TESTS_IN_USER_NAMESPACE"
UNSHARE = ["unshare", "--map-root-user", "--net", "--mount"]


def has_privilege() -> bool:
    """Asked of the kernel in a child of unshare(1), not of the code under test."""
    return (
        subprocess.run(
            ["unshare", "--net", "--mount", "true"], stderr=subprocess.DEVNULL
        ).returncode
        == 0
    )


def pytest_configure(config: pytest.Config) -> None:
    """Not root: the whole run begins again as root of a user namespace."""
    for number in (signal.SIGINT, signal.SIGHUP):
        # nohup(1) and shells' background jobs ignore them, and so would our children.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(
                number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            )
    if os.environ.get(INSIDE) or has_privilege():
        return
    say = sys.__stderr__ or sys.stderr
    if shutil.which(UNSHARE[0]) is None:
        pytest.exit("netns: neither privileged nor is there unshare(1) (util-linux)", 1)
    probe = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.exit(
            "netns: the tests make network namespaces. They need CAP_SYS_ADMIN, or user "
            f"namespaces, which this system forbids: {probe.stderr.strip()}",
            1,
        )
    print(f"netns: not privileged; running in a user namespace: {' '.join(UNSHARE)}", file=say)
    say.flush()
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
    # /run is root's: the names of these tests live on a tmpfs over it, where
    # iproute2 looks for them too.
    script = 'mount -t tmpfs none /run && mkdir /run/tmp && exec "$@"'
    os.execvpe(
        UNSHARE[0],
        [*UNSHARE, "sh", "-c", script, "sh", sys.executable, sys.argv[0]]
        + [str(arg) for arg in config.invocation_params.args],
        # The name of root's own temporary directory is taken, by root.
        {**os.environ, INSIDE: "1", "PYTEST_DEBUG_TEMPROOT": "/run/tmp"},
    )


def pytest_report_header() -> str:
    who = "root of a user namespace" if os.environ.get(INSIDE) else "privileged"
    return f"netns: {netns.__version__}, {who}, Linux {os.uname().release}"


def pytest_collection_finish() -> None:
    """pytest's own objects are no test's garbage: each collection then takes no time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def run_directory_as_found() -> Iterator[None]:
    """A run directory that the tests made goes with them."""
    found = RUN.is_dir()
    yield
    if not found and RUN.is_dir() and not any(RUN.iterdir()):
        subprocess.run(["umount", RUN], stderr=subprocess.DEVNULL)  # if it is a mount of its own
        RUN.rmdir()


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every test leaves the thread, descriptors, threads, mounts and names as found."""
    netns.new().close()
    with netns.current() as home:
        home.do(lambda host: None)  # the thread's own two descriptors
    gc.collect()
    directory = str(tmp_path_factory.getbasetemp())
    before, threads = world(directory), set(task_links())
    yield
    # A joined thread is there until the kernel has taken it down.
    assert not [tid for tid in set(task_links()) - threads if not ends(tid)]
    gc.collect()
    assert world(directory) == before
    assert set(task_links().values()) == {before["home"]}


@pytest.fixture
def ns() -> Iterator[netns.NetNS]:
    """A fresh namespace."""
    with netns.new() as made:
        yield made


@pytest.fixture
def name() -> Iterator[str]:
    """A name nobody has, gone afterwards whatever the test made of it."""
    name = PREFIX + uuid.uuid4().hex[:12]
    yield name
    while subprocess.run(["umount", "-l", RUN / name], stderr=subprocess.DEVNULL).returncode == 0:
        pass
    (RUN / name).unlink(missing_ok=True)
