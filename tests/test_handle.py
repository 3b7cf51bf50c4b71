"""Handles: how they are opened, what is refused, what they tell, how they end."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import netns
from netns import _errors, _native
from support import (
    RUN,
    Capabilities,
    checked_on_a_thread,
    descriptors,
    here,
    needs_cookies,
    nsfs_mounts,
    task_links,
)


def test_current_is_the_threads(ns: netns.NetNS) -> None:
    with netns.current() as home:
        assert f"net:[{home.ino}]" == here()
        with ns.enter(), netns.current() as inside:
            assert inside == ns != home


def test_distinct_namespaces_have_distinct_inodes(ns: netns.NetNS) -> None:
    with netns.new() as other, netns.current() as home:
        assert len({ns.ino, other.ino, home.ino}) == 3
        assert ns.dev == other.dev == home.dev == os.stat("/proc/self/ns/net").st_dev
        assert ns.ino == os.fstat(ns.fileno()).st_ino
        assert len({ns, other, home, ns}) == 3


def test_a_closed_namespace_is_on_no_thread() -> None:
    with netns.new() as ns:
        ns.do(lambda host: None)
        link = f"net:[{ns.ino}]"
    assert link not in task_links().values()
    assert link not in descriptors()
    assert link not in nsfs_mounts()


def test_path_and_name(ns: netns.NetNS, name: str) -> None:
    assert (ns.path, ns.name) == (None, None)
    with netns.create(name) as made, netns.open(name) as opened:
        path = f"/run/netns/{name}"
        assert (made.path, made.name) == (opened.path, opened.name) == (path, name)
        with netns.open(path) as by_path, netns.open(Path(path)) as by_pathlike:
            assert (by_path.path, by_path.name) == (path, None)
            assert made == opened == by_path == by_pathlike
    assert repr(made) == f"<closed NetNS {name!r} net:[{made.ino}]>"


def test_a_pathlike_is_a_path_even_without_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("/proc/self/ns/net")
    with netns.open(Path("link")) as ns:
        assert ns.path == "./link"


def test_open_by_process_and_thread(ns: netns.NetNS) -> None:
    with netns.from_pid(os.getpid()) as main:
        assert f"net:[{main.ino}]" == os.readlink("/proc/self/ns/net")
    with ns.enter():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        with netns.from_thread(threading.get_native_id()) as me:
            assert me == ns
    try:
        with netns.from_pid(child.pid) as its:
            assert its == ns
            assert its.path == f"/proc/{child.pid}/ns/net"
        with netns.from_thread(child.pid, child.pid) as its:
            assert its == ns
        with pytest.raises(netns.NotFoundError):
            netns.from_thread(child.pid)
    finally:
        child.communicate()
    with pytest.raises(netns.NotFoundError) as caught:
        netns.from_pid(child.pid)
    assert caught.value.path == f"/proc/{child.pid}/ns/net"


def test_from_fd_duplicates(ns: netns.NetNS) -> None:
    with netns.from_fd(ns.fileno()) as copy:
        assert copy.fileno() != ns.fileno()
        ns.close()
        assert copy.do(lambda host: here()) == f"net:[{copy.ino}]"


def test_every_descriptor_is_close_on_exec(ns: netns.NetNS, name: str) -> None:
    with netns.create(name) as made, netns.open(name) as opened, netns.current() as home:
        ns.do(lambda host: None)
        for handle in (ns, made, opened, home):
            assert not os.get_inheritable(handle.fileno())
        own = [int(fd) for fd in os.listdir("/proc/self/fd")]
        for fd in own:
            try:
                link = os.readlink(f"/proc/self/fd/{fd}")
            except FileNotFoundError:
                continue
            if link.startswith("net:[") or link.endswith("/ns/net"):
                assert not os.get_inheritable(fd)


def refusals(tmp_path: Path) -> dict[str, tuple[object, type[netns.Error]]]:
    (tmp_path / "file").write_text("no namespace")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nothing")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
    return {
        "missing": (tmp_path / "missing", netns.NotFoundError),
        "missing directory": ("/nonexistent/ns", netns.NotFoundError),
        "dangling link": (tmp_path / "dangling", netns.NotFoundError),
        "missing name": ("netns-test-missing", netns.NotFoundError),
        "below a file": (tmp_path / "file" / "ns", netns.NotNamespaceError),
        "file": (tmp_path / "file", netns.NotNamespaceError),
        "directory": (tmp_path, netns.NotNamespaceError),
        "fifo": (tmp_path / "fifo", netns.NotNamespaceError),
        "socket": (tmp_path / "socket", netns.NotNamespaceError),
        "device": ("/dev/null", netns.NotNamespaceError),
        "/proc file": ("/proc/uptime", netns.NotNamespaceError),
        "/proc link": ("/proc/self/exe", netns.NotNamespaceError),
        **{
            f"{kind} namespace": (f"/proc/self/ns/{kind}", netns.NotNamespaceError)
            for kind in ("mnt", "user", "pid", "uts", "ipc", "cgroup")
        },
        "empty": ("", netns.InvalidValueError),
        "dot": (".", netns.InvalidValueError),
        "dots": ("..", netns.InvalidValueError),
        "NUL": ("a\0b", netns.InvalidValueError),
        "NUL in a path": ("/a\0b", netns.InvalidValueError),
        "lone surrogate": ("\ud800", netns.InvalidValueError),
        "256 bytes": ("ä" * 128, netns.InvalidValueError),
        "256 bytes in a path": ("/run/" + "x" * 256, netns.KernelError),
        "long path": ("/" + "x/" * 3000, netns.KernelError),
        "None": (None, netns.InvalidTypeError),
        "bytes": (b"name", netns.InvalidTypeError),
        "int": (3, netns.InvalidTypeError),
        "float": (0.5, netns.InvalidTypeError),
    }


def test_what_is_no_network_namespace_is_refused(tmp_path: Path) -> None:
    """The error is the right one and complete, and a FIFO does not block."""
    for what, (target, error) in refusals(tmp_path).items():
        for function in (netns.open, netns.check):
            with pytest.raises(netns.Error) as caught:
                function(target)  # type: ignore[arg-type]
            assert type(caught.value) is error, what
            assert caught.value.errno, what
            assert caught.value.step, what
            if error is not netns.InvalidTypeError and target != "":
                assert caught.value.path, what
            assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
        if error in (netns.NotFoundError, netns.NotNamespaceError):
            assert netns.is_netns(target) is False, what  # type: ignore[arg-type]
        else:
            with pytest.raises(error):
                netns.is_netns(target)  # type: ignore[arg-type]


def test_a_network_namespace_is_one(name: str) -> None:
    netns.create(name).close()
    for target in ("/proc/self/ns/net", f"/run/netns/{name}", name):
        netns.check(target)
        assert netns.is_netns(target)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, netns.InvalidValueError),
        (-1, netns.InvalidValueError),
        (2**31, netns.InvalidValueError),
        (2**64, netns.InvalidValueError),
        ("1", netns.InvalidTypeError),
        (1.0, netns.InvalidTypeError),
        (None, netns.InvalidTypeError),
        (2**22 + 1, netns.NotFoundError),  # above the largest pid_max
    ],
)
def test_bad_ids(value: int, error: type[netns.Error]) -> None:
    calls: list[Callable[[], netns.NetNS]] = [
        lambda: netns.from_pid(value),
        lambda: netns.from_thread(value),
    ]
    if value is not None:
        calls.append(lambda: netns.from_thread(1, value))
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert caught.value.errno
        assert caught.value.step


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, netns.InvalidValueError),
        (10**6, netns.NotNamespaceError),
        ("0", netns.InvalidTypeError),
    ],
)
def test_bad_descriptors(value: int, error: type[netns.Error]) -> None:
    with pytest.raises(error):
        netns.from_fd(value)


def test_descriptors_of_other_things(tmp_path: Path) -> None:
    for path in ("/dev/null", "/proc/self/ns/mnt", "/proc/uptime", str(tmp_path)):
        fd = os.open(path, os.O_RDONLY)
        try:
            with pytest.raises(netns.NotNamespaceError):
                netns.from_fd(fd)
        finally:
            os.close(fd)


def test_close_is_idempotent(ns: netns.NetNS) -> None:
    ino = ns.ino
    for _ in range(2):
        ns.close()
        assert ns.closed
    assert ns.ino == ino
    assert ns in [ns]
    with netns.new() as other:
        assert ns != other


def test_dropped_unclosed() -> None:
    before = descriptors()
    ns = netns.new()
    with pytest.warns(ResourceWarning, match="unclosed <NetNS"):
        del ns
    assert descriptors() == before


def test_used_by_a_finalizer_of_the_same_garbage(ns: netns.NetNS) -> None:
    """The order of finalizers in a cycle is not defined, so the handle outlasts them all."""
    used = []

    class Owner:
        def __init__(self) -> None:
            self.cycle = self
            self.ns = netns.from_fd(ns.fileno())

        def __del__(self) -> None:
            used.append((self.ns.do(lambda host: here()), repr(self.ns)))
            self.ns.close()

    for _ in range(10):
        Owner()
    gc.collect()
    assert used == [(f"net:[{ns.ino}]", f"<NetNS net:[{ns.ino}]>")] * 10


def test_handles_can_not_be_constructed() -> None:
    with pytest.raises(netns.InvalidTypeError):
        netns.NetNS()


def test_the_str_of_a_subclass_is_not_asked(name: str) -> None:
    class Loud(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self.upper()

        def __format__(self, spec: str) -> str:
            return self.upper()

    with netns.create(Loud(name)) as made, netns.open(Loud(name)) as opened:
        for ns in (made, opened):
            assert (type(ns.name), ns.name, ns.path) == (str, name, str(RUN / name))


def test_close_racing_do() -> None:
    """do() runs in the right namespace or raises ClosedError, though the number is reused."""
    rounds = 300
    outcomes: list[str] = []  # append() is one step without a GIL too
    with netns.new() as decoy:
        for _ in range(rounds):
            ns = netns.from_fd(decoy.fileno())
            running = threading.Barrier(3)

            def use(ns: netns.NetNS = ns, running: threading.Barrier = running) -> None:
                try:
                    for i in itertools.count():
                        assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
                        outcomes.append("ran")
                        if i == 0:
                            running.wait()
                except netns.ClosedError:
                    outcomes.append("closed")

            threads = [threading.Thread(target=use) for _ in range(2)]
            for thread in threads:
                thread.start()
            running.wait()
            ns.close()
            # Takes the number that close() gave back.
            fd = os.open("/proc/self/ns/net", os.O_RDONLY)
            for thread in threads:
                thread.join()
            os.close(fd)
    assert outcomes.count("closed") == 2 * rounds
    assert outcomes.count("ran") > 2 * rounds


def test_no_proc() -> None:
    """Without /proc a pidfd tells the namespace of a thread (Linux 6.11)."""
    script = """
import ctypes, os, netns
ns = netns.new()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0, ctypes.get_errno()
assert not os.path.exists("/proc/self")
try:
    home = netns.current()
except netns.KernelError as error:
    print("skip", error)
else:
    with netns.from_pid(os.getpid()) as mine:
        assert mine == home
    assert ns.do(lambda host: (host == home, netns.current() == ns)) == (True, True)
    other = netns.new()
    assert other.do(lambda host: ns.do(lambda host: host == other))
    assert netns.current() == home
    print("home")
"""
    run = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", script], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    if run.stdout.startswith("skip"):
        pytest.skip(f"needs PIDFD_GET_NET_NAMESPACE, Linux 6.11: {run.stdout}")
    assert run.stdout == "home\n"


def test_from_socket(ns: netns.NetNS, tmp_path: Path) -> None:
    with ns.enter():
        inside = socket.socket()
    with inside, socket.socket(socket.AF_UNIX) as outside, netns.current() as home:
        with netns.from_socket(inside) as its, netns.from_socket(inside.fileno()) as same:
            assert its == same == ns
            assert not os.get_inheritable(its.fileno())
        with netns.from_socket(outside) as its:
            assert its == home
    with pytest.raises(netns.NotNamespaceError), (tmp_path / "file").open("w") as file:
        netns.from_socket(file)
    with pytest.raises(netns.NotNamespaceError) as caught:
        netns.from_socket(inside)  # closed: its descriptor is -1
    assert caught.value.errno == errno.EBADF
    with pytest.raises(netns.InvalidValueError):
        netns.from_socket(-1)


def test_is_current(ns: netns.NetNS) -> None:
    with netns.current() as home:
        assert home.is_current()
        assert not ns.is_current()
        with ns.enter() as host:
            assert ns.is_current()
            assert not host.is_current()
        assert ns.do_in_thread(lambda _: (ns.is_current(), home.is_current())) == (True, False)
        assert home.is_current()
    with pytest.raises(netns.ClosedError):
        home.is_current()


@needs_cookies
def test_cookies_are_of_the_namespace(ns: netns.NetNS) -> None:
    with (
        netns.new() as other,
        netns.current() as home,
        home.do_in_thread(lambda host: netns.current()) as again,
    ):
        assert len({ns.cookie, other.cookie, home.cookie}) == 3
        assert home.cookie == again.cookie
        with ns.enter(), socket.socket() as inside:
            cookie = inside.getsockopt(socket.SOL_SOCKET, 71, 8)
        assert int.from_bytes(cookie, sys.byteorder) == ns.cookie


@needs_cookies
def test_ones_own_cookie_needs_no_privilege() -> None:
    script = "import netns; ns = netns.current(); print(ns.cookie); ns.close()"
    run = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script],
        capture_output=True,
        text=True,
    )
    with netns.current() as home:
        assert (run.stdout, run.stderr) == (f"{home.cookie}\n", "")


def test_owner(ns: netns.NetNS) -> None:
    assert ns.owner_uid == os.geteuid()
    script = "import netns; print(netns.from_pid(1).owner_uid, netns.current().owner_uid)"
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable]
    run = subprocess.run([*command, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert run.returncode == 0 or "NotPermittedError" in run.stderr
    # It may ask for its own owner; the one of process 1 is not below it.
    script = (
        "import os, netns; ns = netns.open('/proc/self/ns/net'); print(ns.owner_uid); ns.close()"
    )
    run = subprocess.run([*command, "-c", script], capture_output=True, text=True)
    assert run.stdout == "0\n", run.stderr
    run = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", script],
        capture_output=True,
        text=True,
    )
    assert run.stdout == "None\n", run.stderr


def test_equality(ns: netns.NetNS) -> None:
    with netns.from_fd(ns.fileno()) as copy:
        assert ns == copy
        assert ns.__eq__(ns.ino) is NotImplemented
        copy.close()
        assert ns != copy
        assert copy != ns
        assert copy == copy


@pytest.mark.parametrize(
    ("code", "step", "kind"),
    [
        (errno.ESRCH, "OPEN_TARGET", netns.NotFoundError),
        (errno.EACCES, "OPEN_RUNDIR", netns.NotPermittedError),
        (errno.EPERM, "BIND", netns.NotPermittedError),
        (errno.ELOOP, "OPEN_TARGET", netns.NotNamespaceError),
        (errno.EBADF, "OPEN_TARGET", netns.NotNamespaceError),
        (errno.EBADF, "USE_HANDLE", netns.ClosedError),
        (errno.EPERM, "RETURN", netns.RestoreError),
        (errno.EMFILE, "OPEN_TARGET", netns.KernelError),
    ],
)
def test_each_failure_has_its_exception(code: int, step: str, kind: type[netns.Error]) -> None:
    number = getattr(_native.lib, f"NETNS_STEP_{step}")
    error = _errors.from_native(code, number, b"/a\xff")
    assert type(error) is kind
    assert (error.errno, error.path) == (code, "/a\udcff")


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(netns.NotNamespaceError):
        netns.open(tmp_path / "loop")


def test_a_target_that_may_not_be_looked_at_is_an_error(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)

    def look() -> None:
        with Capabilities():
            for call in (netns.open, netns.check, netns.is_netns):
                with pytest.raises(netns.NotPermittedError) as caught:
                    call(closed / "ns")
                assert caught.value.errno == errno.EACCES

    checked_on_a_thread(look)


def test_processes_of_another_pid_namespaces_proc() -> None:
    """/proc may belong to another pid namespace; an id must not lead to another process there."""
    script = """
import os, threading, netns
here = os.readlink("/proc/thread-self/ns/net")
for call in (lambda: netns.from_pid(os.getpid()),
             lambda: netns.from_thread(threading.get_native_id())):
    try:
        with call() as ns:
            assert f"net:[{ns.ino}]" == here, "another process's"
    except netns.KernelError as error:
        print("skip", error)
"""
    run = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "sh", "-c"]
        # Its ids are not 1 and 2, which outside are init and a kernel thread.
        + ['for i in 1 2 3 4 5 6; do true & done; wait; "$@"; exit $?', "sh"]
        + [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr


def test_no_proc_no_mix_up() -> None:
    """Without /proc a pidfd is opened for any thread id; one of another process is refused."""
    script = """
import ctypes, os, subprocess, netns
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
assert ctypes.CDLL(None).mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
for pid in (None, os.getpid()):
    try:
        netns.from_thread(child.pid, pid).close()
        print("found")
    except (netns.NotFoundError, netns.KernelError):
        pass
child.communicate()
try:
    netns.from_pid(child.pid)
except (netns.NotFoundError, netns.KernelError):
    pass
"""
    run = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", script], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
