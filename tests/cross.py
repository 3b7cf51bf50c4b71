"""Builds the C core for other processors, and runs its tests as far as this machine can.

    python tests/cross.py [ARCH...]     (all without)

Debian's cross compilers (gcc-TRIPLE) build it, qemu-user-static runs it; i686 needs no
emulator. The table says what is not installed, and which system calls an emulator does
not know: tests that need them fail there. It fails if a build fails, or a test that
needs no emulator.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CSRC = Path(__file__).resolve().parent.parent / "csrc"
TESTS = CSRC.parent / "tests/c"


class Arch(NamedTuple):
    triple: str
    emulator: str | None  # None: this processor runs it
    loader: str = ""


ARCHS = {
    "i686": Arch("i686-linux-gnu", None, "ld-linux.so.2"),
    "aarch64": Arch("aarch64-linux-gnu", "qemu-aarch64-static"),
    "armv7l": Arch("arm-linux-gnueabihf", "qemu-arm-static"),
    "ppc64le": Arch("powerpc64le-linux-gnu", "qemu-ppc64le-static"),
    "riscv64": Arch("riscv64-linux-gnu", "qemu-riscv64-static"),
    "s390x": Arch("s390x-linux-gnu", "qemu-s390x-static"),
}


class Result(NamedTuple):
    built: str
    ran: str
    bad: list[str]  # what the tests that failed said
    failed: bool = False


def build(name: str, arch: Arch) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Builds the library and the test programs in a folder for the architecture."""
    out = CSRC / "build" / f"cross-{name}"
    programs = [out / "tests" / path.stem for path in sorted(TESTS.glob("test_*.c"))]
    root = f"/usr/{arch.triple}/lib"
    run_here = f"-Wl,--dynamic-linker={root}/{arch.loader} -Wl,-rpath={root}" * (not arch.emulator)
    make = ["make", "-C", str(CSRC), f"VARIANT={out.name}", f"CC={arch.triple}-gcc"]
    make += [f"AR={arch.triple}-ar", f"LDFLAGS={run_here}", "all"]
    make += [str(path.relative_to(CSRC)) for path in programs]
    done = subprocess.run(make, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return out / "tests", done


def run(directory: Path, arch: Arch) -> Result:
    command = [arch.emulator, "-L", f"/usr/{arch.triple}", "-d", "unimp"] if arch.emulator else []
    passed = skipped = 0
    bad = []
    unknown: set[str] = set()
    for program in sorted(path for path in directory.glob("test_*") if not path.suffix):
        try:
            done = subprocess.run(
                [*command, str(program)], capture_output=True, text=True, timeout=120
            )
        except subprocess.TimeoutExpired:
            bad.append(f"{program.name}: no end after 120 s")
            continue
        tests = re.findall(r"^(not ok|ok) \d+ - (.*)$", done.stdout, re.MULTILINE)
        wrong = [f"{program.name}: {what}" for said, what in tests if said == "not ok"]
        skipped += sum(what.startswith("# SKIP") for _, what in tests)
        passed += sum(said == "ok" and not what.startswith("# SKIP") for said, what in tests)
        if done.returncode and not wrong:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            wrong = [f"{program.name}: ended with {done.returncode}: {' '.join(last)}"]
        bad += wrong
        unknown.update(re.findall(r"Unsupported (?:ioctl|syscall): \S+", done.stderr))
    ran = f"{passed} passed, {len(bad)} failed, {skipped} skipped"
    how = f"under {arch.emulator}" if arch.emulator else "on this processor"
    if bad and unknown:  # too many to name
        bad = [f"the first: {bad[0]}", *sorted(unknown)]
    return Result("yes", f"{ran}, {how}", bad, failed=bool(bad) and not arch.emulator)


def check(name: str) -> Result:
    arch = ARCHS[name]
    compiler = f"{arch.triple}-gcc"
    if shutil.which(compiler) is None:
        return Result(f"absent: {compiler}", "-", [])
    directory, done = build(name, arch)
    if done.returncode:
        return Result("FAILED", "-", done.stderr.splitlines(), failed=True)
    if arch.emulator and shutil.which(arch.emulator) is None:
        return Result("yes", f"absent: {arch.emulator}", [])
    return run(directory, arch)


def main(names: list[str]) -> int:
    results = {name: check(name) for name in names or ARCHS}
    print(f"{'arch':10}{'built':30}ran")
    for name, result in results.items():
        print(f"{name:10}{result.built:30}{result.ran}")
        for line in result.bad:
            print(f"{'':10}  {line}")
    return int(any(result.failed for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
