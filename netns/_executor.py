"""Thread pools whose workers live inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ._native import lib
from ._switch import move_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._handle import NetNS


def _move(ns: NetNS, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    move_in(ns)
    if initializer is not None:
        initializer(*initargs)


class Executor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose workers move into a namespace before their first job.

    A worker is started by whichever thread submits, and born where that is.
    """

    def __init__(
        self,
        ns: NetNS,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        # A duplicate, for the workers that start after the handle was closed.
        self._ns = ns._duplicate(True)
        super().__init__(
            max_workers,
            thread_name_prefix or "netns-executor",
            _move,
            (self._ns, initializer, initargs),
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:  # else it goes with the last worker, which may not have moved yet
            lib.netns_close(self._ns._cell[0])
