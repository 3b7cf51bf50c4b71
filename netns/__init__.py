"""Run code in another Linux network namespace and come home.

>>> import netns
>>> with netns.new() as ns:
...     ns.do(lambda host: host != netns.current())
True
"""

from ._create import attach, create, delete, new
from ._discover import Discovery, Found, check, discover, identify, is_netns, names, nsids, pids
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
from ._handle import NetNS, current, from_fd, from_pid, from_socket, from_thread, open
from ._native import ffi, lib
from ._switch import abort_when_stranded, do

__version__: str = ffi.string(lib.netns_version()).decode()

del ffi, lib

__all__ = [
    "ClosedError",
    "Discovery",
    "Error",
    "ExistsError",
    "Found",
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
    "attach",
    "check",
    "create",
    "current",
    "delete",
    "discover",
    "do",
    "from_fd",
    "from_pid",
    "from_socket",
    "from_thread",
    "identify",
    "is_netns",
    "names",
    "new",
    "nsids",
    "open",
    "pids",
]
