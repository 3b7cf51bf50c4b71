"""Checks on bodies, and on awaits inside them; tours; settings of the process."""

from __future__ import annotations

from sys import _getframe, modules, version_info

from ._call import lib
from ._errors import step_text, wrong_type
from ._lazy import _types as t
from ._native import RUNS_LATER, Guard, Tour, hand_over, tour_guard
from ._native import keep_gil as _keep_gil

CHECK_RETURN = step_text(lib.NETNS_STEP_CHECK_RETURN)


def check_function(fn: t.Callable[..., object]) -> None:
    """Refuses a function whose call only begins its body, which would run outside."""
    try:
        flags = fn.__code__.co_flags
    except AttributeError:
        fn, flags = _unwrapped(fn)
    if flags & RUNS_LATER:
        raise wrong_type(
            "do() takes a function that runs when it is called: the body of a coroutine, "
            "generator or async generator function would run outside; for a coroutine "
            f"function there is do_async(): {fn!r}",
            fn,
        )


def _unwrapped(fn: t.Callable[..., object]) -> tuple[t.Callable[..., object], int]:
    """The function that a partial, a cache or a callable object calls, and its flags.

    Not the function that a wrapper written in Python wraps: that may well run it.
    """
    functools = modules.get("functools")  # if nobody has imported it, fn is not of it
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


hand_over("netns.check_function", check_function)


def watch_for_await(guard: Guard, up: int) -> Guard:
    """In asyncio's debug mode, reports an await inside the guard to the loop.

    It costs a callback each time. The frame of the `with` is so many calls up; when
    its coroutine is suspended, the frame's line is that of the await. (asyncio is not
    imported here: another thread may be importing it.)
    """
    running = getattr(modules.get("asyncio.events"), "_get_running_loop", None)
    loop = running() if running else None
    if loop is None or not loop.get_debug():
        return guard
    frame = _getframe(up)
    task = modules["asyncio"].current_task(loop)

    def look_at_guard() -> None:
        if guard.active:
            loop.call_exception_handler(
                {
                    "message": "await inside NetNS.enter(): the event loop runs in another "
                    f"network namespace since {frame.f_code.co_filename}:{frame.f_lineno}, "
                    f"in {frame.f_code.co_name}(); `async with ns.enter()` lets it go home",
                    "task": task,
                }
            )

    loop.call_soon(look_at_guard)
    return guard


def enter_and_look(self: Guard) -> object:
    """`Guard.__enter__` for CPython 3.14, whose `with` calls signal handlers before its block.

    They are called behind each call of a C function. Here that is behind `_enter`, and
    one that raises is caught; behind the return of this function they are not.
    """
    if self.active:
        return self._enter()  # refused
    try:
        return self._enter()
    except BaseException:
        self.close()
        raise


if version_info >= (3, 14):
    Guard.__enter__ = enter_and_look  # type: ignore[assignment,method-assign]


def tour() -> t.AbstractContextManager[Tour]:
    """A context manager for visits to many namespaces: ``with netns.tour() as t:``.

    Home is read once, ``t.visit(ns)`` moves the thread straight on, wherever it
    is, and the end of the body brings it home again.

    Returns:
        A guard, as of `NetNS.enter`. Its ``__enter__`` gives a `Tour`, whose
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
    guard: t.Any = watch_for_await(tour_guard(), 2)
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
    return _keep_gil(bool(on))
