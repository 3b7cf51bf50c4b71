"""Run code in another Linux network namespace and come home.

>>> import netns
>>> with netns.new() as ns:
...     ns.do(lambda host: host != netns.current())
True
"""

from ._create import create, delete, new
from ._discover import check, is_netns, names
from ._errors import (
    ClosedError,
    Error,
    ExistsError,
    InvalidTypeError,
    InvalidValueError,
    KernelError,
    NotFoundError,
    NotNamespaceError,
    NotPermittedError,
    OrderError,
    RestoreError,
)
from ._handle import NetNS, current, from_fd, from_pid, from_thread, open
from ._native import ffi, lib
from ._switch import abort_when_stranded, do

__version__: str = ffi.string(lib.netns_version()).decode()

del ffi, lib

__all__ = [
    "ClosedError",
    "Error",
    "ExistsError",
    "InvalidTypeError",
    "InvalidValueError",
    "KernelError",
    "NetNS",
    "NotFoundError",
    "NotNamespaceError",
    "NotPermittedError",
    "OrderError",
    "RestoreError",
    "abort_when_stranded",
    "check",
    "create",
    "current",
    "delete",
    "do",
    "from_fd",
    "from_pid",
    "from_thread",
    "is_netns",
    "names",
    "new",
    "open",
]
