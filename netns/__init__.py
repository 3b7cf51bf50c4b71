"""Run code in another Linux network namespace and come home.

>>> import netns
>>> with netns.new() as ns:
...     ns.do(lambda host: host != netns.current())
True
"""

import sys

if not sys.platform.startswith("linux"):
    raise ImportError("netns: network namespaces are Linux's own; this is " + sys.platform)

from ._native import ffi, lib

if lib.netns__add_types() < 0:
    raise ImportError("netns: the extension module could not add its types")

__version__: str = ffi.string(lib.netns_version()).decode()

del ffi, lib, sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._config import get_include, get_library_dir
    from ._create import attach, create, delete, new
    from ._discover import (
        Discovery,
        Found,
        check,
        discover,
        identify,
        is_netns,
        names,
        nsids,
        pids,
    )
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
    from ._pool import Pool, pool
    from ._socket import sockets
    from ._switch import abort_when_stranded, do, keep_gil, tour
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


# Imported when it is asked for: a program that imports this for one call of it need
# not wait for all.
_MODULES = {
    "_config": "get_include get_library_dir",
    "_create": "attach create delete new",
    "_discover": "Discovery Found check discover identify is_netns names nsids pids",
    "_errors": "ClosedError Error ExistsError InvalidTypeError InvalidValueError KernelError"
    " NotFoundError NotNamespaceError NotPermittedError OrderError RestoreError",
    "_handle": "NetNS current from_fd from_pid from_socket from_thread open",
    "_pool": "Pool pool",
    "_socket": "sockets",
    "_switch": "abort_when_stranded do keep_gil tour",
    "_watch": "Change Watch watch",
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names.split():
            from importlib import import_module

            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
