"""Child processes born inside, and threads with the files of a namespace."""

from __future__ import annotations

import subprocess
from os import fsencode

from ._errand import Errand
from ._handle import call
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._handle import NetNS


def dress(ns: NetNS) -> None:
    """The calling thread, which must end: into ns, with its /sys and /etc files."""
    call(lib.netns_set, ns._cell[0])
    call(lib.netns_setup_exec, fsencode(ns._name) if ns._name else ffi.NULL)


def birth(ns: NetNS, argv: Any, kwargs: dict[str, Any]) -> Errand:
    """Gives a child begun on a thread made for it, which is inside when it forks."""

    def work() -> subprocess.Popen[Any]:
        dress(ns)
        return subprocess.Popen(argv, **kwargs)

    return Errand("netns-birth", work, end)


def end(child: subprocess.Popen[Any]) -> None:
    child.kill()
    with child:
        pass


def popen(ns: NetNS, argv: Any, kwargs: dict[str, Any]) -> subprocess.Popen[Any]:
    child: subprocess.Popen[Any] = birth(ns, argv, kwargs).wait()
    return child


def run(
    ns: NetNS,
    argv: Any,
    input: Any,
    capture_output: bool,
    timeout: float | None,
    check: bool,
    kwargs: dict[str, Any],
) -> subprocess.CompletedProcess[Any]:
    """As subprocess.run does it, which has no other Popen than its own."""
    if input is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        kwargs["stdin"] = subprocess.PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        kwargs["stdout"] = kwargs["stderr"] = subprocess.PIPE
    with popen(ns, argv, kwargs) as child:
        try:
            out, err = child.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            child.kill()
            child.wait()
            raise expired
        except BaseException:
            child.kill()
            raise
        status = child.poll()
    assert status is not None
    if check and status:
        raise subprocess.CalledProcessError(status, child.args, out, err)
    return subprocess.CompletedProcess(child.args, status, out, err)
