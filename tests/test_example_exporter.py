"""The exporter of examples/: namespaces come, go and count, as Prometheus would see it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

import netns

pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

import exporter

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "exporter"
Samples = dict[tuple[str, str, str], float]  # by name, namespace and device


def up(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS) -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    ns.do(body)


class Agent:
    """An exporter that runs in a namespace with a loopback device, as in a pod."""

    def __init__(self, host: netns.NetNS, child: subprocess.Popen[str]) -> None:
        self.host = host
        self.child = child
        assert child.stdout is not None
        self.url = child.stdout.readline().strip()

    def scrape(self) -> Samples:
        def body(host: netns.NetNS) -> str:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                return str(answer.read().decode())

        found: Samples = {}
        for family in text_string_to_metric_families(self.host.do(body)):
            for sample in family.samples:
                key = sample.name, sample.labels.get("netns", ""), sample.labels.get("device", "")
                assert key not in found
                found[key] = sample.value
        return found

    def until(self, label: str, there: bool, processes: int | None = None) -> Samples:
        """The first scrape in which that namespace is, with so many processes, or is no more."""
        deadline = time.monotonic() + 20
        while True:
            found = self.scrape()
            seen = found.get(("netns_processes", label, ""))
            if (seen is not None) == there and processes in (None, seen):
                return found
            assert time.monotonic() < deadline, f"{label} is{'' if there else ' still'} not there"


@contextlib.contextmanager
def agent(*options: str) -> Iterator[Agent]:
    command = [sys.executable, "-W", "error", str(EXAMPLE / "exporter.py")]
    command += ["--address", "127.0.0.1", "--port", "0", *options]
    with netns.new() as host:
        up(host)
        # Not host.popen(): its mount namespace would not see names that come later.
        child = host.do(
            lambda _: subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        )
        with child:
            try:
                yield Agent(host, child)
            finally:
                child.terminate()
        assert child.returncode == 0


def test_a_name_comes_and_goes(name: str) -> None:
    """Noticed by the name alone, long before the next scan; nothing of it is kept."""
    with agent("--interval", "3600") as running:
        before = running.scrape()
        assert ("netns_processes", name, "") not in before
        with netns.create(name) as made:
            found = running.until(name, there=True)
            label = f"net:[{made.ino}]"
        assert found["netns_link_receive_bytes_total", name, "lo"] == 0
        assert found["netns_link_running", name, "lo"] == 0
        assert found["netns_processes", name, ""] == 0
        netns.delete(name)
        after = running.until(name, there=False)
        assert not [key for key in after if key[1] in (name, label)]


def test_names_of_any_bytes_do_not_end_the_scrape(name: str) -> None:
    """Whoever is inside names devices as they like."""

    def lay(host: netns.NetNS) -> None:
        command = [b"ip", b"link", b"add", b'd\xff"', b"type", b"veth", b"peer", b"name", b"d\\"]
        subprocess.run(command, check=True)

    odd = name + os.fsdecode(b"\xff")
    try:
        with netns.create(odd) as ns, agent() as running:
            ns.do(lay)
            found = running.until(name + r"\xff", there=True)
    finally:
        netns.delete(odd)
    devices = {key[2] for key in found if key[:2] == ("netns_link_running", name + r"\xff")}
    assert devices == {"lo", r"d\xff" + '"', "d\\"}


def test_an_unnamed_one_is_given_up_and_dies(ns: netns.NetNS) -> None:
    """Though the agent's own sockets keep it: what only they hold is not kept."""

    def known(host: netns.NetNS, other: netns.NetNS) -> None:
        other.nsid = -1  # an id of it here goes with it

    with agent("--interval", "0.1") as running:
        with netns.new() as other:
            label = f"net:[{other.ino}]"
            ns.do(known, other)
            child = other.popen(["sleep", "infinity"])
        try:
            running.until(label, there=True, processes=1)
            assert len(ns.do(lambda host: netns.nsids())) == 1
        finally:
            child.kill()
            child.wait()
        running.until(label, there=False)
        deadline = time.monotonic() + 20
        while ns.do(lambda host: netns.nsids()):
            assert time.monotonic() < deadline, "the namespace is still alive"


@pytest.mark.parametrize("switch", [(), ("--switch",)], ids=["kept", "switch"])
def test_counters_move_with_traffic(name: str, switch: tuple[str, ...]) -> None:
    payload = b"potato" * 10_000
    with netns.create(name) as ns, agent(*switch) as running:
        up(ns)
        before = running.until(name, there=True)
        with ns.create_server(("127.0.0.1", 0)) as listening:
            one = ns.create_connection(listening.getsockname())
            other, _ = listening.accept()
            with one, other:
                one.sendall(payload)
                assert other.recv(len(payload), socket.MSG_WAITALL) == payload
                after = running.scrape()
        ended = running.scrape()

    def moved(metric: str, device: str = "") -> float:
        return after[metric, name, device] - before[metric, name, device]

    for way in ("receive", "transmit"):
        assert len(payload) < moved(f"netns_link_{way}_bytes_total", "lo") < 2 * len(payload)
        assert moved(f"netns_link_{way}_packets_total", "lo") >= 4
        assert moved(f"netns_tcp_{way}_segments_total") >= 4
        assert moved(f"netns_link_{way}_errors_total", "lo") == 0
    assert after["netns_link_running", name, "lo"] == 1
    assert moved("netns_tcp_active_opens_total") == 1
    assert moved("netns_tcp_passive_opens_total") == 1
    assert moved("netns_tcp_established") == 2
    assert ended["netns_tcp_established", name, ""] < 2
    kept = Path("/proc/net/stat/nf_conntrack").exists()
    assert (("netns_conntrack_entries", name, "") in after) == kept


@pytest.mark.parametrize("switch", [False, True], ids=["kept", "switch"])
def test_what_is_kept_of_a_namespace(name: str, switch: bool) -> None:
    """A socket and files, which a scrape reads from home; or a handle, to enter it."""
    options = ["--switch"] if switch else []
    with netns.create(name) as ns, agent("--interval", "3600", *options) as running:
        running.until(name, there=True)
        kept = []
        for fd in Path(f"/proc/{running.child.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a scrape's, closed since
                kept.append((os.readlink(fd), fd.stat()))
        assert any(os.path.samestat(stat, os.stat(ns.fileno())) for _, stat in kept) == switch
        assert any("/net/snmp" in link for link, _ in kept) == (not switch)
        # Before Linux 5.0 one thread would get the same file for all that it keeps open.
        opened = [link for link, _ in kept if "/net/snmp" in link]
        assert len(set(opened)) == len(opened)


def test_a_dump_of_many_devices(ns: netns.NetNS) -> None:
    def lay(host: netns.NetNS) -> list[str]:
        with IPRoute() as route:
            for i in range(40):
                peer = {"ifname": f"far{i}"}
                route.link("add", ifname=f"near{i}", kind="veth", peer=peer)
        return [device for _, device in socket.if_nameindex()]

    devices = ns.do(lay)
    counters = exporter.Counters(ns)
    try:
        buffer = bytearray(1 << 18)
        assert sorted(counters.read_links(buffer)) == sorted(devices)
        assert len(devices) == 81
    finally:
        counters.close()


@pytest.mark.timeout(250)
def test_the_soak_finds_nothing_and_the_bench_measures() -> None:
    with netns.new() as host:
        up(host)
        soak = host.run(
            [sys.executable, EXAMPLE / "churn.py", "1"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        print(soak.stdout, soak.stderr)
        assert soak.returncode == 0
        assert "flat" in soak.stdout
        bench = host.run(
            [sys.executable, EXAMPLE / "bench.py", "5", "3"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        print(bench.stdout, bench.stderr)
        assert bench.returncode == 0
        assert "ratio" in bench.stdout


def test_the_manifest_asks_for_what_is_needed_and_no_more() -> None:
    yaml = pytest.importorskip("yaml")
    manifest = yaml.safe_load((EXAMPLE / "daemonset.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "DaemonSet")
    template = manifest["spec"]["template"]
    selector = manifest["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    pod = template["spec"]
    assert pod["hostPID"] is True
    assert not {"hostNetwork", "hostIPC", "serviceAccountName"} & pod.keys()
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["privileged"] is False
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["SYS_ADMIN", "SYS_PTRACE"]}
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    assert mount["name"] == volume["name"]
    assert mount["mountPath"] == "/run/netns"
    assert mount["mountPropagation"] == "HostToContainer"
    assert volume["hostPath"]["path"] == "/var/run/netns"
    (port,) = container["ports"]
    assert port["containerPort"] == int(container["args"][1])
    assert template["metadata"]["annotations"]["prometheus.io/port"] == container["args"][1]
