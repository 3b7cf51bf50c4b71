"""Every namespace of a host: discover() against the C floor, lsns and pyroute2.

    python benchmarks/bench_discover.py [NAMESPACES] [PROCESSES] [ROUNDS]

Makes that many named namespaces, in a mount namespace and a pid namespace of
its own, and as many processes, one in each namespace. The contestants take
turns; each one's answer is checked before its time counts. Prints medians,
their spread and the ratios. Needs root, a C compiler and pyroute2.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import netns

INSIDE = "NETNS_BENCH_INSIDE"
RUN = "/run/netns"


def own_host() -> None:
    """Start again where only this benchmark's mounts and processes are."""
    if os.environ.get(INSIDE):
        return
    script = f'mkdir -p {RUN} && mount -t tmpfs none {RUN} && exec "$@"'
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"]
    os.execvpe(command[0], [*command, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


def c_floor(directory: str) -> Callable[[], tuple[int, int]]:
    library = Path(directory) / "floor.so"
    source = Path(__file__).with_name("floor_discover.c")
    compiler = ["cc", "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC"]
    subprocess.run([*compiler, "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).floor_discover
    pins = ctypes.c_int()

    def run() -> tuple[int, int]:
        return function(ctypes.byref(pins)), pins.value

    return run


def cpu() -> float:
    """Seconds of CPU that this process, its threads and ended children used."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def sleeper(ns: netns.NetNS) -> int:
    def body(host: netns.NetNS) -> int:
        pid = os.fork()
        if pid == 0:
            while True:
                signal.pause()
        return pid

    return ns.do(body)


def main(namespaces: int, processes: int, rounds: int) -> int:
    import pyroute2.netns

    inodes: dict[str, int] = {}
    children: list[int] = []
    homes: dict[str, set[int]] = {}
    for i in range(namespaces):
        with netns.create(f"bench-{i:05}") as ns:
            inodes[f"bench-{i:05}"] = ns.ino
    names = list(inodes)
    for i in range(processes):
        name = names[i % namespaces]
        with netns.open(name) as ns:
            children.append(sleeper(ns))
        homes.setdefault(name, set()).add(children[-1])

    def discover() -> object:
        return netns.discover()

    def check_discover(found: netns.Discovery) -> bool:
        got = {each.names[0]: each for each in found if each.names}
        return {name: each.ino for name, each in got.items()} == inodes and all(
            homes.get(name, set()) == set(each.pids) for name, each in got.items()
        )

    def lsns() -> object:
        command = ["lsns", "-t", "net", "-n"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def check_lsns(out: str) -> bool:
        held = {inodes[name] for name in homes}
        return held <= {int(line.split()[0]) for line in out.splitlines()}

    def ns_pids() -> object:
        return pyroute2.netns.ns_pids()

    def check_ns_pids(got: dict[str, list[int]]) -> bool:
        return {name: set(pids) for name, pids in got.items()} == homes

    with tempfile.TemporaryDirectory() as directory:
        floor = c_floor(directory)
    contestants: dict[str, tuple[Callable[[], object], Callable[..., bool]]] = {
        "C floor": (floor, lambda got: got[0] > processes and got[1] >= namespaces),
        "discover()": (discover, check_discover),
        "pyroute2 ns_pids()": (ns_pids, check_ns_pids),
        "lsns -t net": (lsns, check_lsns),
    }
    try:
        start = time.perf_counter()
        netns.discover()
        first = time.perf_counter() - start
        spent: dict[str, list[float]] = {name: [] for name in contestants}
        worked: dict[str, list[float]] = {name: [] for name in contestants}
        order = list(contestants)
        for _ in range(rounds):
            order.append(order.pop(0))
            for name in order:
                act, right = contestants[name]
                before, start = cpu(), time.perf_counter()
                got = act()
                took = time.perf_counter() - start
                worked[name].append(cpu() - before)
                if not right(got):
                    raise SystemExit(f"{name}: not the namespaces and processes made")
                spent[name].append(took)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        netns.delete(*names)
    mid = {name: statistics.median(times) for name, times in spent.items()}
    work = {name: statistics.median(times) for name, times in worked.items()}
    ours = mid["discover()"]
    print(f"{namespaces} namespaces, {processes} processes, {rounds} rounds, milliseconds;")
    print("ratios are to discover(); CPU: of all threads and children, medians")
    print(f"{'':20}{'median':>9}{'min':>9}{'p90':>9}{'ratio':>9}{'CPU':>9}{'ratio':>9}")
    for name, times in spent.items():
        p90 = sorted(times)[int(len(times) * 0.9)]
        row = "".join(f"{1e3 * value:9.2f}" for value in (mid[name], min(times), p90))
        cpus = f"{1e3 * work[name]:9.2f}{work[name] / work['discover()']:9.2f}"
        print(f"{name:20}{row}{mid[name] / ours:9.2f}{cpus}")
    print(
        f"discover() is {ours / mid['C floor']:.2f} x the C floor in time, "
        f"{work['discover()'] / work['C floor']:.2f} x in CPU;\n"
        f"its first scan took {1e3 * first:.2f} ms, {first / ours:.2f} x a later one"
    )
    return 0


if __name__ == "__main__":
    own_host()
    sizes = [int(arg) for arg in sys.argv[1:]] + [1000, 1000, 30][len(sys.argv) - 1 :]
    sys.exit(main(*sizes))
