"""A million calls of do(), or a day's names: memory, descriptors and threads must not grow.

    python benchmarks/million.py [CALLS]
    python benchmarks/million.py --churn [NAMES]

`--churn` makes a name, visits it and deletes it, as often as once a second is in a day, as
fast as it can, in a mount namespace of its own. Prints what the process holds before, along
the way and after, and fails if the last is more than the first.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import netns

MILLION, DAY = 1_000_000, 24 * 60 * 60


def held() -> tuple[int, int, int]:
    """Resident memory in KiB, descriptors, threads."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    fds = len(list(Path("/proc/self/fd").iterdir()))
    return int(fields["VmRSS"].split()[0]), fds, int(fields["Threads"])


def watch(run: Callable[[range], None], count: int) -> int:
    """Run so many steps, a tenth at a time; the exit status: 1 if anything grew."""

    def report(steps: range) -> tuple[int, int, int]:
        start = time.perf_counter()
        run(steps)
        spent = (time.perf_counter() - start) / len(steps)
        gc.collect()
        rss, fds, threads = held()
        print(
            f"{steps.stop:9} {rss:8} {fds:4} {threads:7} {spent * 1e6:8.2f}",
            flush=True,
        )
        return held()

    print(f"{'calls':>9} {'RSS KiB':>8} {'fds':>4} {'threads':>7} {'us/call':>8}")
    tenth = max(count // 10, 1)
    first = report(range(max(count // 100, 1)))  # with whatever is made once
    for begin in range(0, 10 * tenth, tenth):
        last = report(range(begin, begin + tenth))
    grown = [after - before for before, after in zip(first, last)]
    if any(more > 0 for more in grown):
        print(f"grown by {grown[0]} KiB, {grown[1]} descriptors, {grown[2]} threads")
        return 1
    print("no growth")
    return 0


def calls(count: int) -> int:
    inodes: list[int] = []

    def body(host: netns.NetNS, step: int) -> int:
        inodes[:] = [host.ino]
        return step

    with netns.new() as ns, netns.current() as home:

        def run(steps: range) -> None:
            for step in steps:
                if ns.do(body, step) != step or inodes != [home.ino]:
                    raise SystemExit("a call went wrong")

        return watch(run, count)


def churn(count: int) -> int:
    prefix = f"churn-{os.getpid()}-"

    def body(host: netns.NetNS) -> int:
        with netns.current() as here:
            return here.ino

    def run(steps: range) -> None:
        for step in steps:
            name = f"{prefix}{step}"
            with netns.create(name) as ns:
                if ns.do(body) != ns.ino:
                    raise SystemExit("a visit went wrong")
            netns.delete(name)
        left = [name for name in netns.names() if name.startswith(prefix)]
        if left:
            raise SystemExit(f"names are left: {left}")

    return watch(run, count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--churn", action="store_true", help="names instead of calls")
    parser.add_argument("count", nargs="?", type=int, help="of calls, or of names")
    args = parser.parse_args()
    if not args.churn:
        return calls(args.count or MILLION)
    from race import INSIDE, in_own_host

    return churn(args.count or DAY) if os.environ.get(INSIDE) else in_own_host()


if __name__ == "__main__":
    sys.exit(main())
