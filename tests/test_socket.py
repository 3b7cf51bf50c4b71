"""Sockets made inside: they are ordinary sockets of that namespace, and none is left open."""

from __future__ import annotations

import errno
import fcntl
import gc
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading

import pytest
from pyroute2 import IPRoute

import netns
from support import descriptors, here, interrupt_at_random

SIOCGSKNS = 0x894C


def lives_in(sock: socket.socket) -> int:
    """The inode of the socket's namespace, as the kernel tells it."""
    fd = fcntl.ioctl(sock, SIOCGSKNS)
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


@pytest.fixture
def up(ns: netns.NetNS) -> netns.NetNS:
    """A namespace whose loopback device is up."""

    def body(host: netns.NetNS) -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    ns.do(body)
    return ns


def test_lives_in_the_namespace(ns: netns.NetNS) -> None:
    home = here()
    with ns.socket() as sock:
        assert (lives_in(sock), here()) == (ns.ino, home)
        assert type(sock) is socket.socket
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
        assert not os.get_inheritable(sock.fileno())


def test_arguments_are_those_of_socket(ns: netns.NetNS) -> None:
    with ns.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP) as sock:
        assert (sock.family, sock.type, sock.proto) == (
            socket.AF_INET6,
            socket.SOCK_DGRAM,
            socket.IPPROTO_UDP,
        )
    with ns.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        assert sock.gettimeout() == 0
    with ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        assert lives_in(sock) == ns.ino


def test_default_timeout(ns: netns.NetNS) -> None:
    socket.setdefaulttimeout(3)
    try:
        with ns.socket() as sock:
            assert sock.gettimeout() == 3
    finally:
        socket.setdefaulttimeout(None)


def test_refused(ns: netns.NetNS) -> None:
    home = here()
    for make in (ns.socket, lambda *args: netns.sockets([ns], *args)):
        with pytest.raises(netns.KernelError) as caught:
            make(socket.AF_INET, 77)
        assert caught.value.errno == errno.EINVAL
        assert caught.value.step == "make a socket"
        with pytest.raises(TypeError):
            make("family")  # type: ignore[arg-type]
    assert here() == home


def test_the_module_is_imported_when_first_needed() -> None:
    script = """
import sys, netns
sys.modules.pop("socket", None)
with netns.new() as ns, ns.socket() as sock:
    assert type(sock) is sys.modules["socket"].socket
print("made")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "made\n", done.stderr


def test_closed(ns: netns.NetNS) -> None:
    with netns.new() as other:
        pass
    with pytest.raises(netns.ClosedError):
        other.socket()
    before = descriptors()
    with pytest.raises(netns.ClosedError) as caught:
        netns.sockets([ns, ns, other, ns])
    assert caught.value.path == f"net:[{other.ino}]"
    assert descriptors() == before


def test_the_namespace_lives_on_with_its_socket() -> None:
    with netns.new() as ns:
        sock = ns.socket()
    with sock:
        assert lives_in(sock) == ns.ino


def test_sockets() -> None:
    home = here()
    made = [netns.new() for _ in range(20)]
    try:
        socks = netns.sockets(iter(made), socket.AF_INET6, socket.SOCK_DGRAM)
        assert [lives_in(sock) for sock in socks] == [ns.ino for ns in made]
        assert {(sock.family, sock.type) for sock in socks} == {
            (socket.AF_INET6, socket.SOCK_DGRAM)
        }
        assert here() == home
        for sock in socks:
            sock.close()
    finally:
        for ns in made:
            ns.close()
    assert netns.sockets([]) == []
    with pytest.raises(netns.InvalidTypeError):
        netns.sockets(None)  # type: ignore[arg-type]
    with pytest.raises(netns.InvalidTypeError):
        netns.sockets(["blue"])  # type: ignore[list-item]


def test_connection_and_server(up: netns.NetNS) -> None:
    with (
        up.create_server(("127.0.0.1", 0), backlog=5) as server,
        up.create_connection(server.getsockname(), 5, ("127.0.0.1", 0)) as client,
        server.accept()[0] as accepted,
    ):
        assert {lives_in(sock) for sock in (server, client, accepted)} == {up.ino}
        assert client.gettimeout() == 5
        client.sendall(b"hello")
        assert accepted.recv(5) == b"hello"
    with up.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert server.family == socket.AF_INET6
        with up.create_connection(server.getsockname()[:2]) as client:
            assert client.gettimeout() is None


def test_connection_refused(up: netns.NetNS) -> None:
    with up.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            up.create_connection(unused.getsockname())
        if sys.version_info >= (3, 11):
            with pytest.raises(ExceptionGroup) as caught:  # noqa: F821
                up.create_connection(unused.getsockname(), all_errors=True)
            assert isinstance(caught.value.exceptions[0], ConnectionRefusedError)


def test_the_thread_waits_for_the_connection_at_home(up: netns.NetNS) -> None:
    """A signal handler that runs during the wait shows where."""
    seen: list[str] = []
    home = here()
    with up.create_server(("127.0.0.1", 0), backlog=0) as server, up.socket() as filler:
        filler.connect(server.getsockname())
        old = signal.signal(signal.SIGALRM, lambda *_: seen.append(here()))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            # The backlog is full: this one waits.
            with pytest.raises(OSError, match="timed out"):
                up.create_connection(server.getsockname(), 0.5)
        finally:
            signal.signal(signal.SIGALRM, old)
    assert seen == [home]


def test_an_interrupted_connection_is_given_up(up: netns.NetNS) -> None:
    class Interrupt(BaseException):
        pass

    def raise_it(*_: object) -> None:
        raise Interrupt

    with up.create_server(("127.0.0.1", 0), backlog=0) as server, up.socket() as filler:
        filler.connect(server.getsockname())
        before = descriptors()
        old = signal.signal(signal.SIGALRM, raise_it)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            with pytest.raises(Interrupt):
                up.create_connection(server.getsockname(), 20)
        finally:
            signal.signal(signal.SIGALRM, old)
        assert descriptors() == before


def test_no_socket_to_connect(up: netns.NetNS) -> None:
    """The error is that of the last address, as with the standard library."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with up.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        up.create_connection(address).close()  # imports what it needs
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(netns.KernelError) as caught:
                up.create_connection(address)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.errno, caught.value.step) == (errno.EMFILE, "make a socket")


NO_WAY_BACK = """
import os, threading, netns
ns = netns.new()
assert netns.current().do(lambda host: True)
try:
    with ns.enter():
        raise SystemExit("could have come home")
except netns.NotPermittedError:
    pass
import socket, fcntl
home = os.readlink("/proc/thread-self/ns/net")
socks = [ns.socket(), *netns.sockets([ns, ns])]
for sock in socks:
    fd = fcntl.ioctl(sock, 0x894C)
    assert os.fstat(fd).st_ino == ns.ino
    os.close(fd)
assert os.readlink("/proc/thread-self/ns/net") == home
while len(os.listdir("/proc/self/task")) > 1:  # until the kernel has taken it down
    os.sched_yield()
print("made")
"""


def test_by_another_thread_where_this_one_could_not_come_home() -> None:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", NO_WAY_BACK],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "made\n", done.stderr


# The interrupt may drop a socket before the caller has it.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_interrupted_anywhere(ns: netns.NetNS) -> None:
    """Whenever a signal handler raises, the thread is home and no descriptor is lost."""
    home = here()
    ns.socket().close()
    before = descriptors()
    made = 0

    def work() -> None:
        nonlocal made
        with ns.socket():
            made += 1
        for sock in netns.sockets((ns, ns, ns)):
            sock.close()

    for _ in interrupt_at_random(1, work):
        assert here() == home
    assert made > 100
    gc.collect()
    assert descriptors() == before


def test_closed_while_others_make_sockets(ns: netns.NetNS) -> None:
    made: list[int] = []
    refused: list[BaseException] = []

    def make(copy: netns.NetNS, begun: threading.Barrier) -> None:
        try:
            for count in itertools.count():
                with copy.socket() as sock:
                    made.append(lives_in(sock))
                if count == 0:
                    begun.wait(30)
        except netns.ClosedError as error:
            refused.append(error)

    for _ in range(20):
        copy = netns.from_fd(ns.fileno())
        begun = threading.Barrier(4)
        threads = [threading.Thread(target=make, args=(copy, begun)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait(30)
        copy.close()
        for thread in threads:
            thread.join()
    assert len(refused) == 60
    assert set(made) == {ns.ino}
