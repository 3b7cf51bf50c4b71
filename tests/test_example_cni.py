"""The CNI plugin of examples/: by the specification's protocol, and by libcni."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import netns

pytest.importorskip("pyroute2")
from pyroute2 import IPRoute

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/cni"
STANDARD = "/usr/lib/cni:/opt/cni/bin"
LIBCNI = "/usr/share/gocode/src/github.com/containernetworking/cni/libcni"

needs_host_local = pytest.mark.skipif(
    shutil.which("host-local", path=STANDARD) is None,
    reason="there is no host-local (Debian's package containernetworking-plugins)",
)


class Runtime:
    """Calls the plugin as a runtime does, from a home of its own."""

    def __init__(self, tmp_path: Path, home: netns.NetNS, box: str) -> None:
        path = tmp_path / "bin"
        path.mkdir()
        script = path / "netns-link"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {EXAMPLE}/plugin.py "$@"\n')
        script.chmod(0o755)
        self.home = home
        self.data = tmp_path / "data"
        self.env = {
            "PATH": os.environ["PATH"],
            "CNI_PATH": f"{path}:{STANDARD}",
            "CNI_CONTAINERID": box,
            "CNI_NETNS": f"/run/netns/{box}",
            "CNI_IFNAME": "eth0",
        }

    def run(self, *command: str | Path, text: str = "", **env: str | None) -> Any:
        wanted = {k: v for k, v in {**self.env, **env}.items() if v is not None}
        return self.home.do(
            lambda host: subprocess.run(
                command, input=text, capture_output=True, text=True, env=wanted, timeout=60
            )
        )

    def __call__(self, command: str, conf: Any, **env: str | None) -> Any:
        text = conf if isinstance(conf, str) else json.dumps(conf)
        command_line = [self.env["CNI_PATH"].split(":")[0] + "/netns-link"]
        done = self.run(*command_line, text=text, CNI_COMMAND=command, **env)
        assert done.stderr == ""
        answer = json.loads(done.stdout) if done.stdout else None
        assert done.returncode == (1 if answer and "code" in answer else 0)
        return answer

    def conf(self, **more: Any) -> dict[str, Any]:
        return {"cniVersion": "1.0.0", "name": "potato", **more}

    def veth(self) -> dict[str, Any]:
        ranges = [[{"subnet": "10.88.0.0/24", "gateway": "10.88.0.1"}]]
        ipam = {"type": "host-local", "dataDir": str(self.data), "ranges": ranges}
        return self.conf(kind="veth", ipam={**ipam, "routes": [{"dst": "0.0.0.0/0"}]})

    def held(self) -> list[str]:
        """The addresses that host-local has given and not been given back."""
        return sorted(path.name for path in self.data.glob("potato/10.*"))


@pytest.fixture
def box(name: str) -> Iterator[netns.NetNS]:
    with netns.create(name) as ns:
        yield ns


@pytest.fixture
def runtime(tmp_path: Path, ns: netns.NetNS, box: netns.NetNS) -> Runtime:
    assert box.name is not None
    return Runtime(tmp_path, ns, box.name)


def links(ns: netns.NetNS) -> set[str]:
    def look(host: netns.NetNS) -> set[str]:
        with IPRoute() as route:
            return {link.get_attr("IFLA_IFNAME") for link in route.get_links()}

    return ns.do(look)


def kind_that_there_is(ns: netns.NetNS) -> str:
    """Asked of ip(8), not of the code under test."""
    command = ["ip", "link", "add", "type", "dummy"]
    if ns.do(lambda host: subprocess.run(command, capture_output=True)).returncode:
        print("this kernel has no driver of dummy links; ifb is taken in its place")
        return "ifb"
    return "dummy"


def test_it_is_short() -> None:
    assert len((EXAMPLE / "plugin.py").read_text().splitlines()) < 250


def test_version(runtime: Runtime) -> None:
    answer = runtime("VERSION", {"cniVersion": "1.1.0"})
    assert answer == {"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}


def test_a_link_without_addresses(runtime: Runtime, box: netns.NetNS) -> None:
    with netns.new() as scratch:
        conf = runtime.conf(cniVersion="1.1.0", kind=kind_that_there_is(scratch), ipam={})
    before = links(runtime.home)
    result = runtime("ADD", conf)
    (made,) = result["interfaces"]
    assert (made["name"], made["sandbox"]) == ("eth0", runtime.env["CNI_NETNS"])
    assert (result["cniVersion"], result["ips"]) == ("1.1.0", [])
    assert "eth0" in links(box)
    assert runtime("CHECK", {**conf, "prevResult": result}) is None
    assert runtime("ADD", conf)["code"] == 100  # there is one of that name
    assert "eth0" in links(box)
    assert runtime("STATUS", conf) is None
    assert runtime("DEL", conf) is None
    assert "eth0" not in links(box)
    assert runtime("CHECK", {**conf, "prevResult": result})["code"] == 101
    assert runtime("DEL", conf) is None
    assert links(runtime.home) == before


@needs_host_local
def test_chained_with_addresses(runtime: Runtime, box: netns.NetNS) -> None:
    """A link of its own, then a veth: home and the container reach each other."""
    with netns.new() as scratch:
        kind = kind_that_there_is(scratch)
    first = runtime("ADD", runtime.conf(kind=kind, device="first0"))
    conf = {**runtime.veth(), "prevResult": first}
    result = runtime("ADD", conf)
    assert [each["name"] for each in result["interfaces"]][:2] == ["first0", "eth0"]
    (ip,) = result["ips"]
    assert (ip["interface"], ip["gateway"]) == (1, "10.88.0.1")
    address = ip["address"].split("/")[0]
    assert runtime.held() == [address]
    with (
        box.create_server((address, 0)) as server,
        runtime.home.create_connection(server.getsockname(), timeout=20) as client,
    ):
        assert client.getsockname()[0] == "10.88.0.1"
    check = {**conf, "prevResult": result}
    assert runtime("CHECK", check) is None
    subprocess.run(
        ["ip", "-n", str(box.name), "addr", "del", ip["address"], "dev", "eth0"], check=True
    )
    assert runtime("CHECK", check)["code"] == 101
    assert runtime("DEL", check) is None
    assert runtime("DEL", check) is None
    assert runtime.held() == []
    assert "first0" in links(box)
    assert "eth0" not in links(box)
    assert links(runtime.home) == {"lo"}


@needs_host_local
def test_what_fails_leaves_nothing(runtime: Runtime, box: netns.NetNS) -> None:
    before = links(box)
    failed = runtime("ADD", {**runtime.veth(), "kind": "nothing"})
    assert failed["code"] == 100
    assert (runtime.held(), links(box), links(runtime.home)) == ([], before, {"lo"})


@needs_host_local
def test_the_container_is_gone_first(runtime: Runtime, name: str) -> None:
    conf = runtime.veth()
    runtime("ADD", conf)
    netns.delete(name)
    assert runtime("DEL", conf, CNI_NETNS=None) is None
    assert (runtime.held(), links(runtime.home)) == ([], {"lo"})


@needs_host_local
def test_what_is_no_attachment_any_more_is_collected(runtime: Runtime) -> None:
    conf = runtime.veth()
    del conf["ipam"]["routes"]  # one container has one way out
    kept = runtime("ADD", conf)["interfaces"][1]["name"]
    runtime("ADD", conf, CNI_IFNAME="eth1")
    runtime("ADD", {**runtime.conf(kind="veth"), "name": "tomato"}, CNI_IFNAME="eth2")
    before = links(runtime.home)
    assert len(before) == 4
    valid = [{"containerID": runtime.env["CNI_CONTAINERID"], "ifname": "eth0"}]
    assert runtime("GC", {**conf, "cni.dev/valid-attachments": valid}) is None
    after = links(runtime.home)
    assert kept in after
    assert len(after) == len(before) - 1


def test_collecting_goes_on_behind_what_fails(runtime: Runtime, tmp_path: Path) -> None:
    """A loopback cannot be deleted; the rest goes, and the address plugin is asked."""
    plugin, asked = tmp_path / "bin/addresses", tmp_path / "asked"
    plugin.write_text(f'#!/bin/sh\necho "$CNI_COMMAND" >>{asked}\necho "{{}}"\n')
    plugin.chmod(0o755)
    conf = runtime.conf(cniVersion="1.1.0", kind="veth", ipam={"type": "addresses"})
    mark = runtime.run("ip", "link", "set", "lo", "alias", "netns-cni potato gone eth9")
    assert mark.returncode == 0, mark.stderr
    runtime("ADD", conf)
    assert len(links(runtime.home)) == 2
    # libcni says null where none is valid.
    assert runtime("GC", {**conf, "cni.dev/valid-attachments": None})["code"] == 100
    assert links(runtime.home) == {"lo"}
    assert asked.read_text().split() == ["ADD", "GC"]


def test_collecting_is_told_what_is_valid(runtime: Runtime) -> None:
    """Or it deletes nothing."""
    conf = runtime.conf(cniVersion="1.1.0", kind="veth")
    runtime("ADD", conf)
    before = links(runtime.home)
    assert runtime("GC", conf)["code"] == 6
    assert links(runtime.home) == before


@pytest.mark.parametrize(
    "conf",
    [
        {"prevResult": 5},
        {"prevResult": {"ips": None}},
        {"prevResult": {"interfaces": {}}},
        {"ipam": {"type": "addresses"}},
    ],
)
def test_what_is_not_as_specified_leaves_nothing(
    runtime: Runtime, box: netns.NetNS, tmp_path: Path, conf: Any
) -> None:
    """The address plugin's answer included: an address it has given is given back."""
    plugin, asked = tmp_path / "bin/addresses", tmp_path / "asked"
    plugin.write_text(f'#!/bin/sh\necho "$CNI_COMMAND" >>{asked}\necho \'{{"ips": [{{}}]}}\'\n')
    plugin.chmod(0o755)
    before = links(box)
    assert runtime("ADD", runtime.conf(kind="veth", **conf))["code"] == 6
    assert (links(box), links(runtime.home)) == (before, {"lo"})
    if "ipam" in conf:
        assert asked.read_text().split() == ["ADD", "DEL"]


def test_an_address_plugin_that_is_no_program(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "bin/broken").write_text("no program")
    (tmp_path / "bin/broken").chmod(0o755)
    assert runtime("ADD", runtime.conf(ipam={"type": "broken"}))["code"] == 5


@pytest.mark.parametrize(
    ("command", "conf", "env", "code"),
    [
        ("ADD", {}, {"CNI_NETNS": None}, 4),
        ("ADD", {}, {"CNI_IFNAME": "a/b"}, 4),
        ("ADD", {}, {"CNI_CONTAINERID": "-"}, 4),
        ("MULTIPLY", {}, {}, 4),
        ("", {}, {}, 4),
        ("ADD", "{", {}, 6),
        ("ADD", "[]", {}, 6),
        ("ADD", '{"cniVersion": "1.0.0", "name": 5}', {}, 6),
        ("ADD", {"name": None}, {}, 7),
        ("ADD", {"name": "a b"}, {}, 7),  # would be collected with network a
        ("ADD", {"name": "../a"}, {}, 7),
        ("ADD", {"cniVersion": "0.1.0"}, {}, 1),
        ("ADD", {}, {"CNI_NETNS": "/nonexistent"}, 3),
        ("ADD", {}, {"CNI_NETNS": "/dev/null"}, 3),
        ("CHECK", {}, {}, 7),
        ("CHECK", {"prevResult": {"interfaces": [{}]}}, {}, 6),
        ("CHECK", {"prevResult": {"ips": [{"address": "10.0.0.1/8", "interface": 4}]}}, {}, 6),
        ("GC", {"cni.dev/valid-attachments": [{}]}, {}, 6),
        ("ADD", {"ipam": "host-local"}, {}, 6),
        ("ADD", {"ipam": {"type": 7}}, {}, 6),
        ("ADD", {"kind": "no-such-kind"}, {}, 100),
        ("ADD", {"ipam": {"type": "no-such-plugin"}}, {}, 7),
        ("STATUS", {"ipam": {"type": "no-such-plugin"}}, {}, 50),
        ("STATUS", {"ipam": {"type": "../escape"}}, {}, 50),
    ],
)
def test_errors(
    runtime: Runtime, command: str, conf: Any, env: dict[str, str | None], code: int
) -> None:
    given = conf if isinstance(conf, str) else runtime.conf(**conf)
    answer = runtime(command, given, **env)
    assert answer["code"] == code
    assert set(answer) == {"cniVersion", "code", "msg", "details"}
    assert answer["msg"]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runtime that is libcni's, as containerd's and CRI-O's are."""
    if shutil.which("go") is None or not Path(LIBCNI).is_dir():
        pytest.skip("no Go, or no libcni (golang-github-containernetworking-cni-dev)")
    path = tmp_path_factory.mktemp("libcni")
    env = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(path / "cache")}
    subprocess.run(
        ["go", "build", "-o", path / "runtime", ROOT / "tests/cni/runtime.go"],
        env={**os.environ, **env},
        check=True,
    )
    return path / "runtime"


@needs_host_local
@pytest.mark.timeout(400)  # it is compiled too, with all that it imports
def test_by_libcni(runtime: Runtime, box: netns.NetNS, driver: Path, tmp_path: Path) -> None:
    """ADD, CHECK and DEL of a chain, by what runtimes are made of."""
    chain = json.loads((EXAMPLE / "dual.conflist").read_text())
    with netns.new() as scratch:
        chain["plugins"][0]["kind"] = kind_that_there_is(scratch)
    chain["plugins"][1]["ipam"]["dataDir"] = str(runtime.data)
    conflist = tmp_path / "dual.conflist"
    conflist.write_text(json.dumps(chain))

    def by_libcni(command: str) -> Any:
        done = runtime.run(driver, command, conflist, tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    result = by_libcni("add")
    assert [each["name"] for each in result["interfaces"]][:2] == ["dummy0", "eth0"]
    assert {"dummy0", "eth0"} <= links(box)
    by_libcni("check")
    by_libcni("del")
    assert not {"dummy0", "eth0"} & links(box)
    assert links(runtime.home) == {"lo"}
