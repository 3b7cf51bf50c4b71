"""Builds the packages twice, checks them, and uses them where there is no compiler.

    python tests/wheel.py [FOLDER]     (keeps them in FOLDER)

The source package is built here and from two copies of itself, in folders of other
names at other dates; so are the wheels, and the C library twice: all must be the same
bits, also where ar(1) is made to keep dates. The wheel is given its manylinux tag and
checked, then installed into a new environment without a compiler, and the source
package into another with one. The demo runs in both. Needs what tox -e wheel installs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPOCH = "1700000000"  # any date, the same each time
DAY = 24 * 60 * 60
SAME = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
DATING_AR = '#!/bin/sh\nmode=U$1; shift; exec ar "$mode" "$@"\n'  # the default of some systems


def step(what: str, *command: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Runs a command and prints its time; if it fails, prints its output and exits."""
    begun = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nwheel: {what}: ended with {done.returncode}")
    print(f"{time.monotonic() - begun:6.1f} s  {what}", flush=True)
    return done.stdout


def only(directory: Path, pattern: str) -> Path:
    (found,) = directory.glob(pattern)
    return found


def build(kind: str, source: Path, into: Path) -> Path:
    build = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", into]
    step(f"{kind} built in {source.name}/", *build, source, env=SAME)
    return only(into, "*.tar.gz" if kind == "sdist" else "*.whl")


def library(variant: str, source: Path) -> list[Path]:
    make = ["make", "-C", source / "csrc", f"VARIANT={variant}"]
    step(f"C library built in {source.name}/", *make, env=SAME)
    out = source / "csrc/build" / variant
    return [out / "libnetns.a", only(out, "libnetns.so.*.*")]


def unpack(sdist: Path, into: Path, days: int) -> Path:
    """Unpacks the source package, with dates of that many days ago."""
    with tarfile.open(sdist) as tar:
        tar.extractall(into.parent)
    only(into.parent, "pynetns-*").rename(into)
    then = time.time() - days * DAY
    for path in [into, *into.rglob("*")]:
        os.utime(path, (then, then))
    return into


def same(*files: Path) -> None:
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    if len(hashes) > 1:
        sys.exit("wheel: other bits: " + ", ".join(map(str, files)))
    print(f"          the same {len(files)} times: {files[0].name} sha256 {hashes.pop()}")


def demo(work: Path, package: Path, path: str, **env: str) -> None:
    """Installs a package into a new environment, with that PATH, and runs the demo there."""
    home = work / f"env-{package.suffix[1:]}"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    environ = {**os.environ, "PATH": path, **env}
    environ.pop("PYTHONPATH", None)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    wanted = f"pynetns[demo] @ {package.as_uri()}"
    step(f"{package.name} installed, PATH={path}", *pip, wanted, env=environ, cwd=work)
    run = [python, "-W", "error::DeprecationWarning:netns", "-m", "netns", "demo"]
    said = step("python -m netns demo", *run, env=os.environ.copy(), cwd=work)
    assert said.splitlines()[-1] == "The thread is home again.", said


def main(keep: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="netns-wheel-") as name:
        work = Path(name)
        SAME["AR"] = str(work / "ar")
        (work / "ar").write_text(DATING_AR)
        (work / "ar").chmod(0o755)
        os.umask(0o022)
        first = build("sdist", ROOT, work / "first")
        copies = [
            unpack(first, work / "copy", days=3),
            unpack(first, work / "another-copy-with-a-longer-name", days=500),
        ]
        os.umask(0o027)
        sdists = [build("sdist", copy, copy.with_suffix(".sdist")) for copy in copies]
        wheels = [build("wheel", copy, copy.with_suffix(".wheel")) for copy in copies]
        libraries = [library(variant, copies[0]) for variant in ("once", "again")]
        os.umask(0o022)
        for products in ([first, *sdists], wheels, *zip(*libraries)):
            same(*products)
        shown = work / "repaired"
        step("auditwheel", "auditwheel", "repair", "--wheel-dir", shown, wheels[0])
        wheel = only(shown, "*manylinux*.whl")
        print(f"          {wheel.name}")
        step("twine check", "twine", "check", "--strict", wheel, first)
        tops = "netns,pytest_netns.py"
        step("check-wheel-contents", "check-wheel-contents", "--toplevel", tops, wheel)
        if "-abi3-" in wheel.name:
            step("abi3audit", "abi3audit", "--strict", wheel)
        nothing = work / "no-programs"
        nothing.mkdir()
        demo(work, wheel, str(nothing), CC="/bin/false")
        demo(work, first, os.defpath)
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            for package in (first, wheel):
                shutil.copy(package, keep)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
