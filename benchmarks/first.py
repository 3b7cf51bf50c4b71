"""What the first call of each kind takes in a fresh process, and the second.

    python benchmarks/first.py [ROUNDS]

Each round starts an interpreter for each call, in an order of its own; it imports the
library, makes the call twice, and is over. Shown are the medians. A first call pays for the
import of the module that it is in, for what the thread keeps, and for cold caches.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from statistics import median

import netns
from race import INSIDE, in_own_host
from report import shown, table

NAME = "bench-first"
OPENED = f"ns = netns.open({NAME!r})"
# The call; and what is made ready before it, in the same process and untimed.
CALLS = {
    "import netns": "",
    "netns.current().close()": "",
    f"netns.open({NAME!r}).close()": "",
    "netns.from_pid(1).close()": "",
    "netns.names()": "",
    "netns.identify(1)": "",
    "netns.discover()": "",
    "netns.new().close()": "",
    "netns.create('first').close(); netns.delete('first')": "",
    "ns.do(id)": OPENED,
    "with ns.enter(): pass": OPENED,
    "with netns.tour() as tour: tour.visit(ns)": OPENED,
    "ns.socket().close()": OPENED,
    "ns.run(['true'])": OPENED,
    "ns.do_in_thread(id)": OPENED,
    "with ns.executor(1) as pool: pool.submit(int).result()": OPENED,
    "loop.run_until_complete(ns.do_async(body))": f"{OPENED}; import asyncio\n"
    "async def body(host): pass\n"
    "loop = asyncio.new_event_loop(); loop.run_until_complete(body(0))",
    "with netns.pool(1) as pool: pool.take().close()": "",
}


def once(call: str, before: str) -> list[int]:
    """Nanoseconds of the first call and of the second."""
    lines = ["from time import perf_counter_ns", "import netns" if call != "import netns" else ""]
    lines += [before, *["start = perf_counter_ns()", call, "print(perf_counter_ns() - start)"] * 2]
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(lines)]
    return [int(line) for line in subprocess.check_output(command, text=True, cwd="/").split()]


def main() -> int:
    if not os.environ.get(INSIDE):
        return in_own_host()
    netns.create(NAME).close()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[list[int]]] = {call: [] for call in CALLS}
    order = list(CALLS)
    for _ in range(rounds):
        random.shuffle(order)
        for call in order:
            times[call].append(once(call, CALLS[call]))
    rows = []
    for call, taken in times.items():
        first, second = (median(each) / 1e9 for each in zip(*taken))
        rows.append([f"`{call}`", shown(first, "s"), shown(second, "s")])
    print(table(["", "first", "second"], rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
