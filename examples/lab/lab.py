"""Hosts on a bridge, each a network namespace, and iperf3 between two of them.

    python lab.py --hosts 4 --delay 10ms --loss 1% --rate 100mbit --json out.json --plot out.svg

The first host serves and the last one sends. Delay and loss are of each host's way out
(so a round trip has the delay twice) and need the kernel's netem; a rate alone does
without. Nothing has a name: whatever ends the process ends the lab.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

import netns

NETWORK = ipaddress.ip_network("10.99.0.0/16")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


class LabError(Exception):
    """What was asked for can't be had here."""


@dataclass(frozen=True)
class Shape:
    """What happens to the packets that a host sends.

    Attributes:
        delay: microseconds.
        loss: per cent of the packets.
        rate: bits a second; 0 is without limit.
    """

    delay: int = 0
    loss: float = 0
    rate: int = 0

    def __str__(self) -> str:
        parts = [f"{self.delay / 1e3:g} ms"] if self.delay else []
        parts += [f"{self.loss:g} % loss"] if self.loss else []
        parts += [f"{self.rate / 1e6:g} Mbit/s"] if self.rate else []
        return ", ".join(parts) or "no shaping"

    def apply(self, route: IPRoute, index: int) -> None:
        parent = {}
        if self.delay or self.loss:
            # Packets: a second's worth, or netem would lose what it delays.
            limit = max(1000, (self.rate or 10**9) // 8 // 1000)
            try:
                route.tc(
                    "add",
                    "netem",
                    index,
                    handle=0x10000,
                    delay=self.delay,
                    loss=self.loss,
                    limit=limit,
                )
            except NetlinkError as error:
                if error.code != errno.ENOENT:
                    raise
                raise LabError(
                    "this kernel has no netem (CONFIG_NET_SCH_NETEM): no delay and no loss; "
                    "--rate alone works without it"
                ) from None
            parent = {"parent": 0x10001}
        if self.rate:
            speed = self.rate // 8
            burst = max(16_000, speed // 100)  # 10 ms of it
            options = {"rate": speed, "burst": burst, "latency": "50ms", **parent}
            route.tc("add", "tbf", index, handle=0x200000, **options)


UNSHAPED = Shape()


@dataclass
class Host:
    ns: netns.NetNS
    address: str
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """A child that lives in the host, and dies with the lab's main thread.

        Not ns.popen(): it starts its child on a thread that ends, which is when
        the kernel kills one that asks to die with its parent.
        """
        lab = os.getpid()

        def die_with_the_lab() -> None:
            if LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")
            if os.getppid() != lab:  # killed before it was asked for
                os._exit(1)

        child = self.ns.do(
            lambda host: subprocess.Popen(
                argv,
                preexec_fn=die_with_the_lab,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        self.children.append(child)
        return child


class Lab:
    """Hosts joined by a bridge that is in a namespace of its own: ``with Lab(4) as lab:``."""

    def __init__(self, hosts: int, shape: Shape = UNSHAPED) -> None:
        self._owned = contextlib.ExitStack()
        self.hosts: list[Host] = []
        with contextlib.ExitStack() as owned:
            self.switch = owned.enter_context(netns.new())
            self.switch.do(lay_bridge)
            for number in range(1, hosts + 1):
                host = Host(owned.enter_context(netns.new()), str(NETWORK[number]))
                self.switch.do(lay_cable, number, host)
                host.ns.do(configure, host, shape)
                self.hosts.append(host)
            self._owned = owned.pop_all()

    def close(self) -> None:
        for host in self.hosts:
            for child in host.children:
                child.kill()
                with child:  # closes its pipe and waits
                    pass
        self._owned.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def iperf3(self, server: Host, client: Host, seconds: float) -> dict[str, Any]:
        """What iperf3 says in JSON, of a stream from client to server.

        Raises:
            LabError: there is no iperf3, or it failed.
        """
        program = shutil.which("iperf3")
        if program is None:
            raise LabError("there is no iperf3 here (Debian's package iperf3)")
        serving = server.popen([program, "--server", "--one-off", "--forceflush"])
        assert serving.stdout is not None
        if not any("listening" in line for line in serving.stdout):
            raise LabError(f"iperf3 does not serve: it ended with {serving.wait()}")
        time = ["--time", f"{seconds:g}", "--interval", f"{min(1, seconds / 10):g}"]
        asking = client.popen([program, "--client", server.address, "--json", *time])
        out, _ = asking.communicate()
        try:
            report: dict[str, Any] = json.loads(out)
        except ValueError:
            raise LabError(f"iperf3: {out.strip()}") from None
        if "error" in report:
            raise LabError(f"iperf3: {report['error']}")
        return report


def lay_bridge(home: netns.NetNS) -> None:
    with IPRoute() as route:
        route.link("add", ifname="bridge", kind="bridge")
        (index,) = route.link_lookup(ifname="bridge")
        route.link("set", index=index, state="up")


def lay_cable(home: netns.NetNS, number: int, host: Host) -> None:
    with IPRoute() as route:
        (bridge,) = route.link_lookup(ifname="bridge")
        peer = {"ifname": "eth0", "net_ns_fd": host.ns.fileno()}
        route.link("add", ifname=f"port{number}", kind="veth", peer=peer)
        (index,) = route.link_lookup(ifname=f"port{number}")
        route.link("set", index=index, master=bridge, state="up")


def configure(home: netns.NetNS, host: Host, shape: Shape) -> None:
    # A connection whose process was killed keeps its namespace for as long as it is
    # retried, which is two minutes where the cable has gone first.
    Path("/proc/sys/net/ipv4/tcp_orphan_retries").write_text("1")
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        (index,) = route.link_lookup(ifname="eth0")
        route.addr("add", index=index, address=host.address, prefixlen=NETWORK.prefixlen)
        shape.apply(route, index)
        route.link("set", index=index, state="up")


def plot(report: dict[str, Any], shape: Shape, path: Path) -> None:
    """Throughput and the round trip time, interval by interval."""
    try:
        import matplotlib
    except ImportError:
        raise LabError('--plot needs matplotlib: pip install "pynetns[examples]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    streams = [interval["streams"][0] for interval in report["intervals"]]
    ends = [stream["end"] for stream in streams]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    above.step(ends, [stream["bits_per_second"] / 1e6 for stream in streams], where="pre")
    above.set(ylabel="Mbit/s", ylim=(0, None), title=str(shape))
    below.plot(ends, [stream["rtt"] / 1e3 for stream in streams])
    below.set(ylabel="round trip, ms", xlabel="seconds", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def quantity(text: str, units: Sequence[str]) -> float:
    """A number with one of the units, as tc(8) writes it."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z%]+)", text)
    if match is None or match[2] not in units:
        raise argparse.ArgumentTypeError(f"{text!r}: a number and one of {', '.join(units)}")
    return float(match[1]) * UNITS.get(match[2], 1)


def delay(text: str) -> int:
    return int(quantity(text, ("us", "ms", "s")))


def rate(text: str) -> int:
    return int(quantity(text, ("kbit", "mbit", "gbit")))


def loss(text: str) -> float:
    return quantity(text, ("%",))


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=2, help="from 2")
    parser.add_argument("--delay", type=delay, default=0, metavar="10ms")
    parser.add_argument("--loss", type=loss, default=0, metavar="1%%")
    parser.add_argument("--rate", type=rate, default=0, metavar="100mbit")
    parser.add_argument("--seconds", type=float, default=5, help="how long iperf3 sends")
    parser.add_argument("--json", type=Path, metavar="FILE", help="what was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="as .svg, .png or .pdf")
    options = parser.parse_args()
    if not 2 <= options.hosts < NETWORK.num_addresses - 1:
        parser.error(f"--hosts is from 2 to {NETWORK.num_addresses - 2}")
    shape = Shape(options.delay, options.loss, options.rate)
    try:
        with Lab(options.hosts, shape) as lab:
            print(f"{options.hosts} hosts, {shape}", flush=True)
            server, client = lab.hosts[0], lab.hosts[-1]
            report = lab.iperf3(server, client, options.seconds)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    received = report["end"]["sum_received"]["bits_per_second"]
    print(f"{client.address} to {server.address}: {received / 1e6:.1f} Mbit/s")
    if options.json:
        result = {"hosts": options.hosts, **asdict(shape), "iperf3": report}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.plot:
        try:
            plot(report, shape, options.plot)
        except LabError as error:
            print(f"lab: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
