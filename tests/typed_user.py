"""A user's program that names every public name, for mypy and pyright; it is not run.

An `ignore` that a checker does not need is an error, so the last lines show what both
refuse.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from pathlib import Path

import netns


def body(host: netns.NetNS, number: int, *, text: str = "") -> str:
    return f"{host.ino} {number} {text}"


async def coroutine(host: netns.NetNS, number: int) -> float:
    await asyncio.sleep(0)
    return number / 2


def handles(target: netns.Target) -> None:
    ns: netns.NetNS
    for ns in (
        netns.current(),
        netns.new(),
        netns.create("blue", exist_ok=True, rundir=Path("/tmp/names")),
        netns.open(target, rundir="/tmp/names"),
        netns.from_pid(os.getpid()),
        netns.from_thread(1, pid=1),
        netns.from_fd(3),
        netns.from_socket(socket.socket()),
        netns.from_cookie(4711),
        netns.attach("blue", 1),
    ):
        with ns as same:
            facts: tuple[int, int, int, int | None, int | None, str | None, str | None, bool]
            facts = (
                *(same.ino, same.dev, same.cookie, same.nsid),
                *(same.owner_uid, same.name, same.path, same.closed),
            )
            inside: bool = same.is_current()
            print(facts, inside, same.fileno(), same == ns, {same: 1})
        ns.nsid = 7
        ns.pin("green", rundir="/tmp/names")
        ns.close()
    netns.delete("blue", Path("/tmp/pinned"), rundir=None)


def bodies(ns: netns.NetNS) -> None:
    result: str = ns.do(body, 1, text="x")
    result = ns.do_in_thread(body, 1)
    result = netns.do("blue", body, 2)
    guard: netns.Guard = ns.enter()
    with guard as host:
        inner: netns.NetNS = host
    with netns.tour() as tour:
        visits: netns.Tour = tour
        visits.visit(ns)
    ns.set()
    guard.close()
    print(result, inner, guard.active)
    was: bool = netns.keep_gil(True) or netns.abort_when_stranded(False)
    print(was)


def sockets(ns: netns.NetNS) -> list[socket.socket]:
    one: socket.socket = ns.socket(socket.AF_INET6, socket.SOCK_DGRAM, 0)
    two: socket.socket = ns.create_connection(("localhost", 1), 1.5)
    three: socket.socket = ns.create_server(("127.0.0.1", 0), backlog=5)
    return [one, two, three, *netns.sockets([ns], socket.AF_UNIX)]


def processes(ns: netns.NetNS) -> int:
    done: subprocess.CompletedProcess[bytes] = ns.run(["true"], check=True)
    child: subprocess.Popen[bytes] = ns.popen(["true"])
    pool: netns.Executor = ns.executor(2)
    with pool:
        future = pool.submit(int, "7")
    return done.returncode + child.wait() + future.result()


async def coroutines(ns: netns.NetNS) -> float:
    half: float = await ns.do_async(coroutine, 3)
    with netns.watch(timeout=1.0) as changes:
        async for change in changes:
            kind: str = change.kind
            print(kind, change.name)
    return half


def lookups(watch: netns.Watch) -> None:
    names: list[str] = netns.names() + netns.identify(1)
    numbers: list[int] = netns.pids("blue") + netns.nsids()
    netns.check("blue")
    there: bool = netns.is_netns(Path("/run/netns/blue"))
    found: netns.Discovery = netns.discover()
    each: netns.Found
    holders: tuple[netns.Holder, ...]
    for each in netns.discover(descriptors=True):
        holders = each.holders
        cookie: int | None = each.cookie
        print(cookie, *((held.kind, held.pid, held.fd, held.path) for held in holders))
    for each in found:
        print(each.ino, each.names, each.paths, each.pids, each.threads, each.owner_uid)
        each.open().close()
    changes: list[netns.Change] = watch.pending()
    spares: netns.Pool = netns.pool(3)
    with spares:
        spares.take().close()
    print(names, numbers, there, found.hidden, changes)
    print(netns.__version__, netns.get_include(), netns.get_library_dir())


def errors(ns: netns.NetNS) -> None:
    kinds: tuple[type[netns.Error], ...] = (
        *(netns.NotFoundError, netns.ExistsError, netns.NotNamespaceError),
        *(netns.NotPermittedError, netns.ClosedError, netns.OrderError, netns.RestoreError),
        *(netns.InvalidTypeError, netns.InvalidValueError, netns.KernelError),
    )
    try:
        netns.open("blue")
    except kinds as error:
        print(error.errno, error.step, error.path, error.others)


def refused(ns: netns.NetNS) -> None:
    ns.no_such_method()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    ns.do(body)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ns.do(body, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    netns.open(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
