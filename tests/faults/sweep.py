"""The sweep counts an operation's system calls, and then fails each with each errno.

The fault seam, csrc/core/fault.c, has the errnos that a call can fail with.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import NamedTuple

import netns
from netns._native import ffi, lib
from support import here, on_a_thread


def errnos(name: str) -> list[int]:
    """The errnos that the seam's table has for a call."""
    room = ffi.new("int[]", 32)
    count: int = lib.fault_errnos(name.encode(), room, 32)
    assert 0 < count <= 32, name
    return list(room[0:count])


class Fault(NamedTuple):
    nth: int
    call: str
    errno: int
    persistent: bool

    def __str__(self) -> str:
        more = " and all later ones" if self.persistent else ""
        return f"call {self.nth} ({self.call}{more}): {errno.errorcode.get(self.errno)}"


def trace() -> list[str]:
    """The names of the system calls made since the last arming, in order."""
    room = ffi.new("int[]", 4096)
    count: int = lib.fault_calls(room, 4096)
    return [ffi.string(lib.fault_name(room[i])).decode() for i in range(count)]


def calls(operation: Callable[[], object]) -> list[str]:
    """The names of the system calls that an operation makes, in order."""
    lib.fault_arm(0, 0, 0)
    try:
        operation()
    finally:
        count = lib.fault_disarm()
    made = trace()
    assert count == len(made), "more calls than the trace holds"
    return made


def plan(names: list[str]) -> Iterator[Fault]:
    for persistent in (False, True):
        for nth, call in enumerate(names, 1):
            for number in errnos(call):
                if persistent and number == errno.EINTR:
                    continue  # the library rightly tries again, and would do so for ever
                yield Fault(nth, call, number, persistent)


class Outcome(NamedTuple):
    error: BaseException | None
    given: int  # how many faults
    link: str  # where the thread was afterwards
    again: BaseException | None  # what a further use of the library on the thread raised


def inject(fault: Fault, prepare: Callable[[], object], act: Callable[[], object]) -> Outcome:
    """Runs the operation with one fault, on a thread of its own, which the fault may strand."""
    outcomes: list[Outcome] = []

    def attempt(call: Callable[[], object]) -> BaseException | None:
        try:
            call()
        except BaseException as error:
            return error
        return None

    def run() -> None:
        failed = attempt(prepare)
        assert failed is None, failed
        lib.fault_arm(fault.nth, fault.errno, fault.persistent)
        try:
            error = attempt(act)
        finally:
            lib.fault_disarm()
        held = error
        while held is not None:  # a traceback's frames hold handles
            held.__traceback__ = None
            held = held.__context__
        given = lib.fault_given()
        outcomes.append(Outcome(error, given, here(), attempt(lambda: netns.current().close())))

    on_a_thread(run)
    (outcome,) = outcomes
    return outcome
