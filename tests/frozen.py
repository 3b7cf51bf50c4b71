"""A program that uses the package runs when PyInstaller or cx_Freeze has frozen it.

    python tests/frozen.py     (needs what tox -e frozen installs)

Neither gets a hint: it must find by itself what the package imports when it is used.
The program runs in another folder, with an empty environment.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import asyncio
import typing
import netns

async def body(host):
    return host

def main():
    with netns.new() as ns:
        assert ns.do(lambda host: ns.is_current())
        assert ns.do_in_thread(lambda host: ns.is_current())
        asyncio.run(ns.do_async(body))
        with ns.enter(), netns.tour() as tour:
            tour.visit(ns)
        with ns.executor(1) as pool:
            assert pool.submit(ns.is_current).result()
        ns.socket().close()
        ns.run(["true"], check=True)
        netns.discover()
    with netns.pool(1) as fresh:
        fresh.take().close()
    netns.names(), netns.watch().close()
    netns.get_include()
    assert typing.get_type_hints(netns.NetNS.do)
    try:
        netns.open("no such name")
    except netns.NotFoundError as error:
        assert isinstance(error, FileNotFoundError)
    print("every module was there")

main()
"""
SAID = "every module was there\n"


def check(what: str, build: list[str], program: Path, work: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *build],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n{what} ended with {done.returncode}")
    run = subprocess.run([program], cwd="/", env={}, capture_output=True, text=True, timeout=60)
    if (run.returncode, run.stdout) != (0, SAID):
        sys.exit(f"{run.stdout}{run.stderr}\n{what}: the program ended with {run.returncode}")
    print(f"{what}: {SAID}", end="")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="netns-frozen-") as name:
        work = Path(name)
        (work / "program.py").write_text(PROGRAM)
        for how in ("--onedir", "--onefile"):
            program = work / "dist/program" if how == "--onefile" else work / "dir/program/program"
            to = "dist" if how == "--onefile" else "dir"
            build = ["PyInstaller", how, "--distpath", to, "--log-level", "WARN", "program.py"]
            check(f"PyInstaller {how}", build, program, work)
        build = ["cx_Freeze", "build_exe", "--script", "program.py", "--build-exe", "frozen"]
        check("cx_Freeze", build, work / "frozen/program", work)


if __name__ == "__main__":
    main()
