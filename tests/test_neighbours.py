"""gevent, eventlet, psutil and python-daemon in one process with the library."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

import netns

GREEN = """
import os, socket, subprocess, sys, threading

def where():
    return os.readlink("/proc/thread-self/ns/net"), os.readlink("/proc/thread-self/ns/mnt")

def gevent():
    import gevent.monkey
    gevent.monkey.patch_all()
    return gevent.spawn, gevent.sleep

def eventlet():
    import eventlet
    eventlet.monkey_patch()
    return eventlet.spawn, eventlet.sleep

def facade():
    import netns._executor, netns._pool, netns._process, netns._socket, netns._threads
    import netns._watch

steps = [facade, globals()[sys.argv[1]]]
if sys.argv[2] == "before":
    steps.reverse()
for step in steps:
    spawn, sleep = step() or (None, None) if step is facade else step()
    if spawn:
        keep = spawn, sleep
spawn, sleep = keep
import netns, time
home, seen = where(), set()

def look():
    while True:
        seen.add(where())
        sleep(0.001)

spawn(look)

def held():
    return len(os.listdir("/proc/self/fd")), len(threading._active)

def use(host=None):
    time.sleep(0.01)  # the patched one lets other greenlets run: look() must see them at home
    return where()[0] == f"net:[{ns.ino}]"

def refused():
    try:
        ns.executor(1)
    except netns.OrderError as error:
        return "greenlets" in str(error)

def command():
    done = ns.run(["sh", "-c", "readlink /proc/self/ns/net; sleep 0.1; ls /sys/class/net"],
                  capture_output=True, text=True)
    return done.stdout == f"net:[{ns.ino}]\\nlo\\n"

def child():
    with ns.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        inside = os.readlink(f"/proc/{cat.pid}/ns/net") == f"net:[{ns.ino}]"
        return inside and cat.communicate(b"potato")[0] == b"potato"

def missing():
    try:
        ns.popen(["/no/such/command"])
    except FileNotFoundError:
        return True

def pool():
    with netns.pool(2) as pool:
        return len({pool.take().ino for _ in range(1)}) == 1

def watch():
    with netns.watch(timeout=0.1) as changes:
        return isinstance(list(changes), list)

def connect():
    with ns.create_server(("127.0.0.1", 0)) as server:
        ns.create_connection(("localhost", server.getsockname()[1]), 5).close()
    return True

with netns.new() as ns:
    ns.run(["ip", "link", "set", "lo", "up"], check=True)
    for call in (lambda: ns.do_in_thread(use), command, child, missing, refused, pool, watch,
                 connect, lambda: ns.do(lambda host: where()[0] != home[0])):
        print(call() is True, where() == home)
    before = held()
    for _ in range(5):
        ns.do_in_thread(use)
        connect()
        command()
    deadline = time.monotonic() + 20
    while held() != before and time.monotonic() < deadline:
        sleep(0.001)  # their threads end a moment after them
    print(held() == before, seen == {home}, sep="\\n")
"""


def needs(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed (tox -e neighbours)")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets(library: str, when: str) -> None:
    """Patched before or after the import: each call is right or refused, and no thread moves."""
    needs(library)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN, library, when],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.splitlines() == ["True True"] * 9 + ["True"] * 2, done.stderr


def test_psutil_reads_the_main_threads_files(ns: netns.NetNS) -> None:
    """docs/threads.md says that psutil reads /proc/net, and how to change that."""
    needs("psutil")
    script = """
import netns, psutil

def interfaces(host=None):
    return sorted(psutil.net_io_counters(pernic=True))

with netns.new() as ns:
    ns.do(lambda host: netns.new().close())
    home = interfaces()
    assert ns.do(interfaces) == ["lo"]
    print(ns.do_in_thread(interfaces) == home)
    psutil.PROCFS_PATH = "/proc/thread-self"
    print(ns.do_in_thread(interfaces) == ["lo"], interfaces() == home)
"""
    outer = "import netns\nwith netns.new() as ns: ns.run(['true'])\n"
    done = subprocess.run(
        [sys.executable, "-c", outer + script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\nTrue True\n", done.stderr


def test_python_daemon(name: str) -> None:
    """The daemon closes what the library had open; later handles, and home, are right."""
    needs("daemon")
    script = f"""
import daemon, netns, os

def where():
    return os.readlink("/proc/thread-self/ns/net")

told, tell = os.pipe()
with netns.create({name!r}) as ns:
    ns.do(lambda host: None)
home = where()
if os.fork():
    os.close(tell)
    print(os.read(told, 100).decode())
else:
    with daemon.DaemonContext(files_preserve=[tell]):
        own = [os.open("/proc/self/ns/uts", os.O_RDONLY) for _ in range(8)]
        with netns.open({name!r}) as ns:
            inside = ns.do(lambda host: where()) == f"net:[{{ns.ino}}]"
        os.write(tell, f"{{inside}} {{where() == home}}".encode())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True True\n", done.stderr
