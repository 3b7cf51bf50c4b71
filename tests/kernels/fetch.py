"""Fetches kernels of Debian's suites, by this machine's apt and from its mirror."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = ("bullseye", "bookworm", "trixie", "sid")  # the oldest that apt has, to the newest


class AbsentError(Exception):
    """Something that is needed is not available; the text says what."""


def cache() -> Path:
    """The folder that keeps what was fetched."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netns-kernels"
    return Path(os.environ.get("NETNS_KERNELS") or fallback)


def said(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )
    if done.returncode:
        raise AbsentError(f"{' '.join(command[:2])}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def mirror() -> str:
    """The mirror that this machine has its Debian packages from."""
    if shutil.which("apt-get") is None:
        raise AbsentError("no apt-get: kernels are given by path")
    columns = "$(ORIGIN) $(COMPONENT) $(REPO_URI)"
    for line in said(["apt-get", "indextargets", "--format", columns]).splitlines():
        origin, component, uri = line.split()[:3]
        if (origin, component) == ("Debian", "main") and "security" not in uri:
            return uri.rstrip("/")
    raise AbsentError(
        "apt knows no Debian mirror (after apt-get update): kernels are given by path"
    )


class Apt:
    """A separate apt for one suite, which leaves the machine's as it is."""

    def __init__(self, suite: str, arch: str) -> None:
        self.directory = cache() / f"apt-{suite}-{arch}"
        for each in ("lists/partial", "cache/archives/partial"):
            (self.directory / each).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        source = f"deb [arch={arch} signed-by={KEYS}] {mirror()} {suite} main\n"
        (self.directory / "sources.list").write_text(source)
        settings = {
            "Dir::State": self.directory,
            "Dir::State::status": self.directory / "status",
            "Dir::Cache": self.directory / "cache",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::SourceList": self.directory / "sources.list",
            "APT::Architecture": arch,
            "APT::Architectures": arch,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        self.conf = self.directory / "conf"
        self.conf.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
        self.run("apt-get", "update", "-qq")

    def run(self, *command: str) -> str:
        return said(list(command), APT_CONFIG=str(self.conf))

    def unpack(self, packages: Iterable[str], to: Path) -> None:
        """Unpacks packages into a directory, which appears when it is complete."""
        debs, half = self.directory / "debs", to.with_name(f"{to.name}.half")
        for each in (debs, half):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(parents=True)
        command = ["apt-get", "download", "-qq", *packages]
        done = subprocess.run(command, cwd=debs, env={**os.environ, "APT_CONFIG": str(self.conf)})
        if done.returncode:
            raise AbsentError(f"apt-get download: {done.returncode}")
        for deb in debs.iterdir():
            said(["dpkg", "-x", str(deb), str(half)])
        half.rename(to)
        shutil.rmtree(debs)

    def forget(self) -> None:
        shutil.rmtree(self.directory)


def kernel(suite: str, arch: str = "amd64") -> Path:
    """The folder with the unpacked packages of the suite's newest cloud kernel."""
    directory = cache() / f"{suite}-{arch}"
    if not directory.exists():
        print(f"fetching the kernel of {suite} ({arch})", file=sys.stderr, flush=True)
        apt = Apt(suite, arch)
        image = f"linux-image-cloud-{arch}"
        needed = apt.run("apt-cache", "depends", "--recurse", "-i", image)
        kinds = rf"^linux-(?:image|base|binary|modules)-\d.*-cloud-{arch}$"
        packages = sorted(set(re.findall(kinds, needed, re.MULTILINE)))
        if not packages:
            raise AbsentError(f"{suite} has no {image}")
        apt.unpack(packages, directory)
        apt.forget()
    return directory


def busybox(arch: str) -> Path:
    """This machine's busybox, or the one for another processor."""
    if arch == "amd64":
        own = shutil.which("busybox")
        if own is None:
            raise AbsentError("no busybox (busybox-static)")
        return Path(own)
    directory = cache() / f"busybox-{arch}"
    if not directory.exists():
        apt = Apt("bookworm", arch)
        apt.unpack(["busybox-static"], directory)
        apt.forget()
    return next(directory.glob("**/bin/busybox"))
