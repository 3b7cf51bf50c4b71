"""Link, TCP and conntrack counters of every network namespace of a host, for Prometheus.

    python exporter.py [--port 9119] [--address 0.0.0.0] [--interval 5] [--switch]

Each namespace is entered once, when it is found, to open a netlink socket and two
files there; a scrape reads these from home. With --switch it is entered at each scrape.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

import netns

# A dump of all links (RTM_GETLINK), whatever the socket has asked before.
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
NLMSG_ERROR, NLMSG_DONE, RTM_NEWLINK, RTM_GETLINK = 2, 3, 16, 18
IFLA_IFNAME, IFLA_STATS64 = 3, 23
IFF_RUNNING = 0x40
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
STATS = struct.Struct("=8Q")  # the head of rtnl_link_stats64
REQUEST = HEADER.pack(32, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 0, 0) + LINK.pack(0, 0, 0, 0, 0)

Names = tuple[tuple[str, str, str], ...]  # name, type and help of metrics
LINKS: Names = (
    ("netns_link_receive_packets", "counter", "Packets received."),
    ("netns_link_transmit_packets", "counter", "Packets sent."),
    ("netns_link_receive_bytes", "counter", "Bytes received."),
    ("netns_link_transmit_bytes", "counter", "Bytes sent."),
    ("netns_link_receive_errors", "counter", "Bad packets received."),
    ("netns_link_transmit_errors", "counter", "Packets that could not be sent."),
    ("netns_link_receive_dropped", "counter", "Packets received and dropped."),
    ("netns_link_transmit_dropped", "counter", "Packets dropped on the way out."),
    ("netns_link_running", "gauge", "Whether the device is up and has a carrier."),
)
# Each with the name that its column has in the file.
SNMP = {
    "ActiveOpens": ("netns_tcp_active_opens", "counter", "Connections begun from here."),
    "PassiveOpens": ("netns_tcp_passive_opens", "counter", "Connections accepted."),
    "AttemptFails": ("netns_tcp_attempt_fails", "counter", "Connections that failed to open."),
    "EstabResets": ("netns_tcp_established_resets", "counter", "Connections reset."),
    "CurrEstab": ("netns_tcp_established", "gauge", "Connections open now."),
    "InSegs": ("netns_tcp_receive_segments", "counter", "Segments received."),
    "OutSegs": ("netns_tcp_transmit_segments", "counter", "Segments sent."),
    "RetransSegs": ("netns_tcp_retransmit_segments", "counter", "Segments sent again."),
    "InErrs": ("netns_tcp_receive_errors", "counter", "Bad segments received."),
    "OutRsts": ("netns_tcp_transmit_resets", "counter", "Resets sent."),
}
CONNTRACK = {
    "entries": ("netns_conntrack_entries", "gauge", "Connections tracked now."),
    "invalid": ("netns_conntrack_invalid", "counter", "Packets that fit no connection."),
    "insert_failed": ("netns_conntrack_insert_failed", "counter", "Entries that met another."),
    "drop": ("netns_conntrack_drop", "counter", "Packets dropped: no room for an entry."),
    "early_drop": ("netns_conntrack_early_drop", "counter", "Entries dropped to make room."),
}


class Counters:
    """What one namespace counts: a socket and files that were opened inside.

    They keep the namespace alive until they are closed.
    """

    __slots__ = ("conntrack", "links", "snmp")

    def __init__(self, ns: netns.NetNS) -> None:
        # Owned one by one: any of them may be refused.
        self.snmp = self.conntrack = -1
        self.links = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            # Before Linux 5.0 a thread that has such a file open gets the same file
            # again in another namespace. A new thread has none.
            ns.do_in_thread(self.open_files)
        except BaseException:
            self.close()
            raise

    def open_files(self, host: netns.NetNS) -> None:
        self.snmp = os.open("/proc/thread-self/net/snmp", os.O_RDONLY | os.O_CLOEXEC)
        try:
            path = "/proc/thread-self/net/stat/nf_conntrack"
            self.conntrack = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # the module is not loaded: no such metrics

    def close(self) -> None:
        self.links.close()
        for fd in (self.snmp, self.conntrack):
            if fd >= 0:
                os.close(fd)

    def read_links(self, buffer: bytearray) -> dict[str, tuple[int, ...]]:
        """Each device with the values of LINKS."""
        for _ in range(3):  # not for ever: whoever is inside may change devices all the time
            found, whole = self.dump_links(buffer)
            if whole:
                break
        return found

    def dump_links(self, buffer: bytearray) -> tuple[dict[str, tuple[int, ...]], bool]:
        """The same, and whether no device came or went meanwhile: some may be missing."""
        found: dict[str, tuple[int, ...]] = {}
        whole = True
        self.links.send(REQUEST)
        while True:
            end, at = self.links.recv_into(buffer), 0
            while at < end:
                length, kind, flags, _, _ = HEADER.unpack_from(buffer, at)
                whole = whole and not flags & NLM_F_DUMP_INTR
                if kind == RTM_NEWLINK:
                    name, values = read_link(buffer, at + HEADER.size, at + length)
                    found[name] = values
                elif kind == NLMSG_DONE:
                    return found, whole
                elif kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", buffer, at + HEADER.size)[0]
                    raise OSError(error, os.strerror(error))
                at += length + 3 & ~3

    def read_tcp(self) -> dict[str, int]:
        """Each column of the two lines about TCP."""
        keys, values = (
            line.split()
            for line in os.pread(self.snmp, 1 << 14, 0).splitlines()
            if line.startswith(b"Tcp:")
        )
        return dict(zip(map(bytes.decode, keys[1:]), map(int, values[1:])))

    def read_conntrack(self) -> dict[str, int]:
        """Each column, summed over the CPUs; nothing without the module."""
        if self.conntrack < 0:
            return {}
        head, *cpus = os.pread(self.conntrack, 1 << 16, 0).splitlines()
        keys = [key.decode() for key in head.split()]
        rows = [[int(value, 16) for value in line.split()] for line in cpus]
        found = dict(zip(keys, map(sum, zip(*rows))))
        found["entries"] = rows[0][keys.index("entries")]  # the namespace's, on each line
        return found


def read_link(buffer: bytearray, at: int, end: int) -> tuple[str, tuple[int, ...]]:
    """The name and the values of LINKS, of an RTM_NEWLINK message's body."""
    _, _, _, flags, _ = LINK.unpack_from(buffer, at)
    at += LINK.size
    name = ""
    while at < end:
        length, kind = ATTRIBUTE.unpack_from(buffer, at)
        if kind == IFLA_IFNAME:
            name = buffer[at + 4 : at + length - 1].decode(errors="backslashreplace")
        elif kind == IFLA_STATS64:
            return name, (*STATS.unpack_from(buffer, at + 4), int(bool(flags & IFF_RUNNING)))
        at += length + 3 & ~3
    raise ValueError(f"the kernel tells no counters of {name!r}")


class Namespace:
    """A namespace that is kept: its label, and its counters or how to get at them."""

    def __init__(self, found: netns.Found, switch: bool) -> None:
        self.label = label(found)
        self.processes = len(found.pids)
        self.ns: netns.NetNS | None = None
        self.counters: Counters | None = None
        ns = found.open()
        if switch:
            self.ns = ns
        else:
            with ns:
                self.counters = Counters(ns)

    def close(self) -> None:
        if self.ns is not None:
            self.ns.close()
        if self.counters is not None:
            self.counters.close()


def label(found: netns.Found) -> str:
    """Its name; without one where it is pinned; else as readlink and lsns show it."""
    text = [*found.names, *found.paths, f"net:[{found.ino}]"][0]
    return os.fsencode(text).decode(errors="backslashreplace")  # names have any bytes


class Agent(Collector):
    """The namespaces of the host, as `rescan` found them last, and their metrics."""

    def __init__(self, switch: bool = False) -> None:
        self.switch = switch
        self.kept: dict[tuple[int, int], Namespace] = {}
        self.unread: set[tuple[int, int]] = set()
        self.hidden = 0
        self.lock = threading.Lock()  # a scrape reads, a rescan closes
        self.buffer = bytearray(1 << 18)

    def rescan(self) -> None:
        """Take up what has come, and give up what is held by nobody else.

        The agent's sockets and files are no users that `discover` sees. So a
        namespace that it keeps and does not find has no name, process or thread
        left. And one that it keeps has not died: its number is still its own.
        """
        found = netns.discover()
        come: dict[tuple[int, int], Namespace] = {}
        unread: set[tuple[int, int]] = set()
        for each in found:
            key = each.dev, each.ino
            if key in self.kept:
                continue
            try:
                come[key] = Namespace(each, self.switch)
            except FileNotFoundError:
                continue  # gone already
            except OSError:
                unread.add(key)  # another user's, or no descriptor left
        with self.lock:
            gone = [
                self.kept.pop(key) for key in self.kept.keys() - {(f.dev, f.ino) for f in found}
            ]
            for each in found:
                kept = self.kept.get((each.dev, each.ino))
                if kept is not None:
                    kept.label, kept.processes = label(each), len(each.pids)
            self.kept.update(come)
            self.unread, self.hidden = unread, found.hidden
        for namespace in gone:
            namespace.close()

    def follow(self, interval: float) -> None:
        """Rescan whenever a name has come or gone, and after each interval, for ever."""
        with netns.watch(timeout=interval) as changes:
            while True:
                self.rescan()
                next(changes, None)
                changes.pending()  # all there are: one scan for them

    def collect(self) -> Iterator[Metric]:
        start = time.perf_counter()
        metrics = {
            name: Metric(name, help, kind)
            for name, kind, help in (*LINKS, *SNMP.values(), *CONNTRACK.values())
        }
        processes = Metric("netns_processes", "Processes in the namespace.", "gauge")
        links = [adder(metrics[name]) for name, _, _ in LINKS]
        tcp = [(key, adder(metrics[name])) for key, (name, _, _) in SNMP.items()]
        tracked = [(key, adder(metrics[name])) for key, (name, _, _) in CONNTRACK.items()]
        with self.lock:
            unread = len(self.unread)
            for namespace in self.kept.values():
                try:
                    devices, snmp, conntrack = self.read(namespace)
                except OSError:
                    unread += 1
                    continue
                here = {"netns": namespace.label}
                processes.add_sample("netns_processes", here, namespace.processes)
                for device, values in devices.items():
                    labels = {"netns": namespace.label, "device": device}
                    for add, value in zip(links, values):
                        add(labels, value)
                for key, add in tcp:
                    add(here, snmp[key])
                if conntrack:
                    for key, add in tracked:
                        add(here, conntrack[key])
            about: dict[str, tuple[float, str]] = {
                "netns_exporter_namespaces": (len(self.kept), "Namespaces kept."),
                "netns_exporter_unread_namespaces": (unread, "Found and could not be read."),
                "netns_exporter_hidden_processes": (self.hidden, "Could not be looked at."),
                "netns_exporter_read_seconds": (
                    time.perf_counter() - start,
                    "Time to read all namespaces, without writing the answer.",
                ),
            }
        yield from (metric for metric in metrics.values() if metric.samples)
        yield processes
        for name, (figure, help) in about.items():
            metric = Metric(name, help, "gauge")
            metric.add_sample(name, {}, figure)
            yield metric

    def read(
        self, namespace: Namespace
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, int], dict[str, int]]:
        counters = namespace.counters
        if counters is None:
            assert namespace.ns is not None
            counters = Counters(namespace.ns)
        try:
            return counters.read_links(self.buffer), counters.read_tcp(), counters.read_conntrack()
        finally:
            if counters is not namespace.counters:
                counters.close()

    def close(self) -> None:
        with self.lock:
            while self.kept:
                self.kept.popitem()[1].close()


def adder(metric: Metric) -> Callable[[dict[str, str], float], None]:
    """As metric.add_sample, by its samples' list: a scrape adds tens of thousands."""
    name = metric.name + "_total" if metric.type == "counter" else metric.name
    append = metric.samples.append

    def add(labels: dict[str, str], value: float) -> None:
        append(Sample(name, labels, value))

    return add


def registry(agent: Agent) -> CollectorRegistry:
    """The agent's metrics, and those of its own process."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(agent)
    return registry


def allow_descriptors() -> None:
    """As many as may be: three a namespace are kept."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--address", default="0.0.0.0", help="where to listen")
    parser.add_argument("--port", type=int, default=9119, help="0 for a free one")
    parser.add_argument("--interval", type=float, default=5, help="seconds between scans")
    parser.add_argument("--switch", action="store_true", help="enter at each scrape")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    netns.abort_when_stranded()  # rather than read one namespace for another
    allow_descriptors()
    agent = Agent(options.switch)
    try:
        agent.rescan()
        server, _ = start_http_server(options.port, options.address, registry(agent))
        print(f"http://{options.address}:{server.server_port}/metrics", flush=True)
        agent.follow(options.interval)
    except KeyboardInterrupt:
        return 0
    finally:
        agent.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
