"""One native call: arguments as the core takes them, its error as an exception."""

from __future__ import annotations

import os
import sys
from errno import EINTR

from ._errors import check, wrong_type, wrong_value
from ._lazy import _types as t
from ._native import Handle, ffi, lib, rundir

__all__ = ["Handle", "allocate", "call", "directory", "encode", "ffi", "lib", "native"]

_USUAL = b"/run/netns"

# An int: to look for bytes in bytes, CPython raises an exception and catches it.
SLASH = ord("/")

# As os.fsencode() and os.fsdecode() have it, in a third of their time.
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

_LARGEST = 2**31 - 1  # pids, thread ids and descriptors are C ints
_SLOT = ffi.typeof("struct netns **")

# A native call writes this memory before anybody reads it, and clearing a page for
# each path would take microseconds where the caches are cold.
allocate = ffi.new_allocator(should_clear_after_alloc=False)

_cast = ffi.cast
_ERROR = ffi.typeof("struct netns_error *")
_spare_errors: list[t.Any] = []  # of calls that succeeded; as many as ran at once


def slot(handle: Handle) -> t.Any:
    """The handle's own memory (struct netns **), for a native call to fill."""
    return _cast(_SLOT, handle._address)


def native(handle: Handle) -> t.Any:
    """The native handle (struct netns *); NULL in an object that was never filled."""
    return _cast(_SLOT, handle._address)[0]


def call(function: t.Callable[..., int], *args: t.Any) -> int:
    """The native call's result; it begins again where a signal interrupted it (PEP 475)."""
    try:
        error = _spare_errors.pop()
    except IndexError:
        error = allocate(_ERROR)
    result = function(*args, error)
    if result < 0:
        while result == -EINTR:
            lib.netns__wait_on()
            result = function(*args, error)
        check(result, error)
    _spare_errors.append(error)
    return result


def encode(target: t.Target) -> bytes:
    """A target as the core takes it: with a '/' a path, without one a name."""
    if isinstance(target, str):  # asked first: the other question takes ten times as long
        path = target
    else:
        given: object = target.__fspath__() if isinstance(target, os.PathLike) else None
        if not isinstance(given, str):
            raise wrong_type("a target is a name (str) or a path (str, os.PathLike[str])", target)
        path = given if "/" in given else "./" + given
    try:
        encoded = path.encode(_ENCODING, _ERRORS)
    except UnicodeEncodeError:
        raise wrong_value("not encodable as a file name", ascii(path)) from None
    if "\0" in path:
        raise wrong_value("a name or path has no NUL", path)
    return encoded


def decode(text: bytes) -> str:
    """A name or path of the core's as a str, which `encode` would make that again."""
    return text.decode(_ENCODING, _ERRORS)


def encode_name(name: str) -> bytes:
    """A name as the core takes it."""
    encoded = encode(name)
    if SLASH in encoded:
        raise wrong_value("a name has no '/'", name)
    return encoded


def directory(given: t.Optional[t.Directory]) -> bytes:
    """The run directory as the core takes it."""
    if given is None:
        path = rundir()
    else:
        text: object = given.__fspath__() if isinstance(given, os.PathLike) else given
        if not isinstance(text, str):
            raise wrong_type("a run directory is a path (str, os.PathLike[str])", given)
        if not text:
            raise wrong_value("a run directory has a path", text)
        path = encode(text)
    return path.rstrip(b"/") or b"/"


def directories(given: t.Optional[t.Directory]) -> tuple[bytes, ...]:
    """Where names are looked up: that directory and, behind a user's own, the host's."""
    where = directory(given)
    if given is not None or where == _USUAL or os.environ.get("NETNS_RUN_DIR"):
        return (where,)
    return where, _USUAL


def number(value: int, what: str, least: int) -> int:
    if not isinstance(value, int):
        raise wrong_type(f"{what} is an int", value)
    if not least <= value <= _LARGEST:
        raise wrong_value(f"{what} is from {least} to {_LARGEST}", value)
    return value
