"""Builds the C core and the extension module with a current musl, which zig brings along.

    python tests/musl.py     (needs what tox -e musl installs)

The tests of tests/c are linked statically, so that they run wherever there is Linux.
The extension is linked with musl as a wheel has it: every symbol that it leaves open
must be one of musl 1.2 or of Python's stable interface. The wheel is given its musllinux
tag. Only the workflow that makes the wheels runs it, on a Python that is linked with musl.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-linux-musl"
TAG = "musllinux_1_2_x86_64"
OUT = ROOT / "csrc/build/zig-musl"
LIBC = Path("/usr/lib/x86_64-linux-musl/libc.so")  # Debian's, of musl 1.2

COMPILER = f"""#!{sys.executable}
import os, sys
# Options of gcc and its linker that zig does not know.
unknown = ("-Wl,--enable-new-dtags", "-fcf-protection", "-Wl,-rpath", "-Wl,-z,relro")
args = [arg for arg in sys.argv[1:] if not arg.startswith(unknown)]
args = ["-I" + arg[2:] if arg.startswith("-I") else arg for arg in args]
os.execv(sys.executable, [sys.executable, "-m", "ziglang", "cc", "-target", "{TARGET}", *args])
"""


def run(*command: object, **env: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nmusl: {command[0]} ended with {done.returncode}")
    return done.stdout


def undefined(library: Path) -> set[str]:
    lines = run("nm", "-D", "--undefined-only", library).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}


def defined(library: Path) -> set[str]:
    lines = run("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="netns-musl-") as name:
        work = Path(name)
        cc = work / "cc"
        cc.write_text(COMPILER)
        cc.chmod(0o755)
        print(run(sys.executable, "-m", "ziglang", "version").strip(), "is zig's version")

        # The sources with warnings as errors, and their tests.
        make = ["make", "-C", "csrc", f"VARIANT={OUT.name}", f"CC={cc}", "CXX=", "LDFLAGS=-static"]
        tests = [
            f"{OUT.relative_to(ROOT / 'csrc')}/tests/{path.stem}"
            for path in sorted((ROOT / "tests/c").glob("test_*.c"))
            if path.stem != "test_embed"
        ]
        run(*make, "static", *tests)
        for test in tests:
            said = run("timeout", "120", ROOT / "csrc" / test)
            ok = sum(line.startswith("ok") for line in said.splitlines())
            print(f"{Path(test).name}: {ok} passed, statically linked with musl")

        # The extension, in a wheel.
        wheels = work / "wheels"
        build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", wheels]
        run(*build, CC=str(cc), LDSHARED=f"{cc} -shared", ARFLAGS="rcsD")
        (wheel,) = wheels.glob("*.whl")
        run(sys.executable, "-m", "zipfile", "-e", wheel, work / "wheel")
        extension = work / "wheel/netns/_native.abi3.so"
        needed = run("readelf", "-d", extension)
        assert "[libc.so]" in needed, needed
        open_symbols = {
            name for name in undefined(extension) if not name.startswith(("Py", "_Py"))
        }
        missing = open_symbols - defined(LIBC) - {"__tls_get_addr"}
        assert not missing, f"not in {LIBC}: {sorted(missing)}"
        print(f"{extension.name}: its {len(open_symbols)} open symbols are all in musl")
        # auditwheel knows the tags of the libc that it runs with alone.
        run(sys.executable, "-m", "wheel", "tags", "--platform-tag", TAG, "--remove", wheel)
        (wheel,) = wheels.glob("*.whl")
        run("abi3audit", "--strict", wheel)
        print(wheel.name)


if __name__ == "__main__":
    main()
