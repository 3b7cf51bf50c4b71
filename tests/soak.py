"""Uses everything at once for a time, and then looks for what is left.

    python tests/soak.py [SECONDS]     (an hour without)

Threads switch, nest, create, pin, delete and close each other's handles, run
commands, pools and executors, fork, and become daemons, which close all descriptors.
Greenlets take turns if that package is installed. Processes that create and delete are
killed in between. The kernel is asked whether each use was right. It prints a line a
minute and a summary, and fails if a thread was ever in a wrong namespace, or if memory,
descriptors, threads, mounts or names grew.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RUN = tempfile.mkdtemp(prefix="netns-soak-")
os.environ["NETNS_RUN_DIR"] = RUN

import netns  # noqa: E402
from support import (  # noqa: E402
    descriptors,
    ends,
    here,
    nsfs_mounts,
    task_links,
    unshare_run_directory,
)

greenlet: Any = import_module("greenlet") if find_spec("greenlet") else None
WORKERS = 4
NAMES = [f"soak-{i}" for i in range(8)]
VICTIM = """
import os, random, netns
while True:
    name = f"soak-{random.randrange(8)}"
    try:
        with netns.create(name, exist_ok=True) as ns:
            ns.do(lambda host: None)
        netns.delete(name)
    except netns.NotFoundError:
        pass
"""


class Soak:
    def __init__(self) -> None:
        self.stop = threading.Event()
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.shared = [netns.new() for _ in range(4)]
        self.lock = threading.Lock()

    def switch(self, ns: netns.NetNS, depth: int = 3) -> None:
        def body(host: netns.NetNS) -> None:
            assert here() == f"net:[{ns.ino}]"
            if depth:
                self.switch(random.choice(self.shared), depth - 1)
                assert here() == f"net:[{ns.ino}]"

        try:
            if random.random() < 0.5:
                ns.do(body)
            else:
                with ns.enter() as host:
                    body(host)
            self.done["switches"] += 1
        except netns.ClosedError:
            self.done["met a closed handle"] += 1

    def replace(self) -> None:
        made = netns.new()
        with self.lock:
            index = random.randrange(len(self.shared))
            old, self.shared[index] = self.shared[index], made
        old.close()
        self.done["namespaces"] += 1

    def named(self) -> None:
        name = random.choice(NAMES)
        try:
            if random.random() < 0.6:
                with netns.create(name, exist_ok=True) as ns:
                    ns.do(lambda host: None)
            else:
                netns.delete(name)
            self.done["names"] += 1
        except netns.NotFoundError:
            self.done["met a missing name"] += 1

    def raise_inside(self) -> None:
        try:
            self.shared[0].do(lambda host: 1 // 0)
        except (ZeroDivisionError, netns.ClosedError):
            self.done["exceptions"] += 1

    def short_thread(self) -> None:
        thread = threading.Thread(target=self.switch, args=(self.shared[0], 1))
        thread.start()
        thread.join()
        self.done["threads"] += 1

    def in_thread(self) -> None:
        ns = self.shared[1]
        try:
            assert ns.do_in_thread(lambda host: here()) == f"net:[{ns.ino}]"
            self.done["do_in_thread"] += 1
        except netns.ClosedError:
            self.done["met a closed handle"] += 1

    def child(self) -> None:
        with netns.new() as ns, ns.enter():
            run = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True)
            assert run.stdout.strip() == f"net:[{ns.ino}]"
        self.done["children"] += 1

    def command(self) -> None:
        with netns.new() as ns:
            seen = ns.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True)
            assert seen.stdout.strip() == f"net:[{ns.ino}]"
            with ns.executor(2) as pool:
                assert pool.submit(here).result() == f"net:[{ns.ino}]"
        self.done["commands and executors"] += 1

    def ahead(self) -> None:
        with netns.pool(3) as pool, netns.watch(timeout=0) as changes:
            for _ in range(5):
                pool.take().close()
            list(changes)
        self.done["pools and watches"] += 1

    def fork(self) -> None:
        """Forks while other threads are busy, at home and inside."""
        with netns.new() as ns, netns.new() as other:

            def body(host: netns.NetNS) -> None:
                self.check_in_child(lambda: self.look_around(ns, other))

            self.check_in_child(lambda: self.look_around(other, ns))
            ns.do(body)
        self.done["forks"] += 2

    def look_around(self, *found: netns.NetNS) -> None:
        home = here()
        for ns in (*found, netns.new()):
            assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
            assert here() == home
            ns.close()

    def check_in_child(self, call: Callable[[], object]) -> None:
        pid = os.fork()
        if not pid:
            signal.alarm(60)
            try:
                call()
                os._exit(0)
            except BaseException as error:
                os.write(2, f"in a child: {error!r}\n".encode())
            finally:
                os._exit(1)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"a child ended with {status}"

    def daemon(self) -> None:
        """The daemon closes everything that it has inherited, and opens files of its own."""
        told, tell = os.pipe()

        def begin() -> None:
            os.setsid()
            if os.fork():
                return
            signal.alarm(60)
            os.closerange(3, tell)
            os.closerange(tell + 1, 1024)
            own = [os.open("/proc/self/ns/uts", os.O_RDONLY) for _ in range(16)]
            before = [os.fstat(fd).st_ino for fd in own]
            self.look_around()
            assert [os.fstat(fd).st_ino for fd in own] == before
            os.write(tell, b"right")

        try:
            self.check_in_child(begin)
            os.close(tell)
            tell = -1
            assert os.read(told, 5) == b"right"
        finally:
            os.close(told)
            if tell >= 0:
                os.close(tell)
        self.done["daemons"] += 1

    def greenlets(self) -> None:
        """They take turns between their uses, and while another one is inside."""
        if greenlet is None:
            return
        with netns.new() as ns, netns.new() as other:
            main = greenlet.getcurrent()

            def use(mine: netns.NetNS) -> None:
                for _ in range(5):
                    home = here()
                    assert mine.do(lambda host: here()) == f"net:[{mine.ino}]"
                    assert here() == home
                    main.switch()

            users = [greenlet.greenlet(use) for _ in range(4)]
            for user, mine in zip(users, (ns, other, ns, other)):
                user.switch(mine)
            while users:
                with ns.enter():
                    for user in users:
                        user.switch()
                    assert here() == f"net:[{ns.ino}]"
                users = [user for user in users if not user.dead]
        self.done["greenlets"] += 4

    def work(self) -> None:
        home = here()
        actions = [self.switch_any] * 60 + [self.replace] * 4 + [self.named] * 4
        actions += [self.raise_inside] * 4 + [self.short_thread, self.in_thread, self.child]
        actions += [self.command, self.ahead, self.fork, self.daemon, self.greenlets]
        while not self.stop.is_set():
            try:
                random.choice(actions)()
                assert here() == home
            except BaseException as error:
                self.wrong.append(repr(error))
                self.stop.set()
                raise

    def switch_any(self) -> None:
        self.switch(random.choice(self.shared))

    def kill(self) -> None:
        while not self.stop.is_set():
            victim = subprocess.Popen([sys.executable, "-c", VICTIM])
            self.stop.wait(random.uniform(0.3, 2))
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            self.done["processes killed"] += 1


def held() -> dict[str, int]:
    gc.collect()
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    return {
        "RSS KiB": int(fields["VmRSS"].split()[0]),
        "fds": sum(descriptors().values()),
        "threads": int(fields["Threads"]),
        "mounts": len([path for path in nsfs_mounts() if path.startswith(RUN)]),
    }


def main(seconds: float) -> int:
    soak = Soak()
    threads = [threading.Thread(target=soak.work) for _ in range(WORKERS)]
    threads.append(threading.Thread(target=soak.kill))
    before = {**held(), "threads": 1}
    home = here()
    for thread in threads:
        thread.start()
    start = time.monotonic()
    rss: list[int] = []
    while time.monotonic() - start < seconds and not soak.stop.wait(min(60, seconds / 5)):
        now = held()
        rss.append(now["RSS KiB"])
        print(f"{time.monotonic() - start:6.0f} s  {now}  {dict(soak.done)}", flush=True)
    soak.stop.set()
    for thread in threads:
        thread.join()
    assert all(ends(str(thread.native_id)) for thread in threads)
    for name in NAMES:
        try:
            netns.delete(name)
        except netns.NotFoundError:
            continue
    after = held()
    left = sorted(os.listdir(RUN))
    unshare_run_directory(RUN)
    os.rmdir(RUN)
    for ns in soak.shared:
        ns.close()
    rss = rss or [after["RSS KiB"]]
    # Not the first third: malloc(3) still makes arenas then, as more threads run at once.
    third = max(1, len(rss) // 3)
    grown = sum(rss[-third:]) / sum(rss[-2 * third : -third] or rss[-third:]) - 1
    print(f"before {before}\nafter  {after}\nRSS, last third against the second: {grown:+.1%}")
    faults = [
        *soak.wrong,
        *(f"{what} grew" for what in ("fds", "threads", "mounts") if after[what] > before[what]),
        *(["resident memory grew"] if grown > 0.02 else []),
        *(["names were left"] if left else []),
        *(["a thread is away"] if set(task_links().values()) != {home} else []),
    ]
    print("\n".join(faults) or f"clean after {sum(soak.done.values()):,} operations")
    return len(faults)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600))
