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
from ._socket import sockets
from ._switch import abort_when_stranded, do, keep_gil, tour

__version__: str = ffi.string(lib.netns_version()).decode()

del ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    """What is not needed by everybody is imported when it is asked for."""
    if name in {"Change", "Watch", "watch"}:
        from . import _watch

        return getattr(_watch, name)
    if name in {"Pool", "pool"}:
        from . import _pool

        return getattr(_pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
