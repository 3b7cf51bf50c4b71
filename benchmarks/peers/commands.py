"""The commands `ip netns`, `nsenter` and `lsns`, started from Python as a script would.

The second argument says which.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from time import perf_counter_ns

from worker import TARGET, Operation, absent, check, clock, each, numbered, path, serve

COMMAND = sys.argv[2]
# The system's own: the package `nsenter` puts a command of that name into an environment.
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
program = shutil.which(COMMAND, path=SYSTEM) or ""
if not program:
    absent(f"no {COMMAND} in {SYSTEM}")


def call(*args: str, text: str = "") -> str:
    argv = [program, *args]
    return subprocess.run(argv, check=True, text=True, input=text, stdout=subprocess.PIPE).stdout


def add(name: str) -> None:
    call("netns", "add", name)


def remove(name: str) -> None:
    call("netns", "delete", name)


def create_delete(count: int, present: int) -> int:
    return clock(count, lambda: add("iproute2"), lambda: remove("iproute2"))


def delete(count: int, present: int) -> int:
    lines = "".join(f"netns delete {name}\n" for name in numbered("doomed", present))
    return clock(1, lambda: call("-batch", "-", text=lines))


def ip_run(count: int, present: int) -> int:
    return clock(count, lambda: call("netns", "exec", TARGET, "true"))


def nsenter_run(count: int, present: int) -> int:
    return clock(count, lambda: call(f"--net={path(TARGET)}", "true"))


def lsns_discover(count: int, present: int) -> int:
    start = perf_counter_ns()
    for _ in range(count):
        out = call("-t", "net", "-n")
    spent = perf_counter_ns() - start
    check(len(out.splitlines()) >= present, "every namespace was found")
    return spent


OPERATIONS: dict[str, dict[str, Operation]] = {
    "ip": {
        "run": ip_run,
        "create": each("iproute2", add, remove),
        "create_delete": create_delete,
        "new": create_delete,
        "delete": delete,
    },
    "nsenter": {"run": nsenter_run},
    "lsns": {"discover": lsns_discover},
}

serve(OPERATIONS[COMMAND])
