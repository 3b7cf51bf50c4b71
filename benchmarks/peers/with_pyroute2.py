"""pyroute2's network namespaces."""

from __future__ import annotations

from time import perf_counter_ns

from worker import TARGET, absent, check, clock, each, here, imports, numbered, serve

try:
    from pyroute2 import netns
except ModuleNotFoundError as error:
    absent(str(error))


def do(count: int, present: int) -> int:
    home = here()
    netns.pushns(TARGET)
    inside = here()
    netns.popns()
    check(inside != home and here() == home, "inside and home")
    start = perf_counter_ns()
    for _ in range(count):
        netns.pushns(TARGET)
        netns.popns()
    return perf_counter_ns() - start


def visit(count: int, present: int) -> int:
    names = numbered("bench", present)
    start = perf_counter_ns()
    for i in range(count):
        netns.pushns(names[i % present])
        netns.popns()
    return perf_counter_ns() - start


def inside(count: int, present: int) -> int:
    netns.pushns(TARGET)
    spent = do_unchecked(count)
    netns.popns()
    return spent


def do_unchecked(count: int) -> int:
    start = perf_counter_ns()
    for _ in range(count):
        netns.pushns(TARGET)
        netns.popns()
    return perf_counter_ns() - start


def sockets(count: int, present: int) -> int:
    names, spent = numbered("bench", present), 0
    for _ in range(count):
        start = perf_counter_ns()
        made = [netns.create_socket(name) for name in names]
        spent += perf_counter_ns() - start
        for sock in made:
            sock.close()
    return spent


def create_delete(count: int, present: int) -> int:
    return clock(count, lambda: netns.create("pyroute2"), lambda: netns.remove("pyroute2"))


def delete(count: int, present: int) -> int:
    names = numbered("doomed", present)
    start = perf_counter_ns()
    for name in names:
        netns.remove(name)
    return perf_counter_ns() - start


def discover(count: int, present: int) -> int:
    start = perf_counter_ns()
    for _ in range(count):
        found = netns.ns_pids()
    spent = perf_counter_ns() - start
    check(set(found) >= set(numbered("bench", present)), "every name was found")
    check(sum(map(len, found.values())) >= present, "every process was found")
    return spent


serve(
    {
        "do": do,
        "enter": do,
        "inside": inside,
        "visit": visit,
        "socket": lambda n, present: clock(n, lambda: netns.create_socket(TARGET).close()),
        "sockets": sockets,
        "create": each("pyroute2", netns.create, netns.remove),
        "create_delete": create_delete,
        "new": create_delete,
        "delete": delete,
        "discover": discover,
        "import": imports("import pyroute2"),
    }
)
