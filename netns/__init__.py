"""Run code in another Linux network namespace and come home.

>>> import netns
>>> with netns.new() as ns:
...     ns.do(lambda host: host != netns.current())
True
"""

import sys

if not sys.platform.startswith("linux"):
    raise ImportError("netns: network namespaces are Linux's own; this is " + sys.platform)

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
from ._socket import sockets
from ._switch import abort_when_stranded, do, keep_gil, tour

__version__: str = ffi.string(lib.netns_version()).decode()

del ffi, lib, sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._config import get_include, get_library_dir
    from ._pool import Pool, pool
    from ._watch import Change, Watch, watch

__all__ = [
    "Change",
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
    "Pool",
    "RestoreError",
    "Watch",
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
    "get_include",
    "get_library_dir",
    "identify",
    "is_netns",
    "keep_gil",
    "names",
    "new",
    "nsids",
    "open",
    "pids",
    "pool",
    "sockets",
    "tour",
    "watch",
]


# What is not needed by everybody is imported when it is asked for.
_LAZY = {
    "Change": "_watch",
    "Pool": "_pool",
    "Watch": "_watch",
    "get_include": "_config",
    "get_library_dir": "_config",
    "pool": "_pool",
    "watch": "_watch",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
