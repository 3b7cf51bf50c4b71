"""Tries each public call on the running kernel; prints "@@ call NAME ok", or what it raised.

documented() has the kernel that each one's documentation names.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import socket
import sys
import threading
from collections.abc import Callable

import netns

NAME = f"netns-calls-{os.getpid()}"


def documented() -> dict[str, str]:
    """Public names with the first Linux of their "Since:", as "4.9"."""
    found = {}
    for name in netns.__all__:
        value = getattr(netns, name)
        members = {name: value}
        if inspect.isclass(value) and not issubclass(value, BaseException):
            members.update({f"{name}.{key}": each for key, each in vars(value).items()})
        for key, each in members.items():
            since = re.search(r"Since:\s+Linux\s+(\d+\.\d+)", inspect.getdoc(each) or "")
            if since is not None and "._" not in key:
                found[key] = since[1]
    return found


def here(host: netns.NetNS | None = None) -> str:
    return os.readlink("/proc/thread-self/ns/net")


def there(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


def up(host: netns.NetNS) -> None:
    """Turns up the loopback device, by its ioctl."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 1))


async def here_async(host: netns.NetNS) -> str:
    await asyncio.sleep(0)
    return here()


def connects(ns: netns.NetNS) -> bool:
    ns.do(up)
    address = "127.0.0.1", 0
    with (
        ns.create_server(address) as server,
        ns.create_connection(server.getsockname(), 10) as one,
    ):
        return one.fileno() > 2


def makes(made: netns.NetNS | socket.socket) -> bool:
    with made:
        return made.fileno() > 2


def is_set(ns: netns.NetNS) -> bool:
    seen = []

    def body() -> None:
        ns.set()
        seen.append(here())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return seen == [there(ns)]


def enters(ns: netns.NetNS) -> bool:
    with ns.enter():
        return here() == there(ns)


def tours(ns: netns.NetNS) -> bool:
    with netns.tour() as tour:
        tour.visit(ns)
        return here() == there(ns)


def watches(name: str, act: Callable[[netns.Watch], bool]) -> bool:
    """Runs act() while a name has just appeared."""
    with netns.watch(timeout=30) as watch, netns.create(name):
        try:
            return act(watch)
        finally:
            netns.delete(name)


def executes(ns: netns.NetNS) -> bool:
    with ns.executor(1) as executor:
        return executor.submit(here).result() == there(ns)


def pools() -> bool:
    with netns.pool(1) as pool, pool.take() as taken:
        return taken.ino > 0


def pins(ns: netns.NetNS, name: str) -> bool:
    ns.pin(name)
    found = name in netns.names()
    netns.delete(name)
    return found


def attaches(name: str) -> bool:
    netns.attach(name, os.getpid())
    found = name in netns.names()
    netns.delete(name)
    return found


def creates(name: str) -> bool:
    with netns.create(name) as made, netns.open(name) as opened:
        same = made == opened
    netns.delete(name)
    return same and name not in netns.names()


def checks(path: str) -> bool:
    netns.check(path)
    return True


def same(made: netns.NetNS, ns: netns.NetNS) -> bool:
    with made:
        return made == ns


def of_socket(ns: netns.NetNS) -> bool:
    with ns.socket() as sock:
        return same(netns.from_socket(sock), ns)


def finds(ns: netns.NetNS, name: str) -> netns.Found:
    return next(each for each in netns.discover() if name in each.names)


def assigns(ns: netns.NetNS) -> bool:
    ns.nsid = -1
    return ns.nsid in netns.nsids()


def calls(ns: netns.NetNS, name: str) -> dict[str, Callable[[], object]]:
    """A call for each public name, which returns something true if it worked. name pins ns."""
    pid, tid = os.getpid(), threading.get_native_id()
    path, other = f"/run/netns/{name}", f"{name}-other"
    return {
        "Found.open": lambda: same(finds(ns, name).open(), ns),
        "Found.owner_uid": lambda: finds(ns, name).owner_uid == 0,
        "NetNS.cookie": lambda: ns.cookie > 0,
        "NetNS.create_connection": lambda: connects(ns),
        "NetNS.create_server": lambda: connects(ns),
        "NetNS.do": lambda: ns.do(here) == there(ns),
        "NetNS.do_async": lambda: asyncio.run(ns.do_async(here_async)) == there(ns),
        "NetNS.do_in_thread": lambda: ns.do_in_thread(here) == there(ns),
        "NetNS.enter": lambda: enters(ns),
        "NetNS.executor": lambda: executes(ns),
        "NetNS.fileno": lambda: os.fstat(ns.fileno()).st_ino == ns.ino,
        "NetNS.is_current": lambda: ns.do(lambda host: ns.is_current()) and not ns.is_current(),
        "NetNS.nsid": lambda: assigns(ns),
        "NetNS.owner_uid": lambda: ns.owner_uid == 0,
        "NetNS.pin": lambda: pins(ns, other),
        "NetNS.popen": lambda: not ns.popen(["true"]).wait(),
        "NetNS.run": lambda: not ns.run(["true"]).returncode,
        "NetNS.set": lambda: is_set(ns),
        "NetNS.socket": lambda: makes(ns.socket()),
        "Pool.take": pools,
        "Watch.fileno": lambda: watches(other, lambda watch: watch.fileno() > 2),
        "Watch.pending": lambda: watches(
            other, lambda watch: other in [each.name for each in watch.pending()]
        ),
        "attach": lambda: attaches(other),
        "check": lambda: checks(path),
        "create": lambda: creates(other),
        "current": lambda: same(netns.current(), ns) is False,
        "delete": lambda: creates(other),
        "discover": lambda: finds(ns, name).ino == ns.ino,
        "do": lambda: netns.do(name, here) == there(ns),
        "from_fd": lambda: same(netns.from_fd(ns.fileno()), ns),
        "from_pid": lambda: there(netns.from_pid(pid)) == here(),
        "from_cookie": lambda: same(netns.from_cookie(ns.cookie), ns),
        "from_socket": lambda: of_socket(ns),
        "from_thread": lambda: there(netns.from_thread(tid)) == here(),
        "identify": lambda: netns.identify(pid) == [],
        "is_netns": lambda: netns.is_netns(path),
        "names": lambda: name in netns.names(),
        "new": lambda: makes(netns.new()),
        "nsids": lambda: assigns(netns.new()),
        "open": lambda: same(netns.open(path), ns),
        "pids": lambda: pid not in netns.pids(name),
        "pool": pools,
        "sockets": lambda: len(netns.sockets([ns], socket.AF_INET, socket.SOCK_DGRAM)) == 1,
        "tour": lambda: tours(ns),
        "watch": lambda: watches(other, lambda watch: next(watch).name == other),
    }


def main() -> int:
    with netns.create(NAME) as ns:
        try:
            for name, call in calls(ns, NAME).items():
                try:
                    answer = "ok" if call() else "another answer"
                except Exception as error:
                    answer = f"{type(error).__name__}: {error}"
                print(f"@@ call {name} {answer}", flush=True)
        finally:
            netns.delete(NAME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
