"""A lab from a file: hosts, routers, switches, and the links between them.

    python topology.py up FILE [--names] [--pcap DIR]    until it is told to end
    python topology.py exec FILE NODE COMMAND...
    python topology.py shell FILE NODE
    python topology.py list FILE
    python topology.py down FILE

The process of `up` holds the namespaces, and the others ask it for them: there is no
file to believe in, and whatever ends that process ends the lab.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import ipaddress
import json
import os
import re
import select
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

import netns
from lab import LabError, Shape, delay, loss, rate

ETH_P_ALL = 3
AT_A_TURN = 64  # packets of one link, before whoever asks the holder is heard
CREDENTIALS = struct.Struct("=iII")  # ucred: pid, uid, gid
PACKET = struct.Struct("=IIII")  # seconds, nanoseconds, and the length, cut and whole
CAPTURE = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 16, 1)  # Ethernet


# The file


@dataclass
class Node:
    kind: str  # host, router or switch
    gateways: list[str] = field(default_factory=list)
    routes: dict[str, str] = field(default_factory=dict)


@dataclass
class Link:
    ends: list[tuple[str, str, list[str]]]  # node, device and addresses, of either end
    shape: Shape


@dataclass
class Topology:
    name: str
    nodes: dict[str, Node]
    links: list[Link]

    def pin(self, node: str) -> str:
        return f"{self.name}-{node}"


def part(told: Any, where: str, *known: str) -> dict[str, Any]:
    """A mapping that has no other keys than these, if some are given."""
    if not isinstance(told, dict):
        raise LabError(f"{where}: a mapping is expected")
    for key in told:
        if known and key not in known:
            raise LabError(f"{where}.{key}: not known here, only {', '.join(known)}")
    return told


def texts(told: Any, where: str) -> list[str]:
    if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        raise LabError(f"{where}: a list of texts is expected")
    return told


@contextlib.contextmanager
def at(where: str) -> Iterator[None]:
    """What is wrong in a value, or refused by the kernel, is said with its place in the file."""
    try:
        yield
    except NetlinkError as error:
        raise LabError(f"{where}: {os.strerror(error.code)}") from None
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise LabError(f"{where}: {error}") from None


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return told


def read(path: Path) -> Topology:
    """The file, checked as a whole before anything is made.

    Raises:
        LabError: it can't be read, or what is wrong and where.
    """
    try:
        told = json.loads(path.read_text(), object_pairs_hook=without_doubles)
    except (OSError, ValueError) as error:
        raise LabError(f"{path}: {error}") from None
    told = part(told, "the file", "name", "hosts", "routers", "switches", "links")
    name = told.get("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,60}", name):
        raise LabError(f"name: {name!r}: letters, digits, '_', '.' and '-'")
    nodes: dict[str, Node] = {}
    for kind in ("host", "router", "switch"):
        section = {"switch": "switches"}.get(kind, kind + "s")
        for node, settings in part(told.get(section, {}), section).items():
            where = f"{section}.{node}"
            if node in nodes or not re.fullmatch(r"[\w.-]{1,60}", node):
                raise LabError(f"{where}: {'twice' if node in nodes else 'no name for a node'}")
            keys = () if kind == "switch" else ("gateways", "routes")
            settings = part(settings, where, *(keys or ("",)))
            nodes[node] = Node(kind, *read_routes(settings, where))
    links: list[Link] = []
    counts = dict.fromkeys(nodes, 0)
    if not isinstance(told.get("links", []), list):
        raise LabError("links: a list is expected")
    for number, link in enumerate(told.get("links", [])):
        where = f"links[{number}]"
        link = part(link, where, "between", "delay", "loss", "rate")
        between = part(link.get("between"), f"{where}.between")
        if len(between) != 2:
            raise LabError(f"{where}.between: two nodes, not {len(between)}")
        ends = []
        for node, addresses in between.items():
            place = f"{where}.between.{node}"
            if node not in nodes:
                raise LabError(f"{place}: no host, router or switch")
            for address in texts(addresses, place):
                with at(place):
                    ipaddress.ip_interface(address)
            if addresses and nodes[node].kind == "switch":
                raise LabError(f"{place}: a switch has no addresses")
            ends.append((node, f"eth{counts[node]}", addresses))
            counts[node] += 1
        shape = {}
        for key, parse in (("delay", delay), ("loss", loss), ("rate", rate)):
            with at(f"{where}.{key}"):
                shape[key] = parse(link[key]) if key in link else 0
        links.append(Link(ends, Shape(int(shape["delay"]), shape["loss"], int(shape["rate"]))))
    return Topology(name, nodes, links)


def read_routes(settings: dict[str, Any], where: str) -> tuple[list[str], dict[str, str]]:
    gateways = texts(settings.get("gateways", []), f"{where}.gateways")
    for gateway in gateways:
        with at(f"{where}.gateways"):
            ipaddress.ip_address(gateway)
    routes = part(settings.get("routes", {}), f"{where}.routes")
    for network, gateway in routes.items():
        with at(f"{where}.routes.{network}"):
            ipaddress.ip_network(network)
            if not isinstance(gateway, str):  # a number would be an address, too
                raise TypeError(f"{gateway!r}: a text is expected")
            ipaddress.ip_address(gateway)
    return gateways, routes


# The lab


class Lab:
    """The namespaces of a topology, joined and configured; close() ends all inside."""

    def __init__(self, topology: Topology, names: bool = False) -> None:
        self.topology = topology
        self.spaces: dict[str, netns.NetNS] = {}
        self.pinned: list[str] = []
        try:
            for name, node in topology.nodes.items():
                if names:
                    self.spaces[name] = netns.create(topology.pin(name))
                    self.pinned.append(topology.pin(name))
                else:
                    self.spaces[name] = netns.new()
                with at(name):
                    self.spaces[name].do(prepare, node)
            for number, link in enumerate(topology.links):
                near, far = link.ends
                with at(f"links[{number}]"):
                    self.spaces[near[0]].do(lay, near[1], far[1], self.spaces[far[0]])
                for name, device, addresses in link.ends:
                    switched = topology.nodes[name].kind == "switch"
                    ns, where = self.spaces[name], f"links[{number}].between.{name}"
                    with at(where):
                        ns.do(configure, device, addresses, link.shape, switched, where)
            for name, node in topology.nodes.items():
                if node.gateways or node.routes:
                    self.spaces[name].do(add_routes, name, node)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kills what was started inside, too: it would keep its namespace."""
        for ns in self.spaces.values():
            kill_all(ns)
            ns.close()
        self.spaces.clear()
        if self.pinned:
            netns.delete(*self.pinned)
            self.pinned.clear()


def kill_all(ns: netns.NetNS) -> None:
    """Those that are inside, and those that they begin meanwhile."""
    deadline = time.monotonic() + 5
    while (pids := netns.pids(ns)) and time.monotonic() < deadline:
        for pid in pids:
            # The descriptor is of one process, which is looked at once it can't be another.
            with contextlib.suppress(ProcessLookupError, netns.NotFoundError):
                fd = os.pidfd_open(pid)
                try:
                    with netns.from_pid(pid) as its:
                        if its == ns:
                            signal.pidfd_send_signal(fd, signal.SIGKILL)
                            select.select([fd], [], [], 1)
                finally:
                    os.close(fd)


def prepare(home: netns.NetNS, node: Node) -> None:
    settings = {"ipv6/conf/default/accept_dad": "0", "ipv4/tcp_orphan_retries": "1"}
    if node.kind == "router":
        settings.update({"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
    for name, value in settings.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path("/proc/sys/net", name).write_text(value)
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        if node.kind == "switch":
            route.link("add", ifname="bridge", kind="bridge")
            (index,) = route.link_lookup(ifname="bridge")
            route.link("set", index=index, state="up")


def lay(home: netns.NetNS, device: str, peer: str, other: netns.NetNS) -> None:
    with IPRoute() as route:
        far = {"ifname": peer, "net_ns_fd": other.fileno()}
        route.link("add", ifname=device, kind="veth", peer=far)


def configure(
    home: netns.NetNS,
    device: str,
    addresses: Sequence[str],
    shape: Shape,
    switched: bool,
    where: str,
) -> None:
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=device)
        if switched:
            (bridge,) = route.link_lookup(ifname="bridge")
            route.link("set", index=index, master=bridge)
        for address in addresses:
            interface = ipaddress.ip_interface(address)
            length = interface.network.prefixlen
            with at(f"{where}: {address}"):
                route.addr("add", index=index, address=str(interface.ip), prefixlen=length)
        shape.apply(route, index)
        route.link("set", index=index, state="up")


def add_routes(home: netns.NetNS, name: str, node: Node) -> None:
    with IPRoute() as route:
        for network, gateway in [
            *node.routes.items(),
            *(("default", gateway) for gateway in node.gateways),
        ]:
            family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
            with at(f"{node.kind}s.{name}: {network} by {gateway}"):
                route.route("add", dst=network, gateway=gateway, family=family)


class Capture:
    """Writes what passes one end of a link, in the format of tcpdump(8)."""

    def __init__(self, ns: netns.NetNS, device: str, path: Path) -> None:
        self.file: BinaryIO = path.open("wb")
        try:
            self.socket = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            try:
                self.socket.bind((device, ETH_P_ALL))
                self.socket.setblocking(False)
                self.file.write(CAPTURE)
                self.file.flush()
            except BaseException:
                self.socket.close()
                raise
        except BaseException:
            self.file.close()
            raise

    def read(self, packets: int = AT_A_TURN) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(packets):
                try:
                    packet = self.socket.recv(1 << 16)
                except OSError as error:
                    if error.errno != errno.ENETDOWN:
                        raise
                    continue  # told once when the device goes down, which may come up again
                now = divmod(time.time_ns(), 10**9)
                self.file.write(PACKET.pack(*now, len(packet), len(packet)) + packet)
        self.file.flush()

    def close(self) -> None:
        self.read(1 << 12)  # what waits, and not what else a busy link has
        self.socket.close()
        self.file.close()


# The holder and those who ask it


def address(topology: Topology) -> str:
    """Of no file: it is there as long as who listens, and of this namespace alone."""
    return f"\0netns-lab/{topology.name}"


def is_trusted(peer: socket.socket) -> bool:
    """Whether root or this user is at the other end: anybody can take such an address."""
    told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return CREDENTIALS.unpack(told)[1] in (0, os.geteuid())


def hold(topology: Topology, names: bool, captures: Path | None) -> None:
    """Makes the lab and answers for it, until a signal or `down` ends it."""
    with contextlib.ExitStack() as owned:
        ended = owned.enter_context(contextlib.ExitStack())  # told when all is gone
        listening = owned.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        try:
            listening.bind(address(topology))
        except OSError as error:
            raise LabError(f"{topology.name} is up already ({error.strerror})") from None
        begun = time.monotonic()
        made = Lab(topology, names)
        owned.callback(made.close)
        watched = owned.enter_context(selectors.DefaultSelector())
        if captures is not None:
            captures.mkdir(parents=True, exist_ok=True)
            for number, link in enumerate(topology.links):
                node, device, _ = link.ends[0]
                path = captures / f"{number}-{node}-{link.ends[1][0]}.pcap"
                capture = Capture(made.spaces[node], device, path)
                owned.callback(capture.close)
                watched.register(capture.socket, selectors.EVENT_READ, capture)
        listening.listen()
        watched.register(listening, selectors.EVENT_READ)
        took = time.monotonic() - begun
        what = f"{len(topology.nodes)} nodes, {len(topology.links)} links"
        print(f"{topology.name}: {what}, up in {took:.2f} s", flush=True)
        while True:
            for key, _ in watched.select():
                if key.data is not None:
                    key.data.read()
                    continue
                asking, _ = listening.accept()
                with contextlib.ExitStack() as kept:
                    kept.enter_context(asking)
                    if answer(asking, made):
                        ended.push(kept.pop_all())
                        return


def answer(asking: socket.socket, made: Lab) -> bool:
    """Gives the namespace that is asked for; whether the lab is to end."""
    asking.settimeout(5)
    with contextlib.suppress(OSError):  # whoever asked may be gone
        if not is_trusted(asking):
            return False
        question, _, node = asking.recv(1 << 10).decode(errors="replace").partition(" ")
        if question == "node" and node in made.spaces:
            socket.send_fds(asking, [b"here"], [made.spaces[node].fileno()])
        return question == "end"
    return False


@contextlib.contextmanager
def holder(topology: Topology) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(address(topology))
        except OSError:
            raise LabError(f"{topology.name} is not up in this network namespace") from None
        if not is_trusted(asking):
            raise LabError(f"{topology.name} is another user's")
        yield asking


def ask(topology: Topology, node: str) -> netns.NetNS:
    with holder(topology) as asking:
        asking.send(f"node {node}".encode())
        _, fds, _, _ = socket.recv_fds(asking, 16, 1)
    if not fds:
        raise LabError(f"{topology.name} has no {node}")
    try:
        return netns.from_fd(fds[0])
    finally:
        os.close(fds[0])


def end(topology: Topology) -> None:
    """The lab, or the names that one left which was killed."""
    try:
        with holder(topology) as asking:
            asking.send(b"end")
            asking.recv(1)  # nothing comes: the other end is closed when all is gone
    except LabError:
        there = set(netns.names())
        left = [name for name in map(topology.pin, topology.nodes) if name in there]
        if not left:
            raise
        netns.delete(*left)


def show(topology: Topology) -> None:
    for name, node in topology.nodes.items():
        with ask(topology, name) as ns:
            ends = [
                f"{device} {' '.join(addresses)}".strip()
                for link in topology.links
                for owner, device, addresses in link.ends
                if owner == name
            ]
            print(f"{name:12} {node.kind:7} net:[{ns.ino}]  {', '.join(ends)}")


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help in (
        ("up", "make it, and hold it until a signal or `down`"),
        ("exec", "run a command on a node"),
        ("shell", "run a shell on a node"),
        ("list", "its nodes"),
        ("down", "end it, and what runs on its nodes"),
    ):
        command = commands.add_parser(name, help=help)
        command.add_argument("file", type=Path, metavar="FILE")
        if name == "up":
            command.add_argument("--names", action="store_true", help="as LAB-NODE in /run/netns")
            command.add_argument("--pcap", type=Path, metavar="DIR", help="a capture of each link")
        if name in ("exec", "shell"):
            command.add_argument("node")
        if name == "exec":
            command.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        topology = read(asked.file)
        if asked.command == "up":
            hold(topology, asked.names, asked.pcap)
        elif asked.command == "down":
            end(topology)
        elif asked.command == "list":
            show(topology)
        else:
            argv = asked.argv if asked.command == "exec" else [os.environ.get("SHELL", "/bin/sh")]
            if not argv:
                parser.error("exec takes a command")
            with ask(topology, asked.node) as ns:
                ns.set()
            try:
                os.execvp(argv[0], argv)
            except OSError as error:
                raise LabError(f"{argv[0]}: {error.strerror}") from None
    except (LabError, OSError) as error:
        print(f"topology: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if asked.command == "up" else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
