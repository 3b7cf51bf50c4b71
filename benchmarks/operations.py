"""What is raced, and what it should come to. No figures here: race.py measures them."""

from __future__ import annotations

from typing import NamedTuple

FLOOR, C, OURS, GIL = "C floor", "netns from C", "netns", "netns, keep_gil"
SINGLY, COMPILED = "netns, one by one", "compiled module alone"
CNI, VISHVANANDA, SETNS, PYROUTE2 = "Go CNI", "Go vishvananda", "os.setns", "pyroute2"
PYPI_NETNS, PYPI_NSENTER = "package netns 1.0", "package nsenter"
IP, NSENTER, LSNS, PLAIN = "ip netns", "nsenter(1)", "lsns", "plain Python"


class Sizes(NamedTuple):
    many: int  # namespaces for what is done with many, and processes for discover
    more: int
    most: int


FULL = Sizes(1000, 5000, 10000)
QUICK = Sizes(20, 40, 60)


class Operation(NamedTuple):
    key: str  # names it in the results
    title: str
    request: str = ""  # what workers are asked for; the key, where there is nothing else
    crowd: str = ""  # which of Sizes is present; none but the target where empty
    each: bool = False  # one call does all that are present; the figure is for one of them
    doomed: bool = False  # deletes as many names as Sizes.many, made before each call
    processes: bool = False  # a process lives in each namespace
    pinned: bool = True  # to one CPU; not where threads should run side by side
    settled: bool = False  # after the kernel has done away with the last batch's namespaces
    least: int = 1  # calls in a batch
    most: int = 1_000_000
    unit: str = "ns"

    @property
    def asks(self) -> str:
        return self.request or self.key


OPERATIONS = [
    Operation("do", "`ns.do(fn)`"),
    Operation("do_free", "`ns.do(fn)`, not pinned to a CPU", "do", pinned=False),
    Operation("enter", "`with ns.enter():`"),
    Operation("inside", "`ns.do(fn)`, already inside"),
    Operation("socket", "`ns.socket()` and its `close()`"),
    Operation("current", "`current()` and `close()`"),
    Operation("open", "`open(name)` and `close()`"),
    Operation("from_pid", "`from_pid(pid)` and `close()`"),
    Operation("wrap", "a `socket.socket` made of a descriptor, and its `detach()`"),
    Operation("new", "`new()` and `close()`", settled=True),
    Operation("create", "`create(name)`", settled=True),
    Operation("create_delete", "`create(name)` and `delete(name)`", settled=True),
    Operation(
        "create_one",
        "`create(name)` and `delete(name)` by a process of its own",
        pinned=False,
        settled=True,
        least=40,
    ),
    Operation(
        "create_two",
        "`create(name)` and `delete(name)` by two processes at once, per name",
        pinned=False,
        settled=True,
        least=40,
    ),
    Operation(
        "create_apart",
        "`create(name)` and `delete(name)` by two processes at once, a run directory each",
        pinned=False,
        settled=True,
        least=40,
    ),
    Operation("take", "`pool.take()`", pinned=False, settled=True, least=32, most=32),
    Operation("run", '`ns.run(["true"])`'),
    Operation("run_mounts", "what `ns.run()` sets up, in a child that only ends"),
    Operation("import", "`import`"),
    Operation(
        "beside", "`ns.do(fn)` beside a computing thread", pinned=False, least=300, most=300
    ),
    Operation("threads1", "`ns.do(fn)` on 1 thread", pinned=False, least=20),
    Operation("threads2", "`ns.do(fn)` on 2 threads, per call", pinned=False, least=20),
    Operation("threads4", "`ns.do(fn)` on 4 threads, per call", pinned=False, least=20),
    Operation("memory", "a handle's memory", unit="bytes", least=400, most=2000),
    Operation("visit", "`tour.visit(ns)`, {many:,} in turn", crowd="many", least=100),
    Operation("sockets", "`sockets()` in {many:,}, each", crowd="many", each=True),
    Operation(
        "discover",
        "`discover()`, {many:,} names and {many:,} processes",
        crowd="many",
        processes=True,
        pinned=False,
    ),
    Operation(
        "create_many",
        "`create(name)` and `delete(name)`, {many:,} present",
        "create_delete",
        "many",
        settled=True,
    ),
    Operation(
        "delete",
        "`delete(*names)` of {many:,}, each",
        crowd="many",
        each=True,
        doomed=True,
        pinned=False,
        settled=True,
        most=1,
    ),
    Operation(
        "create_more",
        "`create(name)` and `delete(name)`, {more:,} present",
        "create_delete",
        "more",
        settled=True,
    ),
    Operation("do_most", "`ns.do(fn)`, {most:,} present", "do", "most"),
    # Last, as what comes after it in a process has asyncio's module to ask for a loop.
    Operation("hand_off", "`executor`: one job there and back"),
    Operation("step", "`async with ns.enter()`: one step of a task"),
    Operation("enter_step", "`with ns.enter():` and one step of a task"),
    Operation("do_async", "`await ns.do_async(fn)` of one step"),
    Operation("bystander", "one step of a task that is in no namespace, on the same loop"),
]


class Target(NamedTuple):
    """One contestant's time in terms of another's: at most, or so much faster than, a factor."""

    operation: str
    factor: float
    against: str
    faster: bool = True
    of: str = OURS
    against_operation: str = ""  # the same, where empty
    beside: tuple[str, str] | None = None  # an operation and whose: what that takes as well


class Limit(NamedTuple):
    """A time that is not a ratio."""

    operation: str
    seconds: float


def at_most(
    operation: str,
    factor: float,
    against: str,
    of: str = OURS,
    other: str = "",
    beside: tuple[str, str] | None = None,
) -> Target:
    return Target(operation, factor, against, False, of, other, beside)


TARGETS: list[Target | Limit] = [
    at_most("do", 1.25, FLOOR),
    Target("do", 4.5, CNI),
    Target("do", 1.4, VISHVANANDA),
    Target("do", 1.4, SETNS),
    at_most("enter", 1.25, FLOOR),
    Target("enter", 3.8, PYROUTE2),
    Target("inside", 12, CNI),
    at_most("visit", 1.15, FLOOR),
    Target("visit", 16, CNI),
    at_most("socket", 1.10, FLOOR, beside=("wrap", PLAIN)),
    Target("socket", 175, PYROUTE2),
    at_most("sockets", 1.10, FLOOR, C),
    at_most("sockets", 1.10, FLOOR, beside=("wrap", PLAIN)),
    Target("sockets", 380, PYROUTE2),
    at_most("open", 1.5, FLOOR, C),
    Target("open", 1, CNI),
    at_most("from_pid", 1.5, FLOOR, C),
    Target("from_pid", 1, CNI),
    at_most("new", 1.05, FLOOR),
    Target("new", 1.5, CNI),
    at_most("create", 1.10, FLOOR),
    Target("create", 1.5, CNI),
    Target("create", 7, PYROUTE2),
    Target("delete", 5, SINGLY),
    Limit("take", 15e-6),
    Target("take", 20, OURS, against_operation="new"),
    at_most("run", 1.15, PLAIN, beside=("run_mounts", FLOOR)),
    Target("run", 2.2, IP),
    at_most("hand_off", 1.05, PLAIN),
    at_most("discover", 1.05, FLOOR),
    Target("discover", 10, LSNS),
    at_most("step", 1.1, OURS, other="enter_step"),
    at_most("bystander", 1.1, PLAIN, other="step"),
    at_most("import", 1.3, COMPILED),
    Target("import", 130, PYROUTE2),
    at_most("beside", 2, OURS, GIL, "do"),
    Target("beside", 15, SETNS, of=GIL),
]
