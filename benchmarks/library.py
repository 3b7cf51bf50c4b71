"""This library from Python. The second argument "keep_gil" turns that on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns

import netns
import netns._native
from worker import (
    TARGET,
    Operation,
    beside,
    check,
    clock,
    each,
    here,
    imports,
    numbered,
    serve,
    together,
)

handles: list[netns.NetNS] = []


def present_handles(count: int) -> list[netns.NetNS]:
    handles.extend(netns.open(name) for name in numbered("bench", count)[len(handles) :])
    return handles[:count]


def do(count: int, present: int) -> int:
    seen: list[str] = []
    done = 0

    def body(host: netns.NetNS) -> None:
        nonlocal done
        done += 1

    with netns.open(TARGET) as ns:
        ns.do(lambda host: seen.append(here()))
        check(seen == [f"net:[{ns.ino}]"] and seen != [here()], "inside")
        start = perf_counter_ns()
        for _ in range(count):
            ns.do(body)
        spent = perf_counter_ns() - start
    check(done == count, "every body ran")
    return spent


def enter(count: int, present: int) -> int:
    with netns.open(TARGET) as ns:
        with ns.enter():
            check(here() == f"net:[{ns.ino}]", "inside")
        start = perf_counter_ns()
        for _ in range(count):
            with ns.enter():
                pass
        return perf_counter_ns() - start


def inside(count: int, present: int) -> int:
    done = 0

    def body(host: netns.NetNS) -> None:
        nonlocal done
        done += 1

    with netns.open(TARGET) as ns, ns.enter():
        start = perf_counter_ns()
        for _ in range(count):
            ns.do(body)
        spent = perf_counter_ns() - start
    check(done == count, "every body ran")
    return spent


def visit(count: int, present: int) -> int:
    namespaces = present_handles(present)
    rounds, rest = divmod(count, present)
    start = perf_counter_ns()
    with netns.tour() as tour:
        go = tour.visit
        for _ in range(rounds):
            for ns in namespaces:
                go(ns)
        for ns in namespaces[:rest]:
            go(ns)
        last = here()
    spent = perf_counter_ns() - start
    check(last == f"net:[{namespaces[count % present - 1].ino}]", "the last one visited")
    return spent


def socket(count: int, present: int) -> int:
    with netns.open(TARGET) as ns:
        with ns.socket() as sock, netns.from_socket(sock) as where:
            check(where == ns, "the socket lives inside")
        start = perf_counter_ns()
        for _ in range(count):
            ns.socket().close()
        return perf_counter_ns() - start


def sockets(count: int, present: int) -> int:
    namespaces, spent = present_handles(present), 0
    for _ in range(count):
        start = perf_counter_ns()
        made = netns.sockets(namespaces)
        spent += perf_counter_ns() - start
        with netns.from_socket(made[-1]) as where:
            check(len(made) == present and where == namespaces[-1], "one in each")
        for sock in made:
            sock.close()
    return spent


def from_pid(count: int, present: int) -> int:
    pid = os.getppid()
    return clock(count, lambda: netns.from_pid(pid).close())


def create(name: str) -> None:
    netns.create(name).close()


def create_delete(count: int, present: int) -> int:
    return clock(count, lambda: create("python"), lambda: netns.delete("python"))


def agents(rundirs: list[str | None], count: int) -> int:
    """Processes, one in each run directory, which share the count; started together."""
    share = -(-count // len(rundirs))
    reader, writer = os.pipe()
    pids = []
    for rundir in rundirs:
        pids.append(os.fork())
        if pids[-1] == 0:
            status = 1
            try:
                os.close(writer)
                os.read(reader, 1)
                name = f"python-{os.getpid()}"
                for _ in range(share):
                    netns.create(name, rundir=rundir).close()
                    netns.delete(name, rundir=rundir)
                status = 0
            finally:
                os._exit(status)
    os.close(reader)
    start = perf_counter_ns()
    os.close(writer)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    spent = perf_counter_ns() - start
    check(not any(statuses), "every process did its share")
    return spent * count // (share * len(rundirs))


def create_one(count: int, present: int) -> int:
    return agents([None], count)


def create_two(count: int, present: int) -> int:
    return agents([None, None], count)


def create_apart(count: int, present: int) -> int:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        spent = agents([one, other], count)
        for directory in (one, other):
            # What creators need to be mounted on themselves, as ip has it.
            subprocess.run(["umount", directory], stderr=subprocess.DEVNULL)
        return spent


def delete(count: int, present: int) -> int:
    names = numbered("doomed", present)
    start = perf_counter_ns()
    netns.delete(*names)
    return perf_counter_ns() - start


def delete_singly(count: int, present: int) -> int:
    names = numbered("doomed", present)
    start = perf_counter_ns()
    for name in names:
        netns.delete(name)
    return perf_counter_ns() - start


def take(count: int, present: int) -> int:
    """As a harness takes them: a process runs in each before the next is asked for."""
    spent = 0
    with netns.pool(8) as pool, netns.current() as home:
        for _ in range(8):  # the stock is there after that
            netns.new().close()
        for _ in range(count):
            start = perf_counter_ns()
            ns = pool.take()
            spent += perf_counter_ns() - start
            check(ns != home, "a namespace of its own")
            ns.run(["true"], check=True)
            ns.close()
    return spent


def run(count: int, present: int) -> int:
    with netns.open(TARGET) as ns:
        return clock(count, lambda: ns.run(["true"], check=True))


def discover(count: int, present: int) -> int:
    start = perf_counter_ns()
    for _ in range(count):
        found = netns.discover()
    spent = perf_counter_ns() - start
    names = {name for each in found for name in each.names}
    check(names.issuperset(numbered("bench", present)), "every name was found")
    check(sum(len(each.pids) for each in found) > present, "every process was found")
    return spent


def steps(count: int, present: int) -> int:
    import asyncio

    async def main() -> int:
        with netns.open(TARGET) as ns:
            async with ns.enter():
                check(here() != home, "inside")
                start = perf_counter_ns()
                for _ in range(count):
                    await asyncio.sleep(0)
                spent = perf_counter_ns() - start
                check(here() != home, "inside")
        check(here() == home, "home")
        return spent

    home = here()
    return asyncio.run(main())


def enter_steps(count: int, present: int) -> int:
    import asyncio

    async def main() -> int:
        with netns.open(TARGET) as ns:
            start = perf_counter_ns()
            for _ in range(count):
                with ns.enter():
                    pass
                await asyncio.sleep(0)
            return perf_counter_ns() - start

    return asyncio.run(main())


def do_async(count: int, present: int) -> int:
    import asyncio

    done = 0

    async def body(host: netns.NetNS) -> None:
        nonlocal done
        done += 1
        await asyncio.sleep(0)

    async def main() -> int:
        with netns.open(TARGET) as ns:
            start = perf_counter_ns()
            for _ in range(count):
                await ns.do_async(body)
            return perf_counter_ns() - start

    spent = asyncio.run(main())
    check(done == count, "every body ran")
    return spent


def bystander(count: int, present: int) -> int:
    import asyncio

    async def main() -> int:
        with netns.open(TARGET) as ns:
            async with ns.enter():
                check(here() != home, "inside")
        start = perf_counter_ns()
        for _ in range(count):
            await asyncio.sleep(0)
        return perf_counter_ns() - start

    home = here()
    return asyncio.run(main())


def hand_off(count: int, present: int) -> int:
    with netns.open(TARGET) as ns, ns.executor(1) as pool:
        check(pool.submit(here).result() == f"net:[{ns.ino}]", "inside")
        return clock(count, lambda: pool.submit(int).result())


def memory(count: int, present: int) -> int:
    """Bytes that handles add to a fresh process's resident memory."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = resident()
        kept = [netns.open(TARGET) for _ in range(count)]
        os.write(writer, b"%d" % (resident() - before))
        os._exit(len(kept) != count)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        grown = pipe.read()
    check(os.waitpid(pid, 0)[1] == 0, "all handles were opened")
    return int(grown)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


OPERATIONS: dict[str, Operation] = {
    "do": do,
    "enter": enter,
    "inside": inside,
    "visit": visit,
    "socket": socket,
    "sockets": sockets,
    "current": lambda count, present: clock(count, lambda: netns.current().close()),
    "open": lambda count, present: clock(count, lambda: netns.open(TARGET).close()),
    "from_pid": from_pid,
    "new": lambda count, present: clock(count, lambda: netns.new().close()),
    "create": each("python", create, netns.delete),
    "create_delete": create_delete,
    "create_one": create_one,
    "create_two": create_two,
    "create_apart": create_apart,
    "delete": delete,
    "take": take,
    "run": run,
    "discover": discover,
    "import": imports("import netns"),
    "step": steps,
    "enter_step": enter_steps,
    "do_async": do_async,
    "bystander": bystander,
    "hand_off": hand_off,
    "beside": beside(do),
    "threads1": together(1, do),
    "threads2": together(2, do),
    "threads4": together(4, do),
    "memory": memory,
}

if __name__ == "__main__":
    variant = sys.argv[2] if len(sys.argv) > 2 else ""
    if variant == "keep_gil":
        netns.keep_gil(True)
        serve({name: OPERATIONS[name] for name in ("do", "enter", "beside", "threads2")})
    elif variant == "singly":
        serve({"delete": delete_singly})
    elif variant == "compiled":
        # The extension module alone, installed as one: found on the path, where ours is.
        with tempfile.TemporaryDirectory() as directory:
            file = Path(netns._native.__file__)
            (Path(directory) / file.name).symlink_to(file)
            before = f"import sys; sys.path.insert(-1, {directory!r})"
            serve({"import": imports("import _native", before)})
    else:
        serve(OPERATIONS)
