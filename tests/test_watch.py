"""watch: it reports every change of the names once, and not before the name works."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import netns
from support import descriptors, interrupt_at_random, mountinfo, unshare_run_directory

IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """The path of a run directory of the test's own, which is not made yet."""
    path = tmp_path / "run"
    yield path
    for point in sorted((fields[4] for fields in mountinfo()), reverse=True):
        if point.startswith(str(path)):
            subprocess.run(["umount", "-l", point], check=True)


def test_names_come_and_go(run: Path) -> None:
    with netns.watch(timeout=10, rundir=run) as changes:
        assert changes.names == {}
        with netns.create("a", rundir=run) as ns:
            assert next(changes) == ("appeared", "a")
            assert changes.names == {"a": ns.ino}
        netns.create("b", rundir=run).close()
        assert next(changes) == ("appeared", "b")
        netns.delete("a", rundir=run)
        change = next(changes)
        assert (change.kind, change.name) == ("disappeared", "a")
    with netns.watch(timeout=0, rundir=run) as changes:
        assert list(changes.names) == ["b"]
        assert list(changes) == []


def test_a_name_given_to_another_namespace(run: Path) -> None:
    netns.create("a", rundir=run).close()
    with netns.watch(timeout=0, rundir=run) as changes:
        with netns.open("a", rundir=run):  # keeps the inode number from being used again
            netns.delete("a", rundir=run)
            netns.create("a", rundir=run).close()
        assert list(changes) == [("disappeared", "a"), ("appeared", "a")]


def test_the_timeout_ends_an_iteration_that_may_go_on(run: Path) -> None:
    with netns.watch(timeout=0.05, rundir=run) as changes:
        assert list(changes) == []
        netns.create("a", rundir=run).close()
        assert list(changes) == [("appeared", "a")]
        assert list(changes) == []


def test_leftovers_and_other_files_are_no_names(run: Path) -> None:
    netns.create("a", rundir=run).close()
    with netns.watch(timeout=0.05, rundir=run) as changes:
        (run / "leftover").touch(mode=0o400)
        (run / "uts").touch()
        subprocess.run(["mount", "--bind", "/proc/self/ns/uts", run / "uts"], check=True)
        assert list(changes) == []


def test_the_run_directory_made_removed_and_mounted_over(run: Path) -> None:
    with netns.watch(timeout=10, rundir=run) as changes:
        for _ in range(2):
            netns.create("a", rundir=run).close()
            assert next(changes) == ("appeared", "a")
            subprocess.run(["mount", "-t", "tmpfs", "none", run], check=True)
            assert next(changes) == ("disappeared", "a")
            subprocess.run(["umount", run], check=True)
            assert next(changes) == ("appeared", "a")
            netns.delete("a", rundir=run)
            assert next(changes) == ("disappeared", "a")
            unshare_run_directory(run)
            run.rmdir()


CHURN = """
import sys, netns
for i in range(int(sys.argv[2])):
    name = f"{sys.argv[3]}-{i % 7}"
    netns.create(name, rundir=sys.argv[1]).close()
    if i % 3:
        netns.delete(name, rundir=sys.argv[1])
    else:
        netns.delete(name, rundir=sys.argv[1])
        netns.create(name, rundir=sys.argv[1]).close()
        netns.delete(name, rundir=sys.argv[1])
netns.create(f"{sys.argv[3]}-last", rundir=sys.argv[1]).close()
"""


def test_a_thousand_quick_changes(run: Path) -> None:
    """A name that appeared can be opened or is gone again; the changes add up to the truth."""
    lasts = {"x-last", "y-last"}
    state: set[str] = set()
    seen = opened = 0
    with netns.watch(timeout=60, rundir=run) as changes:
        children = [
            subprocess.Popen([sys.executable, "-c", CHURN, run, "250", each]) for each in "xy"
        ]
        for kind, name in changes:
            seen += 1
            if kind == "appeared":
                assert name not in state
                state.add(name)
                try:
                    netns.open(name, rundir=run).close()
                    opened += 1
                except netns.NotFoundError:
                    assert name not in lasts
            else:
                state.remove(name)
            if state == lasts:
                break
        assert [child.wait() for child in children] == [0, 0]
        assert changes.pending() == []
    assert state == set(netns.names(rundir=run)) == lasts
    assert seen >= 2
    assert opened


def test_names_of_ip_netns(name: str) -> None:
    if IP is None:
        pytest.skip("iproute2 (ip) is not installed")
    with netns.watch(timeout=30) as changes:
        subprocess.run([IP, "netns", "add", name], check=True)
        assert next(change for change in changes if change.name == name).kind == "appeared"
        subprocess.run([IP, "netns", "delete", name], check=True)
        assert next(change for change in changes if change.name == name).kind == "disappeared"


def test_wakes_a_thread_that_waits(run: Path) -> None:
    found = []
    with netns.watch(timeout=30, rundir=run) as changes:
        thread = threading.Thread(target=lambda: found.append(next(changes)))
        thread.start()
        netns.create("a", rundir=run).close()
        thread.join()
    assert found == [("appeared", "a")]


def test_in_an_event_loop(run: Path) -> None:
    async def main() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        turns = 0

        async def bystander() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def churn() -> None:
            for each in "ab":
                netns.create(each, rundir=run).close()
                while ("appeared", each) not in found:
                    await asyncio.sleep(0)
            while turns < 100:
                await asyncio.sleep(0)
            netns.delete("a", rundir=run)

        with netns.watch(rundir=run) as changes:
            task, other = asyncio.ensure_future(churn()), asyncio.ensure_future(bystander())
            async for change in changes:
                found.append(change)
                if change.kind == "disappeared":
                    break
            await task
            other.cancel()
        with netns.watch(timeout=0.05, rundir=run) as changes:
            assert [change async for change in changes] == []
        return found

    assert asyncio.run(main()) == [("appeared", "a"), ("appeared", "b"), ("disappeared", "a")]


def test_cancelled_in_an_event_loop(run: Path) -> None:
    async def main() -> None:
        with netns.watch(rundir=run) as changes:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(changes.__anext__(), 0.05)
            netns.create("a", rundir=run).close()
            assert await asyncio.wait_for(changes.__anext__(), 10) == ("appeared", "a")

    asyncio.run(main())


def test_closed_while_a_task_waits(run: Path) -> None:
    async def main() -> None:
        changes = netns.watch(rundir=run)
        waits = asyncio.ensure_future(changes.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(netns.OrderError):
            await changes.__anext__()
        changes.close()
        with pytest.raises(netns.ClosedError):
            await asyncio.wait_for(waits, 10)

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), 2**31, "1"])
def test_bad_timeouts(run: Path, timeout: float) -> None:
    with pytest.raises((netns.InvalidValueError, netns.InvalidTypeError)):
        netns.watch(timeout=timeout, rundir=run)


def test_no_descriptors_left(run: Path) -> None:
    """Each step fails once for lack of a descriptor; the leak guard sees that none stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [fd for fd in range(200) if not os.path.exists(f"/proc/self/fd/{fd}")]
    refusals: list[int | None] = []
    try:
        for limit in free:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                netns.watch(rundir=run).close()
                break
            except netns.Error as error:
                refusals.append(error.errno)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(refusals) > 2
    assert set(refusals) == {errno.EMFILE}


def test_two_tasks_one_after_the_other(run: Path) -> None:
    """A task that was woken must not take the wake-up of the task that waits after it."""

    async def main() -> None:
        with netns.watch(timeout=30, rundir=run) as changes:
            first = asyncio.ensure_future(changes.__anext__())
            await asyncio.sleep(0)
            netns.create("a", rundir=run).close()
            while changes._wake is not None:
                await asyncio.sleep(0)
            second = asyncio.ensure_future(changes.__anext__())
            assert await asyncio.wait_for(first, 10) == ("appeared", "a")
            netns.create("b", rundir=run).close()
            assert await asyncio.wait_for(second, 10) == ("appeared", "b")

    asyncio.run(main())


def test_bad_run_directories(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(netns.Error):
        netns.watch(rundir=tmp_path / "file")
    with pytest.raises(netns.InvalidTypeError):
        netns.watch(rundir=3)  # type: ignore[arg-type]


def test_closing(run: Path) -> None:
    changes = netns.watch(rundir=run)
    assert changes.fileno() >= 0
    changes.close()
    changes.close()
    with pytest.raises(netns.ClosedError):
        next(changes)
    with pytest.raises(netns.ClosedError):
        changes.pending()
    with pytest.raises(netns.ClosedError):
        changes.fileno()
    with pytest.raises(netns.ClosedError):
        changes.__enter__()
    unclosed = netns.watch(rundir=run)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del unclosed


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_an_error_after_the_wake_up_loses_no_change(run: Path) -> None:
    """Reading the names fails; the next reading reports what the wake-up was for."""

    async def main() -> None:
        assert await changes.__anext__() == ("appeared", "c")
        netns.create("d", rundir=run).close()
        with no_descriptor_left(), pytest.raises(netns.KernelError):
            await changes.__anext__()
        assert await changes.__anext__() == ("appeared", "d")

    with netns.watch(rundir=run) as changes:
        netns.create("a", rundir=run).close()
        with no_descriptor_left(), pytest.raises(netns.KernelError):
            next(changes)
        assert next(changes) == ("appeared", "a")
        netns.create("b", rundir=run).close()
        with no_descriptor_left(), pytest.raises(netns.KernelError):
            changes.pending()
        assert next(changes) == ("appeared", "b")
        netns.create("c", rundir=run).close()
        asyncio.run(main())


def test_no_descriptor_left_for_a_moment() -> None:
    """A mount namespace of its own: no mount of others wakes it."""
    script = """
import netns, resource, signal
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
signal.alarm(20)  # it would wait for ever
with netns.watch(rundir="/run/netns-test-quiet") as changes:
    netns.create("a", rundir="/run/netns-test-quiet").close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))
    try:
        next(changes)
    except netns.KernelError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print(*next(changes))
"""
    quiet = 'mount -t tmpfs none /run && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", quiet, "sh", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "appeared a\n", done.stderr


# The interrupt may drop a watch while it is made.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_close_is_interrupted(run: Path) -> None:
    """A second close() closes what the first one, interrupted, left open."""
    before = descriptors()
    made: list[netns.Watch] = []

    def work() -> None:
        made.append(netns.watch(timeout=0, rundir=run))
        made[-1].close()

    for _ in interrupt_at_random(1, work):
        for watch in made[-1:]:
            watch.close()
            with pytest.raises(netns.ClosedError):
                next(watch)
        assert descriptors() == before
        made.clear()


def test_without_standard_streams() -> None:
    script = """
import os, netns
os.closerange(0, 3)
with netns.watch(timeout=0) as changes:
    list(changes)
    low = [fd for fd in range(3) if os.path.lexists(f"/proc/self/fd/{fd}")]
os._exit(len(low))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_a_name_given_to_another_mount_of_the_same_number(tmp_path: Path) -> None:
    """Inode numbers are used again, so it is the mount that shows the change."""
    rundir = tmp_path / "run"
    with netns.new() as ns, netns.watch(rundir=rundir) as watch:
        ns.pin("a", rundir=rundir)
        assert watch.pending() == [("appeared", "a")]
        assert watch.names == {"a": ns.ino}
        assert watch.pending() == []
        netns.delete("a", rundir=rundir)
        ns.pin("a", rundir=rundir)
        assert watch.pending() == [("disappeared", "a"), ("appeared", "a")]
        netns.delete("a", rundir=rundir)
    subprocess.run(["umount", rundir], check=True)


def test_a_name_that_goes_while_it_is_looked_at(run: Path) -> None:
    """It reports no more changes than there were."""
    made = 200

    def churn() -> None:
        for _ in range(made):
            netns.create("a", rundir=run).close()
            looked.wait(1)  # so that the watch sees most of them
            netns.delete("a", rundir=run)

    reported, looked = 0, threading.Event()
    with netns.watch(rundir=run) as changes:
        churning = threading.Thread(target=churn)
        churning.start()
        while churning.is_alive():
            looked.clear()
            reported += len(changes.pending())
            looked.set()
        reported += len(changes.pending())
    assert 0 < reported <= 2 * made
