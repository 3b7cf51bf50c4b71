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
from collections.abc import Collection

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

import netns
import web
from counters import CONNTRACK, LINKS, SNMP, Counters
from owners import Owner, Owners

OTHERS = 200  # descriptors that are no kept ones


class Namespace:
    """A namespace that is kept: whose it is, and its counters or how to get at them."""

    def __init__(self, found: netns.Found, owner: Owner, switch: bool) -> None:
        self.tell(found, owner)
        self.ns: netns.NetNS | None = None
        self.counters: Counters | None = None
        ns = found.open()
        if switch:
            self.ns = ns
        else:
            with ns:
                self.counters = Counters(ns)

    def tell(self, found: netns.Found, owner: Owner) -> None:
        here = label(found)
        self.labels = labels(netns=here)
        self.processes = len(found.pids)
        pod = owner.pod
        self.info = labels(
            netns=here, ino=str(found.ino), namespace=pod.namespace, pod=pod.name, uid=pod.uid
        )
        self.containers = [
            labels(netns=here, container_id=id, container=name) for id, name in owner.containers
        ]

    def close(self) -> None:
        if self.ns is not None:
            self.ns.close()
        if self.counters is not None:
            self.counters.close()


def labels(**told: str) -> str:
    return "{" + ",".join([f"{name}={quoted(text)}" for name, text in told.items()]) + "}"


def quoted(text: str) -> str:
    """As the value of a label."""
    return '"' + text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'


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


class Metric:
    """Its samples, as lines of the text format that Prometheus reads.

    Not prometheus_client's: a scrape of thousands of namespaces has more than a hundred
    thousand samples, and an object for each would take most of its time.
    """

    def __init__(self, name: str, kind: str, help: str) -> None:
        self.name = name + "_total" if kind == "counter" else name
        self.head = f"# HELP {self.name} {help}\n# TYPE {self.name} {kind}\n"
        self.lines: list[str] = []  # without the name in front of each

    def text(self) -> str:
        return f"{self.head}{self.name}{self.name.join(self.lines)}" if self.lines else ""


class Agent:
    """The namespaces of the host, as `rescan` found them last, and their metrics."""

    def __init__(
        self, switch: bool = False, chosen: Chosen | None = None, owners: Owners | None = None
    ) -> None:
        self.switch = switch
        self.chosen = chosen or Chosen()
        self.owners = owners or Owners()
        self.kept: dict[tuple[int, int], Namespace] = {}
        self.unread: set[tuple[int, int]] = set()
        self.hidden = self.unwanted = self.failed = 0
        self.lock = threading.Lock()  # a scrape reads, a rescan closes
        self.buffer = bytearray(1 << 18)
        self.process = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.process)

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
        with self.lock:
            gone = [self.kept.pop(key) for key in self.kept.keys() - wanted.keys()]
            for key, kept in self.kept.items():
                kept.tell(*wanted[key])
        for namespace in gone:
            namespace.close()
        come: dict[tuple[int, int], Namespace] = {}
        unread: set[tuple[int, int]] = set()
        room = places() - len(self.kept)
        for key in wanted.keys() - self.kept.keys():
            if len(come) >= room:
                unread.add(key)
                continue
            try:
                come[key] = Namespace(*wanted[key], self.switch)
            except FileNotFoundError:
                continue  # gone already
            except (OSError, RuntimeError):
                unread.add(key)  # another user's, or no descriptor or thread left
        with self.lock:
            self.kept.update(come)
            self.unread, self.hidden = unread, found.hidden
            self.unwanted = len(found) - len(wanted)

    def follow(self, interval: float) -> None:
        """Rescan whenever a name has come or gone, and after each interval, for ever."""
        while True:
            try:
                with netns.watch(timeout=interval) as changes:
                    while True:
                        begun = time.thread_time()
                        self.rescan()
                        # However fast names come and go, scrapes have most of the CPU.
                        time.sleep(min(1, 4 * (time.thread_time() - begun)))
                        next(changes, None)
                        changes.pending()  # all there are: one scan for them
            except (netns.Error, OSError, RuntimeError) as error:
                # No descriptor, thread or memory was left, for one: that may pass.
                self.failed += 1
                print(f"exporter.py: {error}", file=sys.stderr, flush=True)
                time.sleep(interval)

    def page(self, names: Collection[str] = ()) -> bytes:
        """The answer to a scrape: all metrics, or those of these names."""
        metrics = (metric for metric in self.collect() if not names or metric.name in names)
        text = "".join([metric.text() for metric in metrics])
        process = self.process.restricted_registry(names) if names else self.process
        return text.encode() + generate_latest(process)

    def collect(self) -> list[Metric]:
        start = time.perf_counter()
        links = [Metric(*each) for each in LINKS]
        tcp = [(key, Metric(*each)) for key, each in SNMP.items()]
        tracked = {key: Metric(*each) for key, each in CONNTRACK.items()}
        processes = Metric("netns_processes", "gauge", "Processes in the namespace.")
        info = Metric("netns_info", "gauge", "The namespace's number, and the pod whose it is.")
        containers = Metric("netns_container_info", "gauge", "A container in the namespace.")
        with self.lock:
            unread = len(self.unread)
            for namespace in self.kept.values():
                try:
                    devices, snmp, conntrack = self.read(namespace)
                except (OSError, ValueError, RuntimeError):  # no thread; an answer cut short
                    unread += 1
                    continue
                here = namespace.labels
                processes.lines.append(f"{here} {namespace.processes}\n")
                info.lines.append(f"{namespace.info} 1\n")
                for container in namespace.containers:
                    containers.lines.append(f"{container} 1\n")
                for device, values in devices.items():
                    there = f"{here[:-1]},device={quoted(device)}}}"
                    for metric, value in zip(links, values):
                        metric.lines.append(f"{there} {value}\n")
                for key, metric in tcp:
                    metric.lines.append(f"{here} {snmp[key]}\n")
                for key, total in conntrack.items():
                    tracked[key].lines.append(f"{here} {total}\n")
            kept = len(self.kept)
        about: tuple[tuple[str, str, str, float], ...] = (
            ("namespaces", "gauge", "Namespaces kept.", kept),
            ("unread_namespaces", "gauge", "Found and could not be read.", unread),
            ("unwanted_namespaces", "gauge", "Not chosen by the filters.", self.unwanted),
            ("hidden_processes", "gauge", "Could not be looked at.", self.hidden),
            ("failed_scans", "counter", "Scans that failed.", self.failed),
            (
                "read_seconds",
                "gauge",
                "Time to read all namespaces, without writing the answer.",
                time.perf_counter() - start,
            ),
        )
        build = Metric("netns_exporter_build_info", "gauge", "What the exporter runs on.")
        python = platform.python_version()
        build.lines.append(labels(version=netns.__version__, python=python) + " 1\n")
        own = []
        for name, kind, help, figure in about:
            own.append(Metric(f"netns_exporter_{name}", kind, help))
            own[-1].lines.append(f" {figure}\n")
        return [
            *links,
            *dict(tcp).values(),
            *tracked.values(),
            processes,
            info,
            containers,
            build,
            *own,
        ]

    def read(
        self, namespace: Namespace
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, str], dict[str, int]]:
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


def allow_descriptors() -> None:
    """As many as may be: three a namespace are kept."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def places() -> int:
    """For namespaces to keep: some descriptors are left to scans and to those who ask."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (limit - OTHERS) // 3


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
        url = web.serve(asked.address, asked.port, agent.page, web.Live(asked.web))
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
