"""Python's own, at home: what an operation costs without any namespace."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns

from worker import clock, serve


def steps(count: int, present: int) -> int:
    async def main() -> int:
        start = perf_counter_ns()
        for _ in range(count):
            await asyncio.sleep(0)
        return perf_counter_ns() - start

    return asyncio.run(main())


def do_async(count: int, present: int) -> int:
    async def body() -> None:
        await asyncio.sleep(0)

    async def main() -> int:
        start = perf_counter_ns()
        for _ in range(count):
            await body()
        return perf_counter_ns() - start

    return asyncio.run(main())


def hand_off(count: int, present: int) -> int:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        return clock(count, lambda: pool.submit(int).result())


def wrap(count: int, present: int) -> int:
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    with socket.socket(family, kind) as sock:
        fd = sock.fileno()
        return clock(count, lambda: socket.socket(family, kind, 0, fd).detach())


serve(
    {
        "socket": lambda count, present: clock(count, lambda: socket.socket().close()),
        "wrap": wrap,
        "run": lambda count, present: clock(count, lambda: subprocess.run(["true"], check=True)),
        "step": steps,
        "do_async": do_async,
        "hand_off": hand_off,
    }
)
