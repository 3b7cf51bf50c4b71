"""Another project of the name: `netns` on the package index.

race.py puts it into a directory of its own, before ours on this process's path.
"""

from __future__ import annotations

from importlib import import_module
from time import perf_counter_ns

from worker import TARGET, check, clock, here, imports, path, serve

netns = import_module("netns")
check(not hasattr(netns, "do"), "this is the other one")


def do(count: int, present: int) -> int:
    with netns.NetNS(nsname=TARGET):
        inside = here()
    check(inside != here(), "inside and home")
    start = perf_counter_ns()
    for _ in range(count):
        with netns.NetNS(nsname=TARGET):
            pass
    return perf_counter_ns() - start


serve(
    {
        "do": do,
        "enter": do,
        "socket": lambda n, present: clock(n, lambda: netns.socket(path(TARGET)).close()),
        "import": imports("import netns"),
    }
)
