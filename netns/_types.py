"""The names that annotations use. Modules take it from _lazy, as `t`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Protocol, TypeVar, Union

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec
elif sys.version_info >= (3, 10):
    from typing import Concatenate, ParamSpec
else:
    # 3.9 has neither: to typing.get_type_hints, any arguments will do.
    class Concatenate:
        def __class_getitem__(cls, parameters):
            return ...

    class ParamSpec:
        args = kwargs = Any

        def __init__(self, name):
            pass


__all__ = [
    "AbstractContextManager",
    "Any",
    "Callable",
    "CompletedProcess",
    "Concatenate",
    "Coroutine",
    "Descriptor",
    "Directory",
    "Iterable",
    "Optional",
    "P",
    "Popen",
    "Socket",
    "T",
    "Target",
    "TracebackType",
    "Union",
]


class HasFileno(Protocol):
    def fileno(self) -> int: ...


P = ParamSpec("P")
T = TypeVar("T")
Target = Union[str, os.PathLike[str]]
Directory = Union[str, os.PathLike[str]]
Descriptor = Union[int, HasFileno]
Socket = socket.socket
Popen = subprocess.Popen
CompletedProcess = subprocess.CompletedProcess
