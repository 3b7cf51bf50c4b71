"""The lab of examples/: hosts that reach each other, shaped, and gone without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

import netns

pytest.importorskip("pyroute2")
import lab

COMMAND = [sys.executable, "-W", "error::ResourceWarning", lab.__file__]
RTM_DELNSID, RTMGRP_NSID = 89, 1 << 27

needs_iperf3 = pytest.mark.skipif(
    shutil.which("iperf3") is None, reason="there is no iperf3 (Debian's package iperf3)"
)


def has_netem(ns: netns.NetNS) -> bool:
    """Asked of tc(8), not of the code under test."""
    command = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return ns.do(lambda host: subprocess.run(command, capture_output=True)).returncode == 0


def ping(server: lab.Host, client: lab.Host) -> float:
    """Seconds for a datagram there and back, the quickest of five."""
    with server.ns.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((server.address, 0))
        one.settimeout(10)
        with client.ns.socket(type=socket.SOCK_DGRAM) as other:
            other.connect(one.getsockname())
            other.settimeout(10)
            took = []
            for _ in range(6):  # the first one waits for the neighbour's address too
                start = time.monotonic()
                other.send(b"ping")
                _, address = one.recvfrom(100)
                assert address[0] == client.address
                one.sendto(b"pong", address)
                assert other.recv(100) == b"pong"
                took.append(time.monotonic() - start)
            return min(took)


class Deaths:
    """Namespaces known by an id in one of our own, which the kernel takes away with them."""

    def __init__(self, ns: netns.NetNS) -> None:
        self.ns = ns
        self.known = 0
        self.news = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.news.bind((0, RTMGRP_NSID))
        self.news.settimeout(30)

    def know(self, other: netns.NetNS) -> None:
        def body(host: netns.NetNS) -> None:
            if other.nsid is None:
                other.nsid = -1
                self.known += 1

        self.ns.do(body)

    def wait(self) -> None:
        gone = 0
        while gone < self.known:
            (kind,) = struct.unpack_from("=4xH", self.news.recv(1 << 16))
            gone += kind == RTM_DELNSID
        assert self.ns.do(lambda host: netns.nsids()) == []


@pytest.fixture
def deaths(ns: netns.NetNS) -> Iterator[Deaths]:
    deaths = Deaths(ns)
    with deaths.news:
        yield deaths


def test_hosts_reach_each_other_and_end_with_the_lab(deaths: Deaths) -> None:
    with lab.Lab(3) as made:
        for ns in (made.switch, *(host.ns for host in made.hosts)):
            deaths.know(ns)
        assert deaths.known == 4
        first, second, third = made.hosts
        for server, client in ((first, second), (second, third), (third, first)):
            assert ping(server, client) < 10
        child = first.popen(["sleep", "infinity"])
        assert netns.pids(first.ns) == [child.pid]
    assert child.returncode == -signal.SIGKILL
    deaths.wait()


@needs_iperf3
def test_a_rate_and_what_comes_out(tmp_path: Path) -> None:
    files = {"--json": tmp_path / "out.json", "--plot": tmp_path / "out.svg"}
    options = [str(word) for pair in files.items() for word in pair]
    if not (drawn := has_module("matplotlib")):
        print("no plot: there is no matplotlib")
        options = options[:2]
    run = subprocess.run(
        [*COMMAND, "--hosts", "4", "--rate", "20mbit", "--seconds", "1", *options],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(files["--json"].read_text())
    assert (result["hosts"], result["rate"]) == (4, 20_000_000)
    end = result["iperf3"]["end"]
    assert end["sum_received"]["bytes"] > 0
    # A tenth of a second's worth may wait in the queue.
    assert end["sum_received"]["bits_per_second"] < 1.2 * 20_000_000
    assert result["iperf3"]["start"]["connected"][0]["local_host"] == "10.99.0.4"
    if drawn:
        root = xml.etree.ElementTree.parse(files["--plot"]).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def has_module(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_delay_and_loss_or_a_clear_refusal(ns: netns.NetNS) -> None:
    """Where the kernel has no netem nothing pretends to delay."""
    shape = lab.Shape(delay=20_000, rate=100_000_000)
    if has_netem(ns):
        with lab.Lab(2, shape) as made:
            assert 0.04 <= ping(*made.hosts) < 1
        return
    print("this kernel has no netem: the lab refuses a delay and a loss, and goes on without")
    for wrong in (shape, lab.Shape(loss=1)):
        with pytest.raises(lab.LabError, match="no netem"):
            lab.Lab(2, wrong)
    run = subprocess.run([*COMMAND, "--delay", "20ms"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("lab: this kernel has no netem")


def ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 30)[0])


@needs_iperf3
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open (Linux 5.3)")
def test_nothing_outlives_a_killed_lab(deaths: Deaths) -> None:
    psutil = pytest.importorskip("psutil")
    home = netns.current()
    with (
        home,
        subprocess.Popen(
            [*COMMAND, "--hosts", "4", "--seconds", "600"], stdout=subprocess.PIPE, text=True
        ) as killed,
        contextlib.ExitStack() as pidfds,
    ):
        try:
            assert killed.stdout is not None
            assert killed.stdout.readline().startswith("4 hosts")
            children = running(psutil.Process(killed.pid))
            fds = []
            for child in children:
                fds.append(os.pidfd_open(child))
                pidfds.callback(os.close, fds[-1])
            inodes = set()
            for fd in Path(f"/proc/{killed.pid}/fd").iterdir():
                try:
                    ns = netns.open(fd)
                except (netns.NotFoundError, netns.NotNamespaceError):
                    continue  # something else
                with ns:
                    if ns != home:
                        deaths.know(ns)
                        inodes.add(ns.ino)
            assert deaths.known == len(inodes) == 5
            found = {each.ino: each.pids for each in netns.discover() if each.ino in inodes}
            assert sorted(found.values()) == sorted((child,) for child in children)
            assert not any(select.select(fds, [], [], 0))
        finally:
            killed.kill()
        survivors = [pidfd for pidfd in fds if not ended(pidfd)]
        for pidfd in survivors:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert not survivors
    deaths.wait()
    assert not [each for each in netns.discover() if each.ino in inodes and each.pids]


def running(process: object) -> list[int]:
    """The two iperf3, once a stream is between them."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        children = process.children()  # type: ignore[attr-defined]
        if len(children) == 2 and all(streaming(child.pid) for child in children):
            return [child.pid for child in children]


def streaming(pid: int) -> bool:
    """Whether it has two connections: iperf3's control and the stream."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text() + Path(f"/proc/{pid}/net/tcp6").read_text()
    return sum(" 01 " in line for line in lines.splitlines()) >= 2
