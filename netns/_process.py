"""Child processes that are born inside."""

from __future__ import annotations

import subprocess

from ._call import Handle, call, lib, native
from ._lazy import _types as t
from ._threads import Job, is_green, setup_exec


def end(child: subprocess.Popen[t.Any]) -> None:
    child.kill()
    with child:
        pass


def popen(ns: Handle, argv: t.Any, kwargs: dict[str, t.Any]) -> subprocess.Popen[t.Any]:
    """Starts the child on a thread made for it, which is inside when it forks.

    A Popen that belongs to an event loop has to be made on the loop's own thread.
    There the child itself moves, between fork and exec.
    """

    def move() -> None:
        call(lib.netns_set, native(ns))
        setup_exec(ns)

    def start_child() -> subprocess.Popen[t.Any]:
        move()
        return subprocess.Popen(argv, **kwargs)

    if is_green(subprocess.Popen):
        first = kwargs.get("preexec_fn")

        def prepare() -> None:
            move()
            if first is not None:
                first()

        return subprocess.Popen(argv, **{**kwargs, "preexec_fn": prepare})
    job = Job("netns-popen", start_child, abandon=end)
    try:
        child: subprocess.Popen[t.Any] = job.run()
        return child
    except BaseException:
        job.abandon()
        raise


def run(
    ns: Handle,
    argv: t.Any,
    input: t.Any,
    capture_output: bool,
    timeout: t.Optional[float],
    check: bool,
    kwargs: dict[str, t.Any],
) -> subprocess.CompletedProcess[t.Any]:
    """The same as subprocess.run, which has no other Popen than its own."""
    if input is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        kwargs["stdin"] = subprocess.PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        kwargs["stdout"] = kwargs["stderr"] = subprocess.PIPE
    child = popen(ns, argv, kwargs)
    # No `with`: an interrupt in its __enter__() would leave the child alone.
    try:
        out, err = child.communicate(input, timeout=timeout)
        status = child.poll()
    except BaseException:
        end(child)
        raise
    assert status is not None
    if check and status:
        raise subprocess.CalledProcessError(status, child.args, out, err)
    return subprocess.CompletedProcess(child.args, status, out, err)
