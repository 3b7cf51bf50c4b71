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
import uuid
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

import netns

pytest.importorskip("pyroute2")
from pyroute2 import IPRoute

import lab
import topology

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


# The lab of a file

TOPOLOGY = [sys.executable, "-W", "error::ResourceWarning", topology.__file__]
ROUTED = Path(topology.__file__).parent / "routed.json"
SERVE = """
import socket, sys
with socket.create_server((sys.argv[1], 80), family=int(sys.argv[2])) as server:
    print("ready", flush=True)
    with server.accept()[0] as one:
        one.sendall(b"potato of " + one.getpeername()[0].encode())
"""
FETCH = """
import socket, sys
print(socket.create_connection((sys.argv[1], 80), timeout=20).makefile().read())
"""


def told(*words: object) -> subprocess.CompletedProcess[str]:
    command = [*TOPOLOGY, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """The example's, by a name that nobody else has."""
    path = tmp_path / "plan.json"
    routed = json.loads(ROUTED.read_text())
    path.write_text(json.dumps({**routed, "name": f"netns-test-{uuid.uuid4().hex[:12]}"}))
    return path


@contextlib.contextmanager
def up(plan: Path, *options: object) -> Iterator[subprocess.Popen[str]]:
    command = [*TOPOLOGY, "up", str(plan), *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert "5 nodes, 4 links, up in" in holder.stdout.readline()
            yield holder
        finally:
            holder.kill()


def know_all(deaths: Deaths, plan: Path) -> None:
    asked = topology.read(plan)
    for node in asked.nodes:
        with topology.ask(asked, node) as ns:
            deaths.know(ns)
    assert deaths.known == 5


def test_a_routed_lab(deaths: Deaths, plan: Path, tmp_path: Path) -> None:
    """Both families through the router, the links written down, all gone by `down`."""
    with up(plan, "--pcap", tmp_path / "links") as holder:
        know_all(deaths, plan)
        for family, web, ann in (
            (socket.AF_INET, "10.1.0.2", "10.2.0.2"),
            (socket.AF_INET6, "fd00:1::2", "fd00:2::2"),
        ):
            serve = [sys.executable, "-c", SERVE, web, str(int(family))]
            command = [*TOPOLOGY, "exec", str(plan), "web", *serve]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                assert server.stdout.readline() == "ready\n"
                fetched = told("exec", plan, "ann", sys.executable, "-c", FETCH, web)
            assert fetched.stdout == f"potato of {ann}\n", fetched.stderr
        listed = told("list", plan).stdout.splitlines()
        assert [line.split()[:2] for line in listed][3:] == [
            ["gate", "router"],
            ["floor", "switch"],
        ]
        left = subprocess.Popen([*TOPOLOGY, "exec", str(plan), "ben", "sleep", "infinity"])
        while not left_is_in(plan, left.pid):
            os.sched_yield()
        done = told("down", plan)
        assert (done.returncode, done.stderr) == (0, "")
        deaths.wait()
        assert left.wait() == -signal.SIGKILL
        assert holder.wait() == 0
    captured = (tmp_path / "links/0-web-gate.pcap").read_bytes()
    assert captured[:4] == struct.pack("=I", 0xA1B23C4D)
    assert captured.count(b"potato of 10.2.0.2") == captured.count(b"potato of fd00:2::2") == 1
    assert b"potato" not in (tmp_path / "links/3-ben-floor.pcap").read_bytes()
    gone = told("exec", plan, "ann", "true")
    assert gone.returncode == 1
    assert "is not up in this network namespace" in gone.stderr


def test_a_captured_link_goes_down(plan: Path, tmp_path: Path) -> None:
    """And the lab stays up."""
    with up(plan, "--pcap", tmp_path / "links") as holder:
        with topology.ask(topology.read(plan), "web") as web:
            web.do(turn, "down")
            web.do(turn, "up")
        assert told("list", plan).returncode == 0
        assert told("down", plan).returncode == 0
        assert holder.wait() == 0


def turn(home: netns.NetNS, state: str) -> None:
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname="eth0")
        route.link("set", index=index, state=state)


def test_a_busy_link_keeps_nobody_waiting(ns: netns.NetNS, tmp_path: Path) -> None:
    """A turn writes so many packets at most; the rest is there at the end."""

    def load(home: netns.NetNS) -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(50):
                sender.sendto(b"potato %03d" % number, ("127.0.0.1", 9))

    path = tmp_path / "lo.pcap"
    capture = topology.Capture(ns, "lo", path)
    try:
        ns.do(load)
        capture.read()
        assert path.read_bytes().count(b"potato 0") <= topology.AT_A_TURN
    finally:
        capture.close()
    assert b"potato 049" in path.read_bytes()


@pytest.mark.parametrize(
    ("section", "node", "settings", "said"),
    [
        (
            "hosts",
            "web",
            {"gateways": ["10.77.0.1"]},
            "hosts.web: default by 10.77.0.1: Network is unreachable",
        ),
        (
            "links",
            0,
            {"between": {"web": ["10.1.0.2/24", "10.1.0.2/24"], "gate": []}},
            "links[0].between.web: 10.1.0.2/24: File exists",
        ),
        (
            "links",
            0,
            {"between": {"web": ["ff02::1/64"], "gate": []}},
            "links[0].between.web: ff02::1/64: Cannot assign requested address",
        ),
    ],
)
def test_what_the_kernel_refuses(
    plan: Path, section: str, node: str | int, settings: dict[str, object], said: str
) -> None:
    routed = json.loads(plan.read_text())
    routed[section][node] = settings
    plan.write_text(json.dumps(routed))
    done = told("up", plan)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"topology: {said}\n")


def test_a_command_that_is_not_there(plan: Path) -> None:
    with up(plan):
        done = told("exec", plan, "web", "no-such-command")
    assert (done.returncode, done.stderr) == (
        1,
        "topology: no-such-command: No such file or directory\n",
    )


def test_a_key_that_is_there_twice(plan: Path) -> None:
    plan.write_text('{"hosts": {"a": {}, "b": {}, "a": {}}}')
    with pytest.raises(lab.LabError, match="'a' is there twice"):
        topology.read(plan)


def left_is_in(plan: Path, pid: int) -> bool:
    with topology.ask(topology.read(plan), "ben") as ben:
        return pid in netns.pids(ben)


@pytest.mark.parametrize("names", [(), ("--names",)], ids=["unnamed", "named"])
def test_a_holder_is_killed(deaths: Deaths, plan: Path, names: tuple[str, ...]) -> None:
    name = topology.read(plan).name
    with up(plan, *names) as holder:
        again = told("up", plan)
        assert (again.returncode, again.stdout) == (1, "")
        assert "is up already" in again.stderr
        assert told("exec", plan, "nobody", "true").stderr == f"topology: {name} has no nobody\n"
        assert told("exec", plan, "ann", "sh", "-c", "exit 7").returncode == 7
        assert (f"{name}-ann" in netns.names()) == bool(names)
        know_all(deaths, plan)
        holder.kill()
    done = told("down", plan)
    assert done.returncode == (0 if names else 1), done.stderr
    deaths.wait()
    assert not [each for each in netns.names() if each.startswith(name)]


def test_an_address_that_a_stranger_took(plan: Path) -> None:
    """Anybody may listen there: no namespace is entered that another user gave."""
    asked = topology.read(plan)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(topology.address(asked))
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(65534, 65534, 65534)
                listening.listen()  # whose user is told of
            except OSError:
                os._exit(77)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 77:
            pytest.skip("a user namespace that has no second user")
        assert status == 0
        assert told("list", plan).stderr == f"topology: {asked.name} is another user's\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"host": {}}, "the file.host: not known here"),
        ({"name": "a/b"}, "name: 'a/b'"),
        ({"hosts": []}, "hosts: a mapping"),
        ({"hosts": {"gate": {}}}, "routers.gate: twice"),
        ({"hosts": {"a b": {}}}, "hosts.a b: no name"),
        ({"switches": {"floor": {"routes": {}}}}, "switches.floor.routes: not known"),
        ({"hosts": {"web": {"gateways": ["10.0"]}}}, "hosts.web.gateways: '10.0'"),
        ({"hosts": {"web": {"routes": {"10.0.0.1/8": "10.0.0.1"}}}}, "routes.10.0.0.1/8"),
        ({"hosts": {"web": {"routes": {"10.0.0.0/8": 5}}}}, "10.0.0.0/8: 5: a text"),
        ({"links": {}}, "links: a list"),
        ({"links": [{"between": {"web": []}}]}, "links[0].between: two nodes"),
        ({"links": [{"between": {"web": [], "x": []}}]}, "links[0].between.x: no host"),
        ({"links": [{"between": {"web": ["1"], "floor": []}}]}, "links[0].between.web: '1'"),
        ({"links": [{"between": {"web": [], "floor": ["::1/64"]}}]}, "a switch has no addresses"),
        ({"links": [{"between": {"web": [], "floor": []}, "loss": "1"}]}, "links[0].loss: '1'"),
        ({"links": [{"between": {"web": [], "floor": []}, "rate": 5}]}, "links[0].rate: "),
    ],
)
def test_what_is_wrong_in_the_file(plan: Path, change: dict[str, object], said: str) -> None:
    plan.write_text(json.dumps({**json.loads(plan.read_text()), **change}))
    with pytest.raises(lab.LabError) as caught:
        topology.read(plan)
    assert said in str(caught.value)
    done = told("list", plan) if change == {"links": {}} else None
    assert done is None or (done.returncode, done.stdout) == (1, "")
