"""A soak: an agent that is scraped while namespaces come and go, and what it holds.

    python churn.py [SECONDS] [STANDING]     (3600 0)

Half of the namespaces have names; half have a process and no name. Ends with 1 if
the agent's descriptors or memory grew, or if it kept any of them. Others, as many as
STANDING, have names all the time. The agent has one CPU for itself; told is also how
long scrapes took, asked for as Prometheus does (gzip).
"""

from __future__ import annotations

import gzip
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

RUN = tempfile.mkdtemp(prefix="netns-churn-")
os.environ["NETNS_RUN_DIR"] = RUN

import netns  # noqa: E402

BATCH = 20
EXPORTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exporter.py")
HELD = ("process_open_fds", "process_resident_memory_bytes", "netns_exporter_namespaces")
CPU = "process_cpu_seconds_total"
TOOK: list[float] = []  # seconds, of each scrape


def scrape(url: str) -> tuple[str, list[float]]:
    """The answer, and the values of HELD and of CPU in it."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=60) as answer:
        packed = answer.read()
    TOOK.append(time.monotonic() - begun)
    text = "\n" + gzip.decompress(packed).decode()
    return text, [float(text.partition(f"\n{name} ")[2].split()[0]) for name in (*HELD, CPU)]


def until(url: str, labels: set[str], there: bool) -> None:
    """Scrape until the agent has taken all of them up, or has given them up."""
    deadline = time.monotonic() + 60
    while True:
        text, _ = scrape(url)
        if all((f'netns_processes{{netns="{label}"}}' in text) == there for label in labels):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{'not found' if there else 'kept'} after a minute: {labels}")


def sleeper(ns: netns.NetNS) -> subprocess.Popen[bytes]:
    return ns.popen(["sleep", "infinity"])


def round_of(url: str) -> None:
    labels, children = set(), []
    for i in range(BATCH):
        with netns.create(f"churn-{i}"), netns.new() as ns:
            labels |= {f"churn-{i}", f"net:[{ns.ino}]"}
            children.append(sleeper(ns))
    until(url, labels, there=True)
    for child in children:
        child.kill()
        child.wait()
    netns.delete(*(f"churn-{i}" for i in range(BATCH)))
    until(url, labels, there=False)


def main(seconds: int, standing: int = 0) -> int:
    names = [f"standing-{i}" for i in range(standing)]
    for name in names:
        netns.create(name).close()
    command = [sys.executable, EXPORTER, "--address", "127.0.0.1", "--port", "0"]
    command += ["--interval", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        try:
            assert agent.stdout is not None
            os.sched_setaffinity(agent.pid, {max(os.sched_getaffinity(0))})
            url = agent.stdout.readline().strip()
            for _ in range(5):  # what Python allocates once
                round_of(url)
            used = scrape(url)[1][-1]
            TOOK.clear()
            start, rounds, said = time.monotonic(), 0, 0.0
            seen: list[list[float]] = []
            while len(seen) < 6 or time.monotonic() - start < seconds:
                round_of(url)
                rounds += 1
                seen.append(scrape(url)[1])
                if time.monotonic() - said > 60:
                    said = time.monotonic()
                    print(f"{said - start:6.0f} s  round {rounds}  {dict(zip(HELD, seen[-1]))}")
                    sys.stdout.flush()
        finally:
            agent.send_signal(signal.SIGTERM)
            netns.delete(*names)
    subprocess.run(["umount", RUN], stderr=subprocess.DEVNULL)  # if it is a mount of its own
    os.rmdir(RUN)
    third = len(seen) // 3
    # The least of each: a scrape may come while what was given up is being closed.
    first, last = (
        [min(column) for column in zip(*part)] for part in (seen[:third], seen[-third:])
    )
    middle, most = statistics.median(TOOK), max(TOOK)
    print(f"{len(TOOK)} scrapes: {middle:.3f} s (median), {most:.3f} s (most)")
    print(f"{(seen[-1][-1] - used) / len(TOOK):.3f} s of CPU a scrape, with the scans between")
    print(f"{rounds} rounds, {2 * BATCH * rounds} namespaces; least of the first and last third:")
    for name, before, after in zip(HELD, first, last):
        print(f"{name:32}{before:16.1f}{after:16.1f}")
    # Others' namespaces on this machine have their descriptors too.
    fds = [column[0] - 3 * column[2] for column in (first, last)]
    grown = [*(["descriptors"] if fds[1] > fds[0] + 3 else [])]
    grown += ["memory"] if last[1] > 1.05 * first[1] else []
    print(f"grown: {', '.join(grown)}" if grown else f"flat, agent ended with {agent.returncode}")
    return len(grown) or agent.returncode


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:] or ["3600"])))
