"""The package `nsenter`."""

from __future__ import annotations

from time import perf_counter_ns

from worker import TARGET, absent, check, here, imports, path, serve

try:
    from nsenter import Namespace
except ModuleNotFoundError as error:
    absent(str(error))


def do(count: int, present: int) -> int:
    where = path(TARGET)
    with Namespace(where, "net"):
        inside = here()
    check(inside != here(), "inside and home")
    start = perf_counter_ns()
    for _ in range(count):
        with Namespace(where, "net"):
            pass
    return perf_counter_ns() - start


serve({"do": do, "enter": do, "import": imports("import nsenter")})
