"""Thread pools whose workers live inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ._call import Handle, lib, native
from ._lazy import _types as t
from ._threads import move_in, refuse_greenlets


def _start_worker(
    ns: Handle,
    initializer: t.Optional[t.Callable[..., object]],
    initargs: tuple[t.Any, ...],
) -> None:
    refuse_greenlets()  # threads may have been replaced since the executor was made
    move_in(ns)
    if initializer is not None:
        initializer(*initargs)


class Executor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose workers move into a namespace before their first job.

    A worker is started by whichever thread submits, and begins where that is.
    `NetNS.executor` makes it. An interrupt in `submit` may lose the job, or leave one
    of the standard library's own locks taken, as with any ThreadPoolExecutor: submit
    from a thread in which no signal handler raises.
    """

    def __init__(
        self,
        ns: Handle,
        max_workers: t.Optional[int] = None,
        thread_name_prefix: str = "",
        initializer: t.Optional[t.Callable[..., object]] = None,
        initargs: tuple[t.Any, ...] = (),
    ) -> None:
        refuse_greenlets()
        self._ns = ns
        prefix = thread_name_prefix or "netns-executor"
        super().__init__(max_workers, prefix, _start_worker, (ns, initializer, initargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:  # else it goes with the last worker, which may not have moved yet
            lib.netns_close(native(self._ns))
