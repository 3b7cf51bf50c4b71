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

__version__: str = ffi.string(lib.netns_version()).decode()

del ffi, lib, sys

# Where each public name is defined. Its module is imported when the name is asked for:
# a program that uses one call need not wait for the import of all. (The types are in
# __init__.pyi.)
_MODULES = {
    "_config": "get_include get_library_dir",
    "_create": "attach create delete new",
    "_discover": "Discovery Found check discover identify is_netns names nsids pids",
    "_errors": "ClosedError Error ExistsError InvalidTypeError InvalidValueError KernelError"
    " NotFoundError NotNamespaceError NotPermittedError OrderError RestoreError",
    "_executor": "Executor",
    "_handle": "NetNS current do from_fd from_pid from_socket from_thread open",
    "_native": "Guard Tour",
    "_pool": "Pool pool",
    "_socket": "sockets",
    "_switch": "abort_when_stranded keep_gil tour",
    "_types": "Target",
    "_watch": "Change Watch watch",
}
__all__ = sorted(" ".join(_MODULES.values()).split())


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
