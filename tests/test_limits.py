"""When there is no more: a clear error, the thread at home, nothing left."""

from __future__ import annotations

import subprocess
import sys
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
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_more_network_namespaces() -> None:
    """user.max_net_namespaces, set in a user namespace of its own."""
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


def test_no_more_mounts() -> None:
    """fs.mount-max, lowered for a moment; a mount namespace holds no more then."""
    limit = Path("/proc/sys/fs/mount-max")
    try:
        limit.write_text(limit.read_text())
    except OSError as error:
        pytest.skip(f"fs.mount-max is the machine's, not ours to set: {error}")
    assert (
        run(
            """
os.environ["NETNS_RUN_DIR"] = "/run/netns-limit"
netns.create("a").close()
with open("/proc/self/mountinfo") as mounts:
    count = len(mounts.readlines())
with open("/proc/sys/fs/mount-max", "r+") as limit:
    usual = limit.read()
    limit.seek(0)
    limit.write(str(count))
    limit.flush()
    try:
        with netns.new() as ns:
            for pin, target in ((netns.create, "b"), (ns.pin, "b"), (ns.pin, "/run/pin")):
                try:
                    pin(target)
                except netns.KernelError as error:
                    assert error.errno == errno.ENOSPC, error
                    print(error.step)
    finally:
        limit.seek(0)
        limit.write(usual)
assert (here(), fds(), netns.names()) == (home, before, ["a"])
assert os.listdir("/run/netns-limit") == ["a"] and not os.path.exists("/run/pin")
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
