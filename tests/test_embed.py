"""The C library as others build against it, and the C example."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

import netns
from support import PREFIX

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
CONSUMER = ROOT / "tests" / "c" / "embed" / "consumer.c"
CONFIG = [sys.executable, "-W", "error", "-m", "netns", "config"]
PUBLIC = set(re.findall(r"^\t\t(netns_\w+);$", (CSRC / "netns.map").read_text(), re.MULTILINE))

pytestmark = pytest.mark.timeout(400)  # the library is compiled with all its tests


def check_output(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make install` filled as DESTDIR; made/, beside it, has the products."""
    tool("cc")
    work = tmp_path_factory.mktemp("embed")
    make: list[str | Path] = [
        tool("make"),
        "-C",
        CSRC,
        f"out={work}/made",
        f"DESTDIR={work}/root",
        "PREFIX=/usr",
    ]
    check_output(*make, "-j2", "install", "amalgamation", CFLAGS="-O0")
    return work / "root"


def test_the_same_bits_wherever_they_are_built(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(
        CSRC, tmp_path / "copy" / "csrc", ignore=shutil.ignore_patterns("build")
    )
    check_output(tool("make"), "-C", copy, "all", CFLAGS="-O0")
    for product in ("libnetns.a", "libnetns.so"):
        made = (copy / "build" / "release" / product).read_bytes()
        assert made == (root.parent / "made" / product).read_bytes()


def built(target: Path, *arguments: str | Path) -> Path:
    check_output(tool("cc"), "-Wall", "-Wextra", "-Werror", "-o", target, *arguments)
    return target


def defined(path: Path, *options: str) -> set[str]:
    lines = check_output(tool("nm"), "--defined-only", *options, path).splitlines()
    return {line.split()[2].split("@")[0] for line in lines if len(line.split()) == 3}


def pkg_config(root: Path, *options: str) -> list[str]:
    where = {
        "PKG_CONFIG_LIBDIR": str(root / "usr/lib/pkgconfig"),
        "PKG_CONFIG_SYSROOT_DIR": str(root),
        "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
        "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1",
    }
    return shlex.split(check_output(tool("pkg-config"), *options, "netns", **where))


def config(*options: str) -> list[str]:
    return shlex.split(check_output(*CONFIG, *options))


def test_the_libraries_define_nothing_else(root: Path) -> None:
    """A host that has another such name of its own could not be linked with them."""
    names = defined(root / "usr/lib/libnetns.so", "--dynamic")
    assert names - {"NETNS_0.1"} == PUBLIC
    for archive in (root / "usr/lib/libnetns.a", Path(netns.get_library_dir(), "libnetns.a")):
        names = defined(archive, "--extern-only")
        # A test build has the fault seam as well.
        names = {name for name in names if not name.startswith("fault_")}
        assert names >= PUBLIC
        assert {name for name in names if not name.startswith(("netns_", "netns__"))} == set()
        assert {n for n in names if n.startswith("netns_") and n[6] != "_"} == PUBLIC


def test_shared(root: Path, tmp_path: Path) -> None:
    flags = pkg_config(root, "--cflags", "--libs")
    consumer = built(tmp_path / "consumer", CONSUMER, *flags)
    assert "[libnetns.so.0]" in check_output(tool("readelf"), "--dynamic", consumer)
    check_output(consumer, LD_LIBRARY_PATH=str(root / "usr/lib"))
    assert pkg_config(root, "--modversion") == [netns.__version__]


def test_static(root: Path, tmp_path: Path) -> None:
    assert "-pthread" in pkg_config(root, "--static", "--libs")
    archive: list[str | Path] = [root / "usr/lib/libnetns.a", "-pthread"]
    check_output(built(tmp_path / "consumer", CONSUMER, *pkg_config(root, "--cflags"), *archive))


def test_with_the_package(tmp_path: Path) -> None:
    assert (Path(netns.get_include()) / "netns.h").read_bytes() == (CSRC / "netns.h").read_bytes()
    cflags, libs = config("--cflags"), config("--libs")
    assert config("--cflags", "--libs") == cflags + libs
    check_output(built(tmp_path / "consumer", CONSUMER, *cflags, *libs))
    assert subprocess.run(CONFIG, capture_output=True).returncode == 1


def test_in_an_extension_of_somebody_elses(tmp_path: Path) -> None:
    """An extension that links the archive does not export the library's names."""
    (tmp_path / "other.c").write_text(
        "#include <netns.h>\nconst char *other(void);\n"
        "const char *other(void)\n{\n\treturn netns_version();\n}\n"
    )
    flags = config("--cflags", "--libs")
    other = built(tmp_path / "other.so", "-shared", "-fPIC", tmp_path / "other.c", *flags)
    assert defined(other, "--dynamic") == {"other"}


def test_copied_into_a_program(root: Path, tmp_path: Path) -> None:
    """A program may take the sources into its own tree, or the single file made of them."""
    for folder in (CSRC / "core", CSRC / "discover"):
        for path in folder.glob("*.[ch]"):
            shutil.copy(path, tmp_path)
    shutil.copy(CSRC / "netns.h", tmp_path)
    copies = [path for path in sorted(tmp_path.glob("*.c")) if path.name != "fault.c"]
    flags = ["-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-pthread", f"-I{tmp_path}"]
    check_output(built(tmp_path / "consumer", CONSUMER, *copies, *flags))
    one = root.parent / "made/one"
    assert sorted(path.name for path in one.iterdir()) == ["netns.c", "netns.h"]
    check_output(built(tmp_path / "one", CONSUMER, one / "netns.c", f"-I{one}", "-pthread"))


def test_each_call_has_a_manual_page(root: Path) -> None:
    pages = root / "usr/share/man/man3"
    assert {path.stem for path in pages.iterdir()} == {"netns", *PUBLIC}
    for page in pages.iterdir():
        text = page.read_text()
        if text.startswith(".so man3/"):
            page = pages / text.split("/")[1].strip()
            assert f"{page.stem}(" in page.read_text()
        else:
            assert ".SH NAME\nnetns" in text
            assert f'"netns {netns.__version__}"' in text


def turn_up_loopback(host: netns.NetNS) -> None:
    with IPRoute() as route:
        route.link("set", index=1, state="up")


@pytest.fixture
def named() -> Iterator[dict[str, netns.NetNS]]:
    made = {f"{PREFIX}{i}": netns.create(f"{PREFIX}{i}") for i in range(50)}
    try:
        yield made
    finally:
        for ns in made.values():
            ns.close()
        netns.delete(*made)


def test_the_example(tmp_path: Path, named: dict[str, netns.NetNS]) -> None:
    shutil.copytree(ROOT / "examples" / "c", tmp_path / "c")
    flags = shlex.join(config("--cflags", "--libs"))
    check_output(tool("make"), "-B", "-C", tmp_path / "c", f"NETNS={flags}", "CFLAGS=-Werror")
    program = tmp_path / "c" / "ifcounters"

    def counted() -> dict[str, dict[str, int]]:
        shown = json.loads(check_output(program, "--json"))
        inodes = [each["ino"] for each in shown]
        assert len(inodes) == len(set(inodes))
        mine = {each["label"]: each for each in shown if each["label"] in named}
        assert {name: each["ino"] for name, each in mine.items()} == {
            name: ns.ino for name, ns in named.items()
        }
        return {name: each["interfaces"]["lo"] for name, each in mine.items()}

    before = counted()
    busy = next(iter(named.values()))
    busy.do(turn_up_loopback)
    with busy.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        for _ in range(7):
            sock.sendto(bytes(1000), sock.getsockname())
            sock.recv(1000)
    after = counted()
    (moved,) = [name for name in named if after[name] != before[name]]
    assert named[moved] is busy
    assert after[moved]["rx_packets"] == after[moved]["tx_packets"] == 7
    assert after[moved]["rx_bytes"] >= 7000
    lines = [line.split() for line in check_output(program).splitlines()]
    assert lines[0][0] == "INTERFACE"
    assert sum(line[0] == "lo" and line[-1] in named for line in lines) == 50
    (line,) = [line for line in lines if line[0] == "lo" and line[-1] == moved]
    assert line[1:3] == [str(after[moved]["rx_bytes"]), "7"]
