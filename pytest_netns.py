"""A pytest plugin: network namespaces for tests.

Beside the package, not in it, because every pytest of an environment imports it:
the package is imported when a test asks for a namespace, and not before.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    import socket

    from netns import NetNS

PREFIX = 24
ADDRESSES = ("192.0.2.1", "192.0.2.2")  # of RFC 5737, for documentation
DEVICES = ("left", "right")
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
CHOICES = ("skip", "fail")


class Host(NamedTuple):
    """One of the two of `netns_pair`."""

    ns: NetNS
    device: str
    address: str


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "what becomes of a test that needs a network namespace and may not have one: skip, fail"
    group = parser.getgroup("netns")
    group.addoption("--netns-unprivileged", choices=CHOICES, help=what)
    parser.addini("netns_unprivileged", what, default="skip")


def pytest_configure(config: pytest.Config) -> None:
    if unprivileged(config) not in CHOICES:
        raise pytest.UsageError(f"netns_unprivileged is not one of {', '.join(CHOICES)}")
    config.addinivalue_line(
        "markers", "in_netns: run the test function in a fresh network namespace (netns)"
    )


def unprivileged(config: pytest.Config) -> str:
    return str(config.getoption("--netns-unprivileged") or config.getini("netns_unprivileged"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("in_netns") is None:
        return
    if inspect.iscoroutinefunction(getattr(item, "obj", None)):
        pytest.fail(
            "in_netns is for plain functions: in an async test, `await netns.do_async(...)`",
            pytrace=False,
        )
    if hasattr(getattr(item, "cls", None), "assertEqual"):
        pytest.fail("in_netns is not for methods of unittest.TestCase", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The function alone runs inside; its fixtures have been set up at home."""
    if pyfuncitem.get_closest_marker("in_netns") is None:
        return None
    function = pyfuncitem.obj
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with fresh(pyfuncitem.config) as ns:
        ns.do(lambda host: function(**given))
    return True


def fresh(config: pytest.Config) -> NetNS:
    """A namespace whose loopback device is up; the test ends here where it may not be."""
    import fcntl
    import socket
    import struct

    import netns

    if not hasattr(netns, "new"):
        pytest.fail(
            f"{netns.__file__} is the module of the package 'netns', not of 'pynetns', and both"
            " are imported as netns: python3 -m pip uninstall netns",
            pytrace=False,
        )
    try:
        ns = netns.new()
        try:
            with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
        except BaseException:
            ns.close()
            raise
    except PermissionError as error:
        why = f"a network namespace can't be had: {error}"
        if unprivileged(config) == "fail":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    return ns


@pytest.fixture(name="netns")
def one(pytestconfig: pytest.Config) -> Iterator[NetNS]:
    """A fresh network namespace without a name, its loopback device up."""
    with fresh(pytestconfig) as ns:
        yield ns


@pytest.fixture(name="netns_pair")
def two(pytestconfig: pytest.Config) -> Iterator[tuple[Host, Host]]:
    """Two fresh network namespaces joined by a veth, with addresses of one network."""
    try:
        import pyroute2  # noqa: F401
    except ImportError:
        pytest.fail(
            "netns_pair needs pyroute2: python3 -m pip install 'pynetns[pytest]'", pytrace=False
        )
    with fresh(pytestconfig) as left, fresh(pytestconfig) as right:
        left.do(wire, right)
        hosts = tuple(map(Host, (left, right), DEVICES, ADDRESSES))
        with link_events(left) as one, link_events(right) as other:
            for host in hosts:
                host.ns.do(address, host.device, host.address)
            await_carrier(one, hosts[0].device)
            await_carrier(other, hosts[1].device)
        yield hosts[0], hosts[1]


def wire(host: NetNS, other: NetNS) -> None:
    from pyroute2 import IPRoute

    left, right = DEVICES
    with IPRoute() as route:
        peer = {"ifname": right, "net_ns_fd": other.fileno()}
        # Not that of its peer, the next of its namespace: of such a device the kernel
        # takes the carrier for no urgent case, and up to a second to see it.
        route.link("add", index=1000, ifname=left, kind="veth", peer=peer)


def address(host: NetNS, device: str, text: str) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as route:
        index = route.link_lookup(ifname=device)[0]
        route.addr("add", index=index, address=text, prefixlen=PREFIX)
        route.link("set", index=index, state="up")


def link_events(ns: NetNS) -> socket.socket:
    from socket import AF_NETLINK, SOCK_RAW

    events = ns.socket(AF_NETLINK, SOCK_RAW)  # of NETLINK_ROUTE
    events.settimeout(10)
    events.bind((0, 1))  # RTMGRP_LINK
    return events


def await_carrier(events: socket.socket, device: str) -> None:
    """The kernel drops packets until then: a first connection would take a second."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    state: list[object] = []
    while state != [device, "UP"]:
        message = ifinfmsg(events.recv(65536))
        message.decode()
        state = [message.get_attr(name) for name in ("IFLA_IFNAME", "IFLA_OPERSTATE")]
