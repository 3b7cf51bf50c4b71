"""What `do` needs beside the guard: fit functions, and a thread to fall back on."""

from __future__ import annotations

from os.path import isdir
from sys import _getframe, modules

from ._errors import wrong_type
from ._native import Guard, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    from typing_extensions import Concatenate, ParamSpec

    from ._handle import NetNS, Target
    from ._native import Tour

    P = ParamSpec("P")
    T = TypeVar("T")

_RUNS_LATER = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


def check_function(fn: Callable[..., object]) -> None:
    """Refuse what a call does not run, only begins: its body would run outside."""
    try:
        flags = fn.__code__.co_flags
    except AttributeError:
        fn, flags = _unwrapped(fn)
    if flags & _RUNS_LATER:
        raise wrong_type(
            "do() takes a function that runs when called: a coroutine, generator "
            f"or async generator would run outside: {fn!r}",
            fn,
        )


def _unwrapped(fn: Callable[..., object]) -> tuple[Callable[..., object], int]:
    """What a partial, a cache or a callable object calls in the end, with its flags.

    Not what a wrapper written in Python wraps, which may well run it.
    """
    functools = modules.get("functools")  # without it there is none of its making
    while True:
        if functools is not None and isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, staticmethod):
            fn = fn.__func__
        elif functools is not None and isinstance(fn, functools._lru_cache_wrapper):
            fn = fn.__wrapped__
        else:
            break
    if not callable(fn):
        raise wrong_type("do() takes a function", fn)
    code = getattr(fn, "__code__", None) or getattr(type(fn).__call__, "__code__", None)
    return fn, code.co_flags if code else 0


def has_files(ns: NetNS) -> bool:
    """Whether a namespace that was opened by name has files in /etc/netns."""
    return ns._name is not None and isdir(f"/etc/netns/{ns._name}")


def move_in(ns: NetNS) -> None:
    """A thread that ends: into ns for good, with those files over those of /etc."""
    if has_files(ns):
        from ._process import dress

        dress(ns)
    else:
        ns.set()


def run_in_thread(
    ns: NetNS, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    """fn's result, or its exception, from a thread that lives in ns and ends."""
    from ._errand import Errand
    from ._handle import NetNS

    host = NetNS._current(True)

    def work() -> T:
        move_in(ns)
        return fn(host, *args, **kwargs)

    result: T = Errand("netns-do", work).wait()
    return result


def do(
    target: Target,
    fn: Callable[Concatenate[NetNS, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Open target, call ``fn(host, *args, **kwargs)`` inside, close, return its result.

    Args:
        target: as for `open`.
        fn: as for `NetNS.do`.

    Returns:
        What fn returns.

    Raises:
        What `open` and `NetNS.do` raise, and whatever fn raises.

    Thread: the calling thread. Privilege: as `NetNS.do`. Since: Linux 4.9.
    Source: setns(2).
    """
    from ._handle import open

    check_function(fn)
    with open(target) as ns:
        return ns.do(fn, *args, **kwargs)


def watched(guard: Guard, up: int = 1) -> Guard:
    """In asyncio's debug mode, an await inside the guard is reported.

    The `with` to blame is so many calls up.
    """
    # Another thread may have begun to import it.
    running = getattr(modules.get("asyncio.events"), "_get_running_loop", None)
    loop = running() if running else None
    if loop is not None and loop.get_debug():
        from ._async import report_await

        report_await(loop, guard, _getframe(up))
    return guard


def tour() -> AbstractContextManager[Tour]:
    """A context manager for visits to many namespaces: ``with netns.tour() as t:``.

    Home is read once, ``t.visit(ns)`` moves the thread straight on, wherever it
    is, and the end of the body brings it home again.

    Returns:
        A guard, as of `NetNS.enter`. Its ``__enter__`` gives an object whose
        ``visit(ns)`` takes an open handle, moves the thread and returns None.

    Raises (a visit; the thread is where it was, or at home):
        ClosedError: the handle is closed.
        InvalidTypeError: it is none.
        NotPermittedError: the target may not be entered, or the thread could
            not come home from it.
        OrderError: another guard of this thread is inside, the tour is over, or
            it is another thread's.
    Raises (at its end):
        OrderError, RestoreError: as `NetNS.enter`.

    Thread: the calling thread alone. It must not await, as in `NetNS.enter`.
    Privilege: CAP_SYS_ADMIN in the user namespaces that own the targets.
    Since: Linux 4.9. Source: setns(2).

    >>> with netns.tour() as t:
    ...     for ns in namespaces:
    ...         t.visit(ns)
    ...         look_around()
    """
    guard: Any = watched(Guard(), 2)
    return guard  # type: ignore[no-any-return]


def abort_when_stranded(on: bool = True) -> bool:
    """Let the process abort where a thread can't come home, instead of RestoreError.

    For a process that would rather end than run in the wrong namespace.

    Args:
        on: whether to abort (by SIGABRT, without cleaning up).

    Returns:
        What was set before; at first False.

    Thread: any; it holds for the whole process. Privilege: none. Since: any.
    Source: abort(3).
    """
    return bool(lib.netns_abort_when_stranded(bool(on)))


def keep_gil(on: bool = True) -> bool:
    """Keep the GIL while a thread enters, leaves or visits, instead of releasing it.

    For a thread that switches often beside busy Python threads: each release
    may cost it the interpreter's switch interval (`sys.setswitchinterval`,
    5 ms) to get the GIL back, for a switch of microseconds. Meant are the two
    ends of `enter`, `do`, `tour` and each visit. All other calls release it
    always; so do these where they would wait for a lock or look up a path: the
    first of a thread, the first inside another body, and those that find the
    guard not to be the innermost.

    Not for a process that answers its own setns(2), by seccomp's user
    notification, in a Python thread: that would wait for the GIL for ever.

    Args:
        on: whether to keep it.

    Returns:
        What was set before; at first False. On a free-threaded CPython, which
        has no GIL to keep, it is remembered and changes nothing.

    Thread: any; it holds for the whole process. Privilege: none. Since: any.
    Source: setns(2).
    """
    return bool(lib.netns__keep_gil(bool(on)))
