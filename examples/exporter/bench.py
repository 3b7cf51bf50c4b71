"""A scrape with kept sockets against one that enters every namespace anew.

    python bench.py [NAMESPACES] [ROUNDS]     (1000 30)

Makes that many named namespaces, in a mount namespace and a pid namespace of its
own, and scrapes two agents over HTTP in turns, all on one CPU: `exporter.Agent()` and
the same with `switch=True`. Each answer is parsed and checked once. Needs root.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

import exporter
import netns
import web

INSIDE = "NETNS_BENCH_INSIDE"
SEEN = ("netns_link_receive_bytes", "netns_tcp_receive_segments", "netns_processes")


def own_host() -> None:
    """Start again where only this benchmark's mounts and processes are."""
    if os.environ.get(INSIDE):
        return
    script = 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec "$@"'
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"]
    os.execvpe(command[0], [*command, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


def check(text: str, names: set[str]) -> None:
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name in SEEN:
        if not names <= {sample.labels["netns"] for sample in families[name].samples}:
            raise SystemExit(f"{name}: not of all the namespaces made")


def main(namespaces: int, rounds: int) -> int:
    exporter.allow_descriptors()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    names = [f"bench-{i:05}" for i in range(namespaces)]
    for name in names:
        netns.create(name).close()
    agents = {"kept sockets": exporter.Agent(), "--switch": exporter.Agent(switch=True)}
    urls = {}
    for who, agent in agents.items():
        agent.rescan()
        urls[who] = web.serve("127.0.0.1", 0, agent.page, web.Live(None))

    def scrape(who: str) -> str:
        with urllib.request.urlopen(urls[who]) as answer:
            return str(answer.read().decode())

    # Of each: a scrape by the clock and in CPU time, and the CPU time of its reading.
    spent: dict[str, list[tuple[float, float, float]]] = {who: [] for who in agents}
    for who in agents:
        check(scrape(who), set(names))
    for _ in range(rounds):
        for who, times in spent.items():
            cpu, start = time.process_time(), time.perf_counter()
            scrape(who)
            took, used = time.perf_counter() - start, time.process_time() - cpu
            cpu = time.process_time()
            metrics = agents[who].collect()
            times.append((took, used, time.process_time() - cpu))
            assert len(metrics[0].lines) >= namespaces
    for agent in agents.values():
        agent.close()
    netns.delete(*names)

    print(f"{namespaces} namespaces, {rounds} rounds in turns, one CPU, milliseconds:")
    print("medians (least)")
    print(f"{'':14}{'scrape':>18}{'CPU time':>18}{'of it reading':>18}")
    middle = {}
    for who, times in spent.items():
        columns = [[1e3 * value for value in column] for column in zip(*times)]
        middle[who] = [statistics.median(column) for column in columns]
        cells = [f"{statistics.median(c):.1f} ({min(c):.1f})" for c in columns]
        print(f"{who:14}" + "".join(f"{cell:>18}" for cell in cells))
    ratios = [b / a for a, b in zip(middle["kept sockets"], middle["--switch"])]
    print(f"{'ratio':14}" + "".join(f"{ratio:>18.2f}" for ratio in ratios))
    return 0


if __name__ == "__main__":
    own_host()
    main(*([int(arg) for arg in sys.argv[1:]] + [1000, 30][len(sys.argv) - 1 :]))
