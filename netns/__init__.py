"""Run code in another Linux network namespace and come home.

>>> import netns
>>> with netns.new() as ns:
...     ns.do(lambda host: host != netns.current())
True
"""

import sys
from os.path import exists

if not sys.platform.startswith("linux"):
    raise ImportError("netns: network namespaces exist on Linux only; this is " + sys.platform)

if exists(__path__[0] + ".py"):  # this folder's neighbour netns.py
    from warnings import warn

    warn(
        "netns: the packages 'pynetns' (this one) and 'netns' are installed side by side, and"
        " both are imported as netns: uninstall one of them",
        RuntimeWarning,
        stacklevel=2,
    )
    del warn

try:
    from ._native import check_interpreter, ffi, lib
except ModuleNotFoundError as error:
    if error.name != __name__ + "._native":
        raise
    from os.path import dirname

    root = dirname(__path__[0])
    raise ImportError(
        f"netns: {root} is a checkout that is not built for this Python: run"
        f" '{sys.executable} -m pip install -e {root}', or start Python in another folder"
        if exists(root + "/csrc/netns.h")
        else f"netns: {__path__[0]} has no extension module for this Python: run"
        f" '{sys.executable} -m pip install --force-reinstall pynetns'"
    ) from None

check_interpreter()
__version__: str = ffi.string(lib.netns_version()).decode()

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Not imported here. PyInstaller, cx_Freeze and the like follow import statements:
    # these name what the extension module and the names below import when they are used.
    import _cffi_backend

    from . import (
        _arguments,
        _asyncio,
        _cli,
        _config,
        _create,
        _discover,
        _executor,
        _handle,
        _holder,
        _names,
        _pool,
        _process,
        _socket,
        _switch,
        _threads,
        _types,
        _watch,
        _words,
    )

del TYPE_CHECKING, check_interpreter, exists, ffi, lib, sys

# Where each public name is defined. Its module is imported when the name is asked for:
# a program that uses one call need not wait for the import of all. (The types are in
# __init__.pyi.)
_MODULES = {
    "_config": "get_include get_library_dir",
    "_create": "attach create delete new",
    "_discover": "Discovery Found check discover from_cookie identify is_netns nsids pids",
    "_errors": "ClosedError Error ExistsError InvalidTypeError InvalidValueError KernelError"
    " NotFoundError NotNamespaceError NotPermittedError OrderError RestoreError",
    "_executor": "Executor",
    "_handle": "NetNS current do from_fd from_pid from_socket from_thread open",
    "_holder": "Holder",
    "_names": "names",
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
