"""The command beside `ip netns`: the same words, the same status, the same output.

Each row runs twice, in mount and network namespaces of its own: once with
`ip netns`, once with this command. A row that differs says in what and why.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
OURS = shlex.join([sys.executable, "-m", "netns"])

# Each row has /run and /etc of its own.
WORLD = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /etc
mkdir /etc/dir
echo host >/etc/file
cd /
"""


class Row(NamedTuple):
    words: str
    setup: str = ""
    after: str = ""  # printed with the output
    stdin: str = ""
    differs: str = ""  # of "status output errors" those that differ
    why: str = ""


ADD = "ip netns add a"
TWO = "ip netns add a; ip netns add b"
IDS = f"{TWO}; ip netns set a 12; ip netns set b 77"
# Namespace a has the id 5 for b, and ours has 77.
TARGET = f"{IDS}; ip -n a netns set b 5"
INSIDE = f"{ADD}; ip netns exec a sleep 60 & until ip netns pids a | grep -q .; do :; done"
FILES = f"{ADD}; mkdir -p /etc/netns/a"
LEAVES = "ls /run/netns"

ROWS = [
    Row("", TWO, differs="output", why="names are sorted"),
    Row("", ADD),
    Row("list", ADD),
    Row("list"),
    Row("show", ADD),
    Row("lst", ADD),
    Row("ls", ADD),
    Row("l", ADD),
    Row("s", ADD),
    Row("list", f"{ADD}; ip netns set a 12"),
    Row("list", f"{ADD}; mkdir /run/netns/dir; : >/run/netns/file",
        differs="output errors", why="what is no namespace is no name"),
    Row("nonsense"),
    Row("add a extra", after=LEAVES,
        differs="status output errors", why="a word too many is an error"),
    Row("add a", after=LEAVES),
    Row("a a", after=LEAVES),
    Row("add a", ADD, after=LEAVES),
    Row("add"),
    Row("add ''"),
    Row("add ."),
    Row("add .."),
    Row("add a/b"),
    Row("add " + "x" * 256),
    Row("add " + "x" * 255, after=LEAVES),
    Row("add 'a b'", after=LEAVES),
    Row("add ä", after=LEAVES),
    Row("delete a", ADD, after=LEAVES),
    Row("del a", ADD, after=LEAVES),
    Row("d a", ADD, after=LEAVES),
    Row("delete a"),
    Row("delete a/b", differs="status", why="a path may be given, and nothing is there"),
    Row("delete ''"),
    Row("delete"),
    Row("delete a", "mkdir /run/netns; (umask 777; : >/run/netns/a)", after=LEAVES),
    Row("set a 12", ADD, after="ip netns list"),
    Row("set a 0x30", ADD, after="ip netns list"),
    Row("set a 0", ADD, after="ip netns list"),
    Row("set a auto", ADD, after="ip netns list"),
    Row("set a -5", ADD),
    Row("set a x", ADD),
    Row("set a 2147483648", ADD),
    Row("set a 12", IDS),
    Row("set a 13", IDS),
    Row("set b 12", f"{TWO}; ip netns set a 12"),
    Row("set a 12"),
    Row("set a", ADD),
    Row("set"),
    Row("list-id"),
    Row("list-id", IDS),
    Row("list-id nsid 77", IDS),
    Row("list-id nsid 78", IDS),
    Row("list-id nsid -1", IDS),
    Row("list-id nsid x", IDS),
    Row("list-id nsid", IDS),
    Row("list-id other 1", IDS),
    Row("list-id target-nsid 12", TARGET),
    Row("list-id target-nsid 12 nsid 77", TARGET),
    Row("list-id target-nsid 12 nsid 12", TARGET),
    Row("list-id target-nsid 99", TARGET),
    Row("list-id nsid 1 nsid 2", IDS),
    Row("identify"),
    Row("identify 0"),
    Row("identify x"),
    Row("identify 4000000"),
    Row("identify -1"),
    Row("identify $$"),
    Row("identify $(ip netns pids a)", INSIDE),
    Row("id $(ip netns pids a)", INSIDE),
    Row("identify 1 2"),
    Row("pids a", ADD),
    Row("pids a | grep -c .", INSIDE),
    Row("p a", ADD),
    Row("pids a"),
    Row("pids"),
    Row("attach a $$", after=LEAVES),
    Row("attach a 0", after="ls -A /run/netns"),
    Row("attach a 4000000", after="ls -A /run/netns"),
    Row("attach a x"),
    Row("attach a"),
    Row("at a $$", after=LEAVES),
    Row("attach a $$", ADD),
    Row("exec a true", ADD),
    Row("exec a sh -c 'exit 7'", ADD),
    Row("exec a sh -c 'kill -9 $$'", ADD),
    Row("exec a nosuchcommand", ADD,
        differs="status", why="127, as a shell and env have it"),
    Row("exec a /etc/file", ADD, differs="status", why="126, as a shell and env have it"),
    Row("exec a", ADD),
    Row("exec"),
    Row("exec a true"),
    Row("exec 1 true"),
    Row("exec a cat", ADD, stdin="hello"),
    Row("exec a echo --all -x -- y", ADD),
    Row("e a echo run", ADD),
    Row("exec a ls /sys/class/net", ADD),
    Row("exec a sh -c 'pwd; echo $FOO'", f"{ADD}; cd /usr; export FOO=bar"),
    Row("exec a mount -t tmpfs leak /mnt", ADD, after="grep -c leak /proc/mounts || :"),
    Row("exec a sh -c 'readlink /proc/self/ns/net | sed s/[0-9]/./g'", ADD),
    Row("exec a cat /etc/file", f"{FILES}; echo inside >/etc/netns/a/file"),
    Row("exec a cat /etc/file", f"{FILES}; echo inside >/etc/netns/a/other"),
    Row("exec a echo ran", f"{FILES}; mkdir /etc/netns/a/file"),
    Row("exec a echo ran", f"{FILES}; : >/etc/netns/a/dir"),
    Row("exec a cat /etc/file", f"{FILES}; ln -s /nowhere /etc/netns/a/file"),
    Row("exec a cat /etc/file", f"{FILES}; ln -s file /etc/netns/a/file"),
    Row("exec a head -c5 /etc/file", f"{FILES}; ln -s /proc/version /etc/netns/a/file"),
    Row("exec a cat /etc/file", f"{FILES}; echo in >/etc/netns/a/file; mv /etc/file /etc/real; "
        "ln -s real /etc/file", after="cat /etc/real"),
    Row("exec a echo ran", f"{ADD}; mkdir /etc/netns; : >/etc/netns/a",
        differs="errors", why="that it can't be used is said"),
    Row("exec a cat /etc/file", f"{ADD}; mkdir -p /etc/netns /etc/else; echo in >/etc/else/file; "
        "ln -s /etc/else /etc/netns/a"),
    Row("exec a ls /sys/fs/cgroup", f"{ADD}; mount -t tmpfs none /sys/fs/cgroup; "
        "mkdir /sys/fs/cgroup/kept", differs="output", why="what is mounted below /sys stays"),
    Row("help", differs="status output errors", why="help that is asked for is no error"),
]  # fmt: skip


def run(command: str, row: Row) -> tuple[int, str, str]:
    script = (
        f"{WORLD}{row.setup}\nset +e\n{command} {row.words}\nstatus=$?\n"
        f"{row.after}\nkill $! 2>/dev/null\nexit $status\n"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", script],
        input=row.stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{number}: {row.words[:40]}" for number, row in enumerate(ROWS)]
)
def test_as_ip_netns(row: Row) -> None:
    if IP is None:
        reason = "iproute2 (ip) is not installed"
        pytest.skip(reason)
    with ThreadPoolExecutor(2) as both:
        theirs, ours = both.map(run, ("ip netns", OURS), (row, row))
    differs = [
        *["status"] * (theirs[0] != ours[0]),
        *["output"] * (theirs[1] != ours[1]),
        *["errors"] * (bool(theirs[2]) != bool(ours[2])),
    ]
    assert differs == row.differs.split(), (theirs, ours, row.why)
    assert "Traceback" not in ours[2]
    assert bool(row.why) == bool(row.differs)
