"""run and popen: commands start inside, and see the files of the namespace's name."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import opcode
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import dns.message
import dns.rrset
import pytest
from pyroute2 import IPRoute

import netns
from netns import _process, _threads
from support import ends, here, interrupt_at_random, task_links

ETC = Path("/etc/netns")
SHOW = "readlink /proc/self/ns/net; ls /sys/class/net; cat /etc/resolv.conf"
NAMESERVER = "127.0.0.53"


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


def mount_namespace() -> str:
    return os.readlink("/proc/thread-self/ns/mnt")


@pytest.fixture
def named(name: str) -> Iterator[netns.NetNS]:
    """A namespace with a resolv.conf of its own, its loopback device up."""

    def body(host: netns.NetNS) -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    found = ETC.is_dir()
    try:
        (ETC / name).mkdir(parents=True)
    except PermissionError:
        pytest.skip("/etc/netns can't be made")
    (ETC / name / "resolv.conf").write_text(f"nameserver {NAMESERVER}\n")
    try:
        with netns.create(name) as ns:
            ns.do(body)
            yield ns
    finally:
        shutil.rmtree(ETC / name)
        if not found:
            with contextlib.suppress(OSError):  # others' files are in it
                ETC.rmdir()


def test_a_command_starts_inside(ns: netns.NetNS) -> None:
    home, mounts = here(), mount_namespace()
    done = ns.run(["sh", "-c", SHOW], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == [link(ns), "lo"]
    assert (here(), mount_namespace()) == (home, mounts)


def test_files_of_the_name(named: netns.NetNS) -> None:
    before = Path("/etc/resolv.conf").read_text()
    done = named.run(SHOW, shell=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.splitlines() == [link(named), "lo", f"nameserver {NAMESERVER}"]
    assert Path("/etc/resolv.conf").read_text() == before
    command = ["ip", "netns", "exec", named.name or "", "sh", "-c", SHOW]
    assert subprocess.run(command, capture_output=True, text=True).stdout == done.stdout


def test_files_of_the_name_under_asyncio(named: netns.NetNS) -> None:
    async def main() -> bytes:
        child = await asyncio.to_thread(named.popen, ["sh", "-c", SHOW], stdout=subprocess.PIPE)
        out, _ = await asyncio.to_thread(child.communicate)
        return out  # type: ignore[no-any-return]

    mounts = mount_namespace()
    lines = asyncio.run(main()).decode().splitlines()
    assert lines == [link(named), "lo", f"nameserver {NAMESERVER}"]
    assert mount_namespace() == mounts


def test_a_file_that_etc_lacks(named: netns.NetNS) -> None:
    """It is left out, with a warning, also among more files than one getdents(2) reads."""
    for n in range(100):
        (ETC / str(named.name) / f"netns-test-lacks-this-{n:03}").touch()
    with pytest.warns(RuntimeWarning, match="netns-test-lacks-this-"):
        done = named.run("ls /etc; " + SHOW, shell=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.endswith(f"nameserver {NAMESERVER}\n")
    assert "netns-test-lacks-this" not in done.stdout


def test_a_directory_where_etc_has_a_file(named: netns.NetNS) -> None:
    (ETC / str(named.name) / "passwd").mkdir()
    with pytest.warns(RuntimeWarning, match="Not a directory: '/etc/passwd'"):
        assert named.run(["true"]).returncode == 0


@pytest.mark.parametrize("target", ["/nowhere", "resolv.conf"])
def test_a_link_that_leads_nowhere_warns(named: netns.NetNS, target: str) -> None:
    """Or the command would use the host's resolv.conf, and nobody would know."""
    link = ETC / str(named.name) / "resolv.conf"
    link.unlink()
    link.symlink_to(target)
    with pytest.warns(RuntimeWarning, match=f"left as it was: bind files over /etc: .*{link}"):
        assert named.run(["true"]).returncode == 0


def test_mounts_below_sys_stay() -> None:
    script = """
import netns, subprocess
subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"], check=True)
subprocess.run(["mkdir", "/sys/fs/cgroup/a b"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/a b"], check=True)
subprocess.run(["touch", "/sys/fs/cgroup/a b/kept"], check=True)
with netns.new() as ns:
    look = "ls '/sys/fs/cgroup/a b' /sys/class/net"
    print(ns.run(look, shell=True, capture_output=True, text=True).stdout.split())
"""
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "['/sys/class/net:', 'lo', '/sys/fs/cgroup/a', 'b:', 'kept']\n", done


@pytest.mark.parametrize("where", ["/sys/firmware", "/sys"])
def test_a_masked_sys(where: str) -> None:
    """The kernel allows no other /sys where parts of the one there are covered."""
    script = """
import netns, warnings
with warnings.catch_warnings(record=True) as said, netns.new() as ns:
    warnings.simplefilter("always")
    print(ns.run(["true"]).returncode, *said, sep="\\n")
"""
    container = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    masked = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o ro none {where} && exec "$@"']
    done = subprocess.run(
        [*masked, "sh", *container, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("0\n"), done
    assert "mount /sys: Operation not permitted" in done.stdout


def test_a_read_only_sys_stays_read_only() -> None:
    """In a container /sys is read-only, and its root may not change that."""
    script = '''
import netns, subprocess, sys
look = """
import os, socket
assert set(os.listdir("/sys/class/net")) >= {name for _, name in socket.if_nameindex()}
print(os.statvfs("/sys").f_flag & os.ST_RDONLY)
"""
with netns.new() as ns:
    print(ns.run([sys.executable, "-c", look], stdout=subprocess.PIPE, text=True).stdout, end="")
'''
    container = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    read_only = ["unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro /sys && exec "$@"']
    done = subprocess.run(
        [*read_only, "sh", *container, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "1\n", done.stderr


def test_as_subprocess_run(ns: netns.NetNS) -> None:
    assert ns.run(["cat"], input=b"potato", capture_output=True).stdout == b"potato"
    assert ns.run(["false"]).returncode == 1
    with pytest.raises(subprocess.CalledProcessError):
        ns.run(["false"], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        ns.run(["sleep", "60"], timeout=0.05)
    with pytest.raises(FileNotFoundError):
        ns.run(["/nonexistent/command"])
    for wrong in ({"input": "", "stdin": 0}, {"capture_output": True, "stdout": 1}):
        with pytest.raises(ValueError, match="may not"):
            ns.run(["true"], **wrong)


def test_popen(ns: netns.NetNS) -> None:
    with ns.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert isinstance(child, subprocess.Popen)
        assert os.readlink(f"/proc/{child.pid}/ns/net") == link(ns)
        assert child.communicate(b"potato") == (b"potato", None)


def test_closed() -> None:
    with netns.new() as ns:
        pass
    with pytest.raises(netns.ClosedError):
        ns.run(["true"])


def children() -> list[str]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:  # the thread ended
            continue
    return found


# The interrupt may drop a Popen after its child has started.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_interrupted_anywhere(ns: netns.NetNS) -> None:
    """No child is left running, and no zombie; the thread does not move."""
    home, threads = here(), set(task_links())
    begun = 0

    def work() -> None:
        nonlocal begun
        begun += 1
        ns.run(["sleep", "0"])

    for _ in interrupt_at_random(1, work):
        assert here() == home
    assert begun > 10
    assert all(ends(tid) for tid in set(task_links()) - threads)
    for child in children():
        os.waitid(os.P_PID, int(child), os.WEXITED | os.WNOWAIT)
    subprocess._cleanup()  # type: ignore[attr-defined]
    assert children() == []


def test_the_child_of_an_interrupted_call_is_killed(
    ns: netns.NetNS, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    popen = subprocess.Popen
    caller, late = threading.get_ident(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        signal.pthread_kill(caller, signal.SIGINT)
        assert late.wait(30)
        child = popen(*args, **kwargs)
        begun.put(child)
        return child

    monkeypatch.setattr(subprocess, "Popen", slow)
    with pytest.raises(KeyboardInterrupt):
        ns.popen(["sleep", "60"])
    late.set()
    assert begun.get(timeout=30).wait() == -signal.SIGKILL


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="older ones may call a handler before any instruction"
)
@pytest.mark.parametrize("call", ["popen", "run"])
def test_interrupted_at_every_instruction(
    ns: netns.NetNS, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No child is left running, wherever between call and return the interrupt comes."""
    monkeypatch.setattr(subprocess, "_cleanup", lambda: None)  # it would reap such a child
    files = {_process.__file__, _threads.__file__}
    left = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            name = opcode.opname[frame.f_code.co_code[frame.f_lasti]]
            # No handler is called from a return on until its value is stored.
            left -= not name.startswith(("RETURN", "STORE_FAST", "NOP"))
            if left == 0:
                left = -1
                raise KeyboardInterrupt
        return trace

    before = children()
    # CPython 3.12 tells of instructions if that was asked for before settrace().
    sys._getframe().f_trace_opcodes = True
    for nth in itertools.count(1):
        left = nth
        sys.settrace(trace)
        try:
            if call == "run":
                ns.run(["true"])
            else:
                child = ns.popen(["sleep", "9"])
            sys.settrace(None)
            break
        except KeyboardInterrupt:
            continue
        finally:
            sys.settrace(None)
    if call == "popen":
        child.kill()
        child.wait()
    assert nth > 50
    deadline = time.monotonic() + 10
    while children() != before and time.monotonic() < deadline:
        os.sched_yield()  # until the threads have abandoned the last ones
    assert children() == before


class NameServer:
    """Answers every question about an A record with 192.0.2.7."""

    def __init__(self, ns: netns.NetNS) -> None:
        self.sock = ns.socket(type=socket.SOCK_DGRAM)
        self.sock.bind((NAMESERVER, 53))
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            packet, peer = self.sock.recvfrom(4096)
            if packet == b"end":
                return
            query = dns.message.from_wire(packet)
            (question,) = query.question
            response = dns.message.make_response(query)
            if question.rdtype == dns.rdatatype.A:
                self.asked.append(question.name.to_text())
                answer = dns.rrset.from_text(question.name, 60, "IN", "A", "192.0.2.7")
                response.answer.append(answer)
            self.sock.sendto(response.to_wire(), peer)

    def close(self, ns: netns.NetNS) -> None:
        with ns.socket(type=socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", (NAMESERVER, 53))
        self.thread.join()
        self.sock.close()


@pytest.fixture
def server(named: netns.NetNS) -> Iterator[NameServer]:
    server = NameServer(named)
    yield server
    server.close(named)


def look_up(*_: object) -> str:
    return str(socket.getaddrinfo("potato.test", 80, socket.AF_INET)[0][4][0])


def test_names_are_looked_up_inside(named: netns.NetNS, server: NameServer) -> None:
    """Threads, executors and asyncio use the namespace's own resolv.conf."""
    mounts = mount_namespace()
    assert named.do_in_thread(look_up) == "192.0.2.7"
    with named.executor(1) as pool:
        assert pool.submit(look_up).result() == "192.0.2.7"

    async def body(host: netns.NetNS) -> str:
        found = await asyncio.get_running_loop().getaddrinfo(
            "potato.test", 80, family=socket.AF_INET
        )
        return str(found[0][4][0])

    async def main() -> str:
        return await named.do_async(body)

    assert asyncio.run(main()) == "192.0.2.7"
    with pytest.raises(OSError, match=r"unreachable|timed out|refused"):
        named.create_connection(("potato.test", 80), 1)
    assert len(server.asked) >= 4  # more where the resolver asks again
    assert set(server.asked) == {"potato.test."}
    assert mount_namespace() == mounts
    script = "import socket; print(socket.gethostbyname('potato.test'))"
    done = named.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "192.0.2.7\n", done.stderr


def test_a_thread_without_files_has_the_mounts_of_all(ns: netns.NetNS) -> None:
    mounts = mount_namespace()
    assert ns.do_in_thread(lambda host: mount_namespace()) == mounts


def test_mounts_of_a_thread_with_files_stay_its_own(named: netns.NetNS) -> None:
    def mount(host: netns.NetNS) -> bytes:
        subprocess.run(["mount", "-t", "tmpfs", "netns-test", "/mnt"], check=True)
        return Path("/proc/thread-self/mountinfo").read_bytes()

    seen = named.do_in_thread(mount)
    assert b" - tmpfs netns-test " in seen
    assert b" - tmpfs netns-test " not in Path("/proc/self/mountinfo").read_bytes()


# As gevent and eventlet do it: what should be a new thread runs on that of its creator.
PATCH = """
import _thread, os, threading

def start(function, args=(), kwargs={}, **options):
    function(*args, **kwargs)
    return _thread.get_ident()

def joinable(function, *args, **options):
    function()

def patch():
    _thread.start_new_thread = start
    threading._start_new_thread = start
    threading._start_joinable_thread = joinable

def where():
    return os.readlink("/proc/thread-self/ns/net"), os.readlink("/proc/thread-self/ns/mnt")
"""
USE = """
home = where()
with netns.new() as ns:
    assert ns.do_in_thread(lambda host: where()) != home
    assert ns.run(["true"]).returncode == 0
    with netns.pool(1) as pool:
        pool.take().close()
    try:
        ns.executor(1)
    except netns.OrderError as error:
        print(error)
assert where() == home
"""


@pytest.mark.parametrize("before", [True, False])
def test_where_threads_are_replaced(before: bool) -> None:
    order = ["patch()", "import netns, netns._executor, netns._pool, netns._process"]
    script = "\n".join([PATCH, *(order if before else reversed(order)), USE])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("start a thread: its workers would be greenlets"), done.stderr


@pytest.mark.parametrize("at_exit", ["atexit.register(use)", "weakref.finalize(ns, use)"])
def test_at_exit(at_exit: str) -> None:
    script = f"""
import atexit, netns, weakref
ns = netns.new()

def use():
    assert ns.run(["true"]).returncode == 0
    assert ns.popen(["true"]).wait() == 0
    assert ns.do_in_thread(lambda host: netns.current() == ns)
    with netns.pool(1) as pool:
        pool.take().close()
    ns.create_server(("127.0.0.1", 0)).close()
    ns.close()
    print("used")

{at_exit}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("used\n", "")


def test_when_the_interpreter_is_gone() -> None:
    """No new thread can run then, so run() refuses instead of waiting for ever."""
    script = """
import netns, os

class Late:
    def __init__(self):
        self.ns = netns.new()
        self.ns.run(["true"])

    def __del__(self, OrderError=netns.OrderError, write=os.write):
        try:
            self.ns.run(["true"])
        except OrderError as error:
            write(1, str(error).encode())
        self.ns.close()

late = Late()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    expected = "start a thread: no thread can be started while the interpreter shuts down"
    assert done.stdout == expected, done.stderr
