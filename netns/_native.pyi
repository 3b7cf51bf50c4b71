"""The extension module that cffi makes of csrc/netns.h."""

from socket import socket
from typing import Any

from ._handle import NetNS

ffi: Any
lib: Any

class Handle:
    _cell_address: int
    _closed: bool
    _lent: bool
    def _socket(self, family: int, kind: int, protocol: int, /) -> socket: ...
    @staticmethod
    def _sockets(
        handles: tuple[Handle, ...], family: int, kind: int, protocol: int, /
    ) -> list[socket]: ...

class Tour:
    def visit(self, ns: NetNS, /) -> None: ...

class Guard:
    active: bool
    def __new__(cls, handle: Handle = ..., /) -> Guard: ...
    def __enter__(self) -> NetNS: ...
    def __exit__(self, *exc: object) -> None: ...
    def close(self) -> None: ...
