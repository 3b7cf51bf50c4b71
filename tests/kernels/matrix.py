"""Runs the tests of the core, and some of the Python library, on other kernels.

    python tests/kernels/matrix.py [--c] [--whole] [--write] [--arch ARCH] [KERNEL...]

KERNEL is a suite of Debian whose newest cloud kernel apt can fetch, or the path of a
kernel, or of a folder with one and its modules (lib/modules). Without any: all the
suites that apt has. Needs qemu-system-x86, busybox-static, cpio, kmod and e2fsprogs.
Fetched kernels stay in $NETNS_KERNELS (~/.cache/netns-kernels).

Prints a table of the kernels, their results and what each lacks. It fails if a test
fails, or is skipped though the kernel has what it needs, or if the kernel on which a
call begins to work is not its documented "Since". --write puts the table into
docs/kernels.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from boot import CSRC, Machine, boot, c_programs, disk, initrd, words
from fetch import SUITES, AbsentError, cache, kernel

PAGE = CSRC.parent / "docs/kernels.md"
ASKED = ("4.9", "4.19")  # no package has them: they are given by path, or not run
NO_PACKAGE = "4.9 to 5.9, of which there is no package; a kernel can be given by its path"

# The first Linux that has it, and what the library does on older ones.
FEATURES = {
    "NS_GET_USERNS": ("4.9", "`owner_uid` is None; a way back is tried, not told beforehand"),
    "SIOCGSKNS": ("4.10", "`from_socket` raises `KernelError` (ENOTTY)"),
    "NS_GET_NSTYPE": ("4.11", "types are asked of rtnetlink"),
    "NS_GET_OWNER_UID": ("4.11", "`owner_uid` is None"),
    "statx": ("4.11", "stat(2) instead"),
    "proc_net_follows": (
        "5.0",
        "while a file of `/proc/thread-self/net` is open, its path in another namespace may"
        " lead to the same file",
    ),
    "open_tree": ("5.2", "pins are made by paths in /proc"),
    "move_mount": ("5.2", "as open_tree"),
    "pidfd_open": ("5.3", "/proc is needed"),
    "STATX_MNT_ID": ("5.8", "`discover` looks at each mounted path"),
    "STATX_ATTR_MOUNT_ROOT": ("5.8", "mountinfo is read to tell whether it is a mount"),
    "mountinfo_cursor": ("5.8", "mountinfo is read again if mounts came or went meanwhile"),
    "close_range": ("5.9", "of names deleted together some are open in the process meanwhile"),
    "mount_setattr": ("5.12", "mount(2) by paths in /proc"),
    "SO_NETNS_COOKIE": ("5.14", "no `cookie`"),
    "listmount": ("6.8", "for `run`, mountinfo is read to find what is mounted below /sys"),
    "PIDFD_THREAD": ("6.9", "/proc is needed for threads"),
    "PIDFD_GET_NET_NAMESPACE": ("6.11", "/proc is needed"),
    "NS_GET_ID": ("6.18", "`cookie` needs the right to enter"),
    "listns": ("6.19", "`discover` finds only what something in sight holds"),
}
# The parts of the Python suite that touch the kernel most, and end in time.
TESTS = words("test_kernels test_nsid test_tour")
TOO_LONG = [
    "test_nsid.py::test_more_than_one_answer_holds",  # makes 600 namespaces
]


class Result(NamedTuple):
    """What the guest of a kernel printed."""

    release: str
    features: dict[str, bool]
    calls: dict[str, str]  # ok, or what it raised
    passed: dict[str, int]  # by suite: c and python
    skipped: list[str]  # the reasons
    bad: list[str]
    seconds: float


def version(text: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", text)[:2]
    return int(major), int(minor)


def judge_programs(said: str, result: Result) -> None:
    """Reads the TAP output of the tests of the core, one program after another."""
    for name, body, status in re.findall(
        r"^@@ begin ((?:test_|probe)\S*)$(.*?)^@@ end \1 (\d+)$", said, re.MULTILINE | re.DOTALL
    ):
        tests = re.findall(r"^(not ok|ok) \d+ - (.*)$", body, re.MULTILINE)
        failed = [what for verdict, what in tests if verdict != "ok"]
        result.bad.extend(f"{name}: {what}" for what in failed)
        if status != "0" and not failed:
            last = body.strip().splitlines()[-1:]
            result.bad.append(f"{name}: ended with {status}: {' '.join(last)}")
        skipped = [what for _, what in tests if what.startswith("# SKIP ")]
        result.skipped.extend(what[len("# SKIP ") :] for what in skipped)
        result.passed["c"] += len(tests) - len(failed) - len(skipped)


def judge_python(said: str, result: Result) -> None:
    body = said.partition("@@ begin python\n")[2]
    if not body:
        return
    result.passed["python"] = len(re.findall(r"^\S+::.* PASSED", body, re.MULTILINE))
    result.bad.extend(re.findall(r"^(?:FAILED|ERROR) (.*)$", body, re.MULTILINE))
    for count, reason in re.findall(r"^SKIPPED \[(\d+)\] \S+ (.*)$", body, re.MULTILINE):
        result.skipped.extend([reason] * int(count))
    ended = re.search(r"^@@ end python (\d+)$", body, re.MULTILINE)
    if ended is None:
        result.bad.append("python: no end: " + " ".join(body.strip().splitlines()[-1:]))
    elif ended[1] != "0" and not result.bad:
        result.bad.append(f"python: ended with {ended[1]}")


def judge(said: str, seconds: float, since: dict[str, str]) -> Result:
    booted = re.search(r"^@@ kernel (\S+) (?:.*Debian (\d[\d.]*))?", said, re.MULTILINE)
    if booted is None:
        raise AbsentError(f"no boot: {' '.join(said.strip().splitlines()[-2:])}")
    features = re.findall(r"^@@ feature (\S+) (yes|no)$", said, re.MULTILINE)
    result = Result(
        booted[2] or booted[1],
        {name: found == "yes" for name, found in features},
        dict(re.findall(r"^@@ call (\S+) (.*)$", said, re.MULTILINE)),
        {"c": 0},
        [],
        [],
        seconds,
    )
    judge_programs(said, result)
    judge_python(said, result)
    if not re.search(r"^@@ done$", said, re.MULTILINE):
        result.bad.append("no end: " + " ".join(said.strip().splitlines()[-1:]))
    running = version(result.release)
    for name, (first, _) in FEATURES.items():
        if result.features.get(name) != (running >= version(first)):
            result.bad.append(f"{name}: there is {result.features.get(name)}, since {first}")
    for reason in result.skipped:
        feature = re.search(r"needs (\w+)", reason)
        if feature is not None and result.features.get(feature[1]):
            result.bad.append(f"skipped, though it is there: {reason}")
    for name, answer in result.calls.items():
        if (answer == "ok") != (running >= version(since[name])):
            result.bad.append(f"{name}: {answer}, documented since Linux {since[name]}")
    return result


def row(result: Result) -> list[str]:
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    lacks = [f"{name} ({since})" for name, (since, _) in FEATURES.items()
             if not result.features.get(name)]  # fmt: skip
    return [
        result.release,
        f"{result.passed['c']}",
        f"{result.passed.get('python', '–')}",
        f"{result.seconds:.0f}",
        f"{len(result.bad)} failed{skipped}",
        ", ".join(lacks) or "nothing",
    ]


HEAD = [
    "Kernel",
    "Core tests passed",
    "Python tests passed",
    "Seconds",
    "Others",
    "Lacks (since Linux)",
]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def answer(said: str | None) -> str:
    """A call's cell; without an answer the tests of the core ran alone."""
    return "–" if said is None else "yes" if said == "ok" else "no"


def page(run: Run) -> str:
    results, since = run.in_order(), run.options.since
    releases = [result.release for result in results]
    features = [
        [f"`{name}`", first, *("yes" if r.features.get(name) else "no" for r in results), without]
        for name, (first, without) in FEATURES.items()
    ]
    calls = [
        [f"`{name}`", first, *(answer(r.calls.get(name)) for r in results)]
        for name, first in sorted(since.items())
        if any(name in r.calls for r in results)
    ]
    return (
        "# Kernels\n\n"
        "netns works from Linux 4.9 on and uses newer calls where the running kernel has\n"
        "them. It was tested on these kernels; `tox -e kernels` boots them in QEMU, runs the\n"
        "tests and writes this page (`tox -e kernels -- --write`).\n\n"
        + table(HEAD, [row(result) for result in results])
        + f"\nAll of it took {max(1, round(run.seconds / 60))} minutes.\n"
        + "".join(f"\nNot run: {each}.\n" for each in [NO_PACKAGE, *run.absent])
        + "\n## What they have\n\n"
        "Asked of the kernel by the calls themselves. `proc_net_follows` and\n"
        "`mountinfo_cursor` are behaviour that has no call of its own.\n\n"
        + table(["Feature", "Since Linux", *releases, "Where it is missing"], features)
        + "\n## What works\n\n"
        "Each public function and attribute, with the kernel that its documentation names.\n\n"
        + table(["Call", "Since Linux", *releases], calls)
    )


def run_one(name: str, options: argparse.Namespace, work: Path) -> Result:
    path = Path(name) if "/" in name else kernel(name, options.arch)
    if not path.exists():
        raise AbsentError(f"no such kernel: {path}")
    own = work / re.sub("[^A-Za-z0-9.]+", "-", name).strip("-")
    own.mkdir()
    packed = initrd(options.machine, path, work / "programs", own, options.disk is not None)
    log = cache() / f"{own.name}-{options.arch}.log"
    begun = time.monotonic()
    boot(options.machine, path, packed, options.disk, options.seconds, log)
    shutil.rmtree(own)
    seconds = time.monotonic() - begun
    print(f"# {name}: {seconds:.0f} s; {log}", flush=True)
    return judge(log.read_text(errors="replace").replace("\r", ""), seconds, options.since)


class Run:
    """Runs the kernels, as many at once as there are processors (two at most)."""

    def __init__(self, names: Sequence[str], options: argparse.Namespace) -> None:
        self.names = names
        self.options = options
        self.results: dict[str, Result] = {}
        self.absent: list[str] = []
        self.begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def in_order(self) -> list[Result]:
        return [self.results[name] for name in self.names if name in self.results]

    def run(self, work: Path) -> None:
        def run_next(name: str) -> Result | AbsentError:
            try:
                return run_one(name, self.options, work)
            except AbsentError as why:
                return why

        with ThreadPoolExecutor(min(2, len(os.sched_getaffinity(0)))) as executor:
            jobs = {executor.submit(run_next, name): name for name in self.names}
            for job in as_completed(jobs):
                name, result = jobs[job], job.result()
                if isinstance(result, AbsentError):
                    print(f"# {name}: not run: {result}", flush=True)
                    self.absent.append(f"{name}: {result}")
                    continue
                self.results[name] = result
                if self.options.write:  # after each kernel, as the rest may take long
                    PAGE.write_text(page(self))

    def report(self) -> int:
        """The exit status."""
        results = self.in_order()
        print(table(HEAD, [row(result) for result in results]), end="")
        for result in results:
            for line in result.bad:
                print(f"{result.release}: {line}")
            for reason in sorted(set(result.skipped)):
                print(f"# {result.release}: {result.skipped.count(reason)} skipped: {reason}")
        print(f"# {self.seconds:.0f} s in all")
        passed = sum(sum(result.passed.values()) for result in results)
        failed = sum(len(result.bad) for result in results) + len(self.absent)
        print(f"{passed} passed, {failed} failed")
        return int(failed > 0 or not results)


def python_tests(options: argparse.Namespace) -> list[str]:
    tests = CSRC.parent / "tests"
    if options.whole:
        chosen = [str(tests), f"--ignore={tests / 'faults'}"]
    else:
        chosen = [str(tests / f"{name}.py") for name in options.tests]
        chosen += [f"--deselect=tests/{each}" for each in TOO_LONG]
    # The first reads the page that this run writes; the second does what calls.py does.
    here = "tests/test_kernels.py::test_"
    return [
        *chosen,
        f"--deselect={here}since_is_where_it_began_to_work",
        f"--deselect={here}the_running_kernel_has_what_is_documented",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--c", action="store_true", help="the tests of the core alone")
    parser.add_argument("--whole", action="store_true", help="the whole Python suite")
    parser.add_argument("--write", action="store_true", help="write docs/kernels.md")
    parser.add_argument("--arch", default="amd64", choices=["amd64", "arm64"])
    parser.add_argument("--tests", nargs="+", default=TESTS, help="of the Python suite")
    parser.add_argument("--seconds", type=int, default=900, help="at most for each kernel")
    parser.add_argument("kernels", nargs="*", default=[], metavar="KERNEL")
    options = parser.parse_args()
    options.disk, options.since = None, {}
    cache().mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="netns-kernels-"))
    run = Run(options.kernels or SUITES, options)
    try:
        options.machine = Machine(options.arch)
        c_programs(options.machine, work / "programs/c/tests")
        if not options.c:
            from calls import documented

            options.since = documented()
            options.disk = disk(options.machine, python_tests(options), work)
        run.run(work)
    except AbsentError as why:
        sys.exit(f"not run: {why}")
    finally:
        shutil.rmtree(work)
    if not options.kernels:
        print(f"# not run, as apt has none, to be given by path: {', '.join(ASKED)}")
    return run.report()


if __name__ == "__main__":
    sys.exit(main())
