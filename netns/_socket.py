"""Sockets born inside: in many namespaces at once, connected, listening."""

from __future__ import annotations

import sys

from ._errors import wrong_type
from ._handle import NetNS
from ._native import Handle
from ._switch import has_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from socket import socket
    from types import EllipsisType


def sockets(
    namespaces: Iterable[NetNS], family: int = -1, type: int = -1, proto: int = 0
) -> list[socket]:
    """One socket in each namespace, by one native call.

    The thread goes straight from one namespace to the next.

    Args:
        namespaces: open handles.
        family, type, proto: as for `NetNS.socket`.

    Returns:
        A list of `socket.socket`, in the order of the namespaces.

    Raises:
        What `NetNS.socket` raises, with the namespace concerned as ``path``;
            there is no socket then.
        InvalidTypeError: one is no handle.

    Thread: as `NetNS.socket`. Privilege: as `NetNS.socket`. Since: Linux 4.9.
    Source: socket(2), network_namespaces(7).
    """
    try:
        handles = tuple(namespaces)
    except TypeError:
        raise wrong_type("the namespaces are an iterable of NetNS", namespaces) from None
    return Handle._sockets(handles, family, type, proto)


def create_connection(
    ns: NetNS,
    address: tuple[str | None, int],
    timeout: float | EllipsisType | None,
    source_address: tuple[str, int] | None,
    all_errors: bool,
) -> socket:
    from socket import SOCK_STREAM, getaddrinfo

    host, port = address
    errors: list[OSError] = []
    look_up = ns.do_in_thread if has_files(ns) else ns.do
    for family, type, proto, _, target in look_up(
        lambda _: getaddrinfo(host, port, 0, SOCK_STREAM)
    ):
        try:
            sock = ns.socket(family, type, proto)
        except OSError as error:
            errors.append(error)
            continue
        try:
            if timeout is not ...:
                sock.settimeout(timeout)
            if source_address:
                sock.bind(source_address)
            sock.connect(target)
        except OSError as error:
            sock.close()
            errors.append(error)
        except BaseException:
            sock.close()
            raise
        else:
            errors.clear()
            return sock
    try:
        if all_errors and sys.version_info >= (3, 11):
            raise ExceptionGroup("create_connection failed", errors)  # noqa: F821
        raise errors[-1]
    finally:
        errors.clear()  # their tracebacks hold this frame, which holds them


def create_server(
    ns: NetNS,
    address: tuple[str, int],
    family: int,
    backlog: int | None,
    reuse_port: bool,
    dualstack_ipv6: bool,
) -> socket:
    from socket import AF_INET, create_server

    return ns.do(
        lambda _: create_server(
            address,
            family=AF_INET if family == -1 else family,
            backlog=backlog,
            reuse_port=reuse_port,
            dualstack_ipv6=dualstack_ipv6,
        )
    )
