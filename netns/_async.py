"""What asyncio needs: a word about awaits that would take the event loop along."""

from __future__ import annotations

import asyncio
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native import Guard


def report_await(loop: asyncio.AbstractEventLoop, guard: Guard) -> None:
    """Tell the loop's exception handler if its next turn finds the guard still inside.

    For debug mode: it costs a callback each time. The frame is that of the
    `with`, three calls up; when its coroutine is suspended, its line is the await's.
    """
    frame = sys._getframe(3)
    task = asyncio.current_task(loop)

    def look() -> None:
        if guard.active:
            loop.call_exception_handler(
                {
                    "message": "await inside NetNS.enter(): the event loop runs in another "
                    f"network namespace since {frame.f_code.co_filename}:{frame.f_lineno}, "
                    f"in {frame.f_code.co_name}()",
                    "task": task,
                }
            )

    loop.call_soon(look)
