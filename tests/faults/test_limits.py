"""A limit is reached: the error is clear, the thread is home, nothing is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMITED = """
import errno, os, netns
here = lambda: os.readlink("/proc/thread-self/ns/net")
fds = lambda: len(os.listdir("/proc/self/fd"))
netns.new().close()
home, before = here(), fds()
"""


def run(script: str, *options: str) -> list[str]:
    done = subprocess.run(
        ["unshare", *options, sys.executable, "-c", LIMITED + script],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_more_network_namespaces() -> None:
    """The limit is user.max_net_namespaces, of a user namespace of its own."""
    assert run(
        """
os.makedirs("/run/netns-limit", exist_ok=True)
os.environ["NETNS_RUN_DIR"] = "/run/netns-limit"
with open("/proc/sys/user/max_net_namespaces", "w") as limit:
    limit.write("3")
made = []
try:
    while True:
        made.append(netns.new())
except netns.KernelError as error:
    assert error.errno == errno.ENOSPC, error
    assert "user.max_net_namespaces" in str(error), error
    print(error.step)
count = len(made)
try:
    netns.create("a")
except netns.KernelError as error:
    print(error.step)
assert (here(), fds(), netns.names()) == (home, before + count, [])
for ns in made:
    ns.close()
print(count > 0)
""",
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs none /run && exec "$@"',
        "sh",
    ) == ["make a namespace", "make a namespace", "True"]


@pytest.fixture
def few_mounts() -> Iterator[None]:
    """Lowers the limit: it takes minutes to reach the default of 100,000."""
    limit = Path("/proc/sys/fs/mount-max")
    before = limit.read_text()
    try:
        limit.write_text("5000")
    except OSError:  # not privileged: the test then takes those minutes
        yield
        return
    yield
    limit.write_text(before)


@pytest.mark.usefixtures("few_mounts")
def test_no_more_mounts() -> None:
    """The limit is fs.mount-max; a mount namespace of its own is filled up."""
    assert (
        run(
            """
import ctypes, itertools
libc = ctypes.CDLL(None, use_errno=True)
MS_BIND, MS_REC = 4096, 16384

def bind(flags):
    place = f"/run/full/{next(numbers)}".encode()
    os.mkdir(place)
    return libc.mount(b"/run/full", place, None, MS_BIND | flags, None)

numbers = itertools.count()
os.environ["NETNS_RUN_DIR"] = "/run/netns-limit"
netns.create("a").close()
os.mkdir("/run/full")
assert libc.mount(b"none", b"/run/full", b"tmpfs", 0, None) == 0
while bind(MS_REC) == 0:  # each time twice as many
    pass
while bind(0) == 0:
    pass
assert ctypes.get_errno() == errno.ENOSPC
with netns.new() as ns:
    for pin, target in ((netns.create, "b"), (ns.pin, "b"), (ns.pin, "/run/pin")):
        try:
            pin(target)
        except netns.KernelError as error:
            assert error.errno == errno.ENOSPC, error
            print(error.step)
assert (here(), fds(), netns.names()) == (home, before, ["a"])
assert os.listdir("/run/netns-limit") == ["a"] and not os.path.exists("/run/pin")
assert libc.umount2(b"/run/full", 2) == 0
netns.create("b").close()
netns.delete("a", "b")
""",
            "--mount",
            "sh",
            "-c",
            'mount -t tmpfs none /run && exec "$@"',
            "sh",
        )
        == ["bind the namespace"] * 3
    )
