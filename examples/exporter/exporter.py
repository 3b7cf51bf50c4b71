"""Link, TCP and conntrack counters of every network namespace of a host, for Prometheus.

    python exporter.py [--port 19119] [--include REGEX] [--exclude REGEX] [--help]

Each namespace is entered once, when it is found, to open a netlink socket and two
files there; a scrape reads these from home. With --switch it is entered at each scrape.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

import netns
import web
from counters import CONNTRACK, LINKS, SNMP, Counters
from owners import Owner, Owners


class Namespace:
    """A namespace that is kept: whose it is, and its counters or how to get at them."""

    def __init__(self, found: netns.Found, owner: Owner, switch: bool) -> None:
        self.tell(found, owner)
        self.ino = found.ino
        self.ns: netns.NetNS | None = None
        self.counters: Counters | None = None
        ns = found.open()
        if switch:
            self.ns = ns
        else:
            with ns:
                self.counters = Counters(ns)

    def tell(self, found: netns.Found, owner: Owner) -> None:
        self.label = label(found)
        self.processes = len(found.pids)
        self.owner = owner

    def close(self) -> None:
        if self.ns is not None:
            self.ns.close()
        if self.counters is not None:
            self.counters.close()


def label(found: netns.Found) -> str:
    """Its name; without one where it is pinned; else as readlink and lsns show it."""
    text = [*found.names, *found.paths, f"net:[{found.ino}]"][0]
    return os.fsencode(text).decode(errors="backslashreplace")  # names have any bytes


class Chosen:
    """Which namespaces are wanted: by their label, or by NAMESPACE/POD."""

    def __init__(self, include: str | None = None, exclude: str | None = None) -> None:
        self.include = re.compile(include) if include else None
        self.exclude = re.compile(exclude) if exclude else None

    def has(self, found: netns.Found, owner: Owner) -> bool:
        called = [label(found)]
        if owner.pod.name:
            called.append(f"{owner.pod.namespace}/{owner.pod.name}")
        if self.exclude and any(map(self.exclude.fullmatch, called)):
            return False
        return self.include is None or any(map(self.include.fullmatch, called))


class Agent(Collector):
    """The namespaces of the host, as `rescan` found them last, and their metrics."""

    def __init__(
        self, switch: bool = False, chosen: Chosen | None = None, owners: Owners | None = None
    ) -> None:
        self.switch = switch
        self.chosen = chosen or Chosen()
        self.owners = owners or Owners()
        self.kept: dict[tuple[int, int], Namespace] = {}
        self.unread: set[tuple[int, int]] = set()
        self.hidden = self.unwanted = 0
        self.lock = threading.Lock()  # a scrape reads, a rescan closes
        self.buffer = bytearray(1 << 18)

    def rescan(self) -> None:
        """Take up what has come, and give up what is held by nobody else.

        The agent's sockets and files are no users that `discover` sees. So a
        namespace that it keeps and does not find has no name, process or thread
        left. And one that it keeps has not died: its number is still its own.
        """
        found = netns.discover()
        self.owners.look_again()
        wanted: dict[tuple[int, int], tuple[netns.Found, Owner]] = {}
        for each in found:
            owner = self.owners.of(each.pids, each.names)
            if self.chosen.has(each, owner):
                wanted[each.dev, each.ino] = each, owner
        come: dict[tuple[int, int], Namespace] = {}
        unread: set[tuple[int, int]] = set()
        for key, (each, owner) in wanted.items():
            if key in self.kept:
                continue
            try:
                come[key] = Namespace(each, owner, self.switch)
            except FileNotFoundError:
                continue  # gone already
            except (OSError, RuntimeError):
                unread.add(key)  # another user's, or no descriptor or thread left
        with self.lock:
            gone = [self.kept.pop(key) for key in self.kept.keys() - wanted.keys()]
            for key, kept in self.kept.items():
                kept.tell(*wanted[key])
            self.kept.update(come)
            self.unread, self.hidden = unread, found.hidden
            self.unwanted = len(found) - len(wanted)
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
        info = Metric("netns_info", "The namespace's number, and the pod whose it is.", "gauge")
        containers = Metric("netns_container_info", "A container in the namespace.", "gauge")
        links = [adder(metrics[name]) for name, _, _ in LINKS]
        tcp = [(key, adder(metrics[name])) for key, (name, _, _) in SNMP.items()]
        tracked = [(key, adder(metrics[name])) for key, (name, _, _) in CONNTRACK.items()]
        with self.lock:
            unread = len(self.unread)
            for namespace in self.kept.values():
                try:
                    devices, snmp, conntrack = self.read(namespace)
                except (OSError, ValueError, RuntimeError):  # no thread; an answer cut short
                    unread += 1
                    continue
                here = {"netns": namespace.label}
                processes.add_sample("netns_processes", here, namespace.processes)
                pod = namespace.owner.pod
                whose = {"namespace": pod.namespace, "pod": pod.name, "uid": pod.uid}
                info.add_sample("netns_info", {**here, "ino": str(namespace.ino), **whose}, 1)
                for id, name in namespace.owner.containers:
                    labels = {**here, "container_id": id, "container": name}
                    containers.add_sample("netns_container_info", labels, 1)
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
                "netns_exporter_unwanted_namespaces": (
                    self.unwanted,
                    "Not chosen by the filters.",
                ),
                "netns_exporter_hidden_processes": (self.hidden, "Could not be looked at."),
                "netns_exporter_read_seconds": (
                    time.perf_counter() - start,
                    "Time to read all namespaces, without writing the answer.",
                ),
            }
        yield from (metric for metric in metrics.values() if metric.samples)
        yield from (processes, info, *((containers,) if containers.samples else ()))
        build = Metric("netns_exporter_build_info", "What the exporter runs on.", "gauge")
        versions = {"netns": netns.__version__, "python": platform.python_version()}
        build.add_sample("netns_exporter_build_info", versions, 1)
        yield build
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


def pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{error}: {text}") from None
    return text


def options() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    add("--address", default=everywhere, help="where to listen (%(default)s)")
    add("--port", type=int, default=19119, help="0 for a free one (%(default)s)")
    add("--interval", type=float, default=5, help="seconds between scans (%(default)s)")
    add(
        "--include",
        type=pattern,
        metavar="REGEX",
        help="these namespaces alone: the whole label, or NAMESPACE/POD",
    )
    add("--exclude", type=pattern, metavar="REGEX", help="all but these")
    add("--root", default="/", help="where the host's files are, in a container (%(default)s)")
    add(
        "--web.config.file",
        dest="web",
        metavar="FILE",
        help="TLS and passwords, as Prometheus' own exporters have it",
    )
    add("--switch", action="store_true", help="enter at each scrape")
    return parser.parse_args()


def main() -> int:
    asked = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    netns.abort_when_stranded()  # rather than read one namespace for another
    allow_descriptors()
    agent = Agent(asked.switch, Chosen(asked.include, asked.exclude), Owners(asked.root))
    try:
        config = web.read_config(asked.web) if asked.web else web.Config()
        url = web.serve(asked.address, asked.port, registry(agent), config)
    except web.ConfigError as error:
        print(f"exporter.py: --web.config.file: {error}", file=sys.stderr)
        return 1
    except (OSError, OverflowError) as error:
        where = f"{asked.address} port {asked.port}"
        print(f"exporter.py: can't listen on {where}: {error}", file=sys.stderr)
        return 1
    try:
        agent.rescan()
        print(url, flush=True)
        agent.follow(asked.interval)
    except KeyboardInterrupt:
        return 0
    finally:
        agent.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
