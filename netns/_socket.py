"""Sockets that live inside: one, connected, listening, and one in each of many."""

from __future__ import annotations

import socket
import sys

from ._call import Handle, lib, native
from ._errors import Error, NotPermittedError, from_native, wrong_type
from ._lazy import _types as t
from ._native import REFUSED, do_inside
from ._switch import CHECK_RETURN, tour
from ._threads import has_files, is_green


def make_socket(
    host: object, made: list[socket.socket], family: int, type: int, proto: int
) -> None:
    """In the calling thread's namespace; its object owns it from the start."""
    try:
        made.append(socket.socket(family, type, proto))
        return
    except OSError as error:
        number = error.errno or 0
    raise from_native(number, lib.NETNS_STEP_MAKE_SOCKET, b"")


def create_server(
    host: object, made: list[socket.socket], address: t.Any, kwargs: dict[str, t.Any]
) -> None:
    made.append(socket.create_server(address, **kwargs))


def make_inside(ns: t.Any, make: t.Callable[..., None], *args: t.Any) -> socket.socket:
    """The socket that make(host, made, ...) adds to made; closed if the return fails."""
    made: list[socket.socket] = []
    try:
        if do_inside(ns, make, (made, *args), {}) is REFUSED:
            ns.do_in_thread(make, made, *args)
        return made[0]
    except BaseException:
        for sock in made:
            sock.close()
        raise


def create_connection(
    ns: t.Any,
    address: tuple[t.Optional[str], int],
    timeout: t.Any,
    source_address: t.Optional[tuple[str, int]],
    all_errors: bool,
) -> socket.socket:
    """Looks the host name up inside, and waits for the connection at home."""
    errors: list[Exception] = []
    # One that switches greenlets would have others run inside.
    alone = has_files(ns) or is_green(socket.getaddrinfo)
    look_up = ns.do_in_thread if alone else ns.do
    host, port = address
    for family, type, proto, _, target in look_up(
        lambda _: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    ):
        sock = None
        try:
            sock = ns.socket(family, type, proto)
            if timeout not in (..., getattr(socket, "_GLOBAL_DEFAULT_TIMEOUT", ...)):
                sock.settimeout(timeout)
            if source_address:
                sock.bind(source_address)
            sock.connect(target)
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            errors.append(error)
        else:
            errors.clear()
            return sock  # type: ignore[no-any-return]
    try:
        if all_errors and sys.version_info >= (3, 11):
            raise ExceptionGroup("create_connection failed", errors)  # noqa: F821
        raise errors[-1]
    finally:
        errors.clear()  # their tracebacks hold this frame, which holds them


def sockets(
    namespaces: t.Iterable[Handle], family: int = -1, type: int = -1, proto: int = -1
) -> list[socket.socket]:
    """One socket in each namespace, in one tour of them all.

    Args:
        namespaces: open `NetNS` handles.
        family, type, proto: as for `NetNS.socket`.

    Returns:
        A list of `socket.socket`, in the order of the namespaces.

    Raises:
        The errors of `NetNS.socket`, with the namespace concerned as ``path``;
            all sockets made so far are closed.
        InvalidTypeError: one is no handle.

    Thread: as `NetNS.socket`. Privilege: as `NetNS.socket`. Since: Linux 4.9.
    Source: socket(2), network_namespaces(7).
    """
    try:
        handles = tuple(namespaces)
    except TypeError:
        raise wrong_type("the namespaces are an iterable of NetNS", namespaces) from None
    made: list[socket.socket] = []
    try:
        _make_in_each(handles, made, family, type, proto)
    except BaseException as error:
        for sock in made:
            sock.close()
        failed = handles[len(made)] if len(made) < len(handles) else None
        if isinstance(error, Error) and isinstance(failed, Handle):
            error.path = f"net:[{lib.netns_ino(native(failed))}]"
        raise
    return made


def _make_in_each(
    handles: tuple[t.Any, ...],
    made: list[socket.socket],
    *kind: int,
) -> None:
    try:
        with tour() as visits:
            for ns in handles:
                visits.visit(ns)
                make_socket(None, made, *kind)
    except NotPermittedError as error:
        if error.step != CHECK_RETURN:
            raise
        # The thread would not be allowed to return: one by one, other threads go.
        for ns in handles[len(made) :]:
            made.append(ns.socket(*kind))
