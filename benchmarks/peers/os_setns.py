"""The recipe with os.setns, Python 3.12 and later: home opened, there, back."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from time import perf_counter_ns

from worker import TARGET, absent, beside, check, clock, here, numbered, path, serve, together

if sys.version_info < (3, 12):
    absent(f"Python {sys.version_info[0]}.{sys.version_info[1]} has no os.setns, 3.12 does")
else:
    fds: list[int] = []

    def present_fds(count: int) -> list[int]:
        fds.extend(
            os.open(path(name), os.O_RDONLY) for name in numbered("bench", count)[len(fds) :]
        )
        return fds[:count]

    def do(fd: int, fn: Callable[[], object]) -> object:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            os.setns(fd, os.CLONE_NEWNET)
            try:
                return fn()
            finally:
                os.setns(home, os.CLONE_NEWNET)
        finally:
            os.close(home)

    def many(count: int, present: int) -> int:
        done = 0

        def body() -> None:
            nonlocal done
            done += 1

        fd = os.open(path(TARGET), os.O_RDONLY)
        try:
            check(do(fd, here) != here(), "inside")
            start = perf_counter_ns()
            for _ in range(count):
                do(fd, body)
            spent = perf_counter_ns() - start
        finally:
            os.close(fd)
        check(done == count, "every body ran")
        return spent

    def inside(count: int, present: int) -> int:
        fd = os.open(path(TARGET), os.O_RDONLY)
        try:
            spent = do(fd, lambda: clock(count, lambda: do(fd, int)))
            assert isinstance(spent, int)
            return spent
        finally:
            os.close(fd)

    def visit(count: int, present: int) -> int:
        all = present_fds(present)
        start = perf_counter_ns()
        for i in range(count):
            do(all[i % present], int)
        return perf_counter_ns() - start

    def sock(count: int, present: int) -> int:
        fd = os.open(path(TARGET), os.O_RDONLY)
        try:
            return clock(count, lambda: do(fd, socket.socket).close())  # type: ignore[attr-defined]
        finally:
            os.close(fd)

    def sockets(count: int, present: int) -> int:
        all, spent = present_fds(present), 0
        for _ in range(count):
            start = perf_counter_ns()
            made = [do(fd, socket.socket) for fd in all]
            spent += perf_counter_ns() - start
            for each in made:
                each.close()  # type: ignore[attr-defined]
        return spent

    def new(count: int, present: int) -> int:
        def one() -> None:
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            os.unshare(os.CLONE_NEWNET)
            fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            os.setns(home, os.CLONE_NEWNET)
            os.close(home)
            os.close(fd)

        return clock(count, one)

    serve(
        {
            "do": many,
            "enter": many,
            "inside": inside,
            "visit": visit,
            "socket": sock,
            "sockets": sockets,
            "new": new,
            "beside": beside(many),
            "threads1": together(1, many),
            "threads2": together(2, many),
            "threads4": together(4, many),
        }
    )
