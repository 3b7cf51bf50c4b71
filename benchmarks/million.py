"""A million calls of do(): memory, descriptors and threads must not grow.

    python benchmarks/million.py [CALLS]

Prints what the process holds before, along the way and after, and fails if
the last is more than the first.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import netns


def held() -> tuple[int, int, int]:
    """Resident memory in KiB, descriptors, threads."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    fds = len(list(Path("/proc/self/fd").iterdir()))
    return int(fields["VmRSS"].split()[0]), fds, int(fields["Threads"])


def main(calls: int) -> int:
    inodes: list[int] = []

    def body(host: netns.NetNS, step: int) -> int:
        inodes[:] = [host.ino]
        return step

    with netns.new() as ns, netns.current() as home:

        def run(count: int) -> None:
            for step in range(count):
                if ns.do(body, step) != step or inodes != [home.ino]:
                    raise SystemExit("a call went wrong")

        def report(count: int, done: int) -> tuple[int, int, int]:
            start = time.perf_counter()
            run(count)
            spent = (time.perf_counter() - start) / count
            gc.collect()
            rss, fds, threads = held()
            print(f"{done:9} {rss:8} {fds:4} {threads:7} {spent * 1e6:8.2f}", flush=True)
            return held()

        print(f"{'calls':>9} {'RSS KiB':>8} {'fds':>4} {'threads':>7} {'us/call':>8}")
        first = report(calls // 100, 0)  # with whatever is made once
        for tenth in range(1, 11):
            last = report(calls // 10, tenth * calls // 10)
    grown = [after - before for before, after in zip(first, last)]
    if any(more > 0 for more in grown):
        print(f"grown by {grown[0]} KiB, {grown[1]} descriptors, {grown[2]} threads")
        return 1
    print("no growth")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
