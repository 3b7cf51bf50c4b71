"""The CNI plugin of examples/: by the specification's protocol, and by libcni."""

from __future__ import annotations

import json
import os
import shutil
import socket
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
        self.program = script
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
        done = self.run(self.program, text=text, CNI_COMMAND=command, **env)
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

    def dual(self, **more: Any) -> dict[str, Any]:
        """What nearly every cluster has: both families, one way out of each."""
        (plugin,) = json.loads((EXAMPLE / "pods.conflist").read_text())["plugins"]
        plugin["ipam"]["dataDir"] = str(self.data)
        return self.conf(**{**plugin, **more})

    def held(self) -> list[str]:
        """The addresses that host-local has given and not been given back."""
        return sorted(
            each.name
            for each in self.data.glob("potato/*")
            if each.name[-1].isdigit() and not each.name.startswith("last")
        )

    def script(self, name: str, text: str) -> Path:
        """An address plugin; returns the file that it writes its commands into."""
        plugin, asked = Path(self.env["CNI_PATH"].split(":")[0]) / name, self.data.parent / "asked"
        plugin.write_text(f'#!/bin/sh\necho "$CNI_COMMAND" >>{asked}\n{text}\n')
        plugin.chmod(0o755)
        return asked


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


def network(ns: netns.NetNS) -> dict[str, Any]:
    """The addresses and routes that were configured, asked of ip(8); fe80::/64 is the kernel's."""

    def ask(host: netns.NetNS, *words: str) -> Any:
        return json.loads(subprocess.check_output(["ip", "-j", *words]) or b"[]")

    addresses = {
        (link["ifname"], f"{at['local']}/{at['prefixlen']}")
        for link in ns.do(ask, "address")
        for at in link["addr_info"]
        if link["ifname"] != "lo" and not at["local"].startswith("fe80")
    }
    routes = {
        tuple(each.get(key) for key in ("dst", "gateway", "dev", "prefsrc"))
        for family in ("-4", "-6")
        for each in ns.do(ask, family, "route")
        if not each["dst"].startswith(("fe80", "multicast"))
    }
    return {"addresses": addresses, "routes": routes}


def setting(ns: netns.NetNS, path: str, value: str | None = None) -> str:
    file = Path("/proc/sys/net", path)
    if value is not None:
        ns.do(lambda host: file.write_text(value))
    return ns.do(lambda host: file.read_text().strip())


def path_of(ns: netns.NetNS) -> str:
    return f"/proc/{os.getpid()}/fd/{ns.fileno()}"


def test_it_is_short() -> None:
    assert len((EXAMPLE / "plugin.py").read_text().splitlines()) < 350


def test_version(runtime: Runtime) -> None:
    """As it is checked out: a program."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for version in ("1.0.0", "1.1.0"):
        text = json.dumps({"cniVersion": version})
        done = runtime.run(EXAMPLE / "plugin.py", text=text, PATH=path, CNI_COMMAND="VERSION")
        answer = {"cniVersion": version, "supportedVersions": ["1.0.0", "1.1.0"]}
        assert json.loads(done.stdout) == answer


@pytest.mark.parametrize("module", ["pyroute2", "netns"])
def test_without_what_it_imports(runtime: Runtime, tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError(f'no {__name__} here')")
    answer = runtime("ADD", runtime.conf(), PYTHONPATH=str(tmp_path))
    assert (answer["code"], f"no {module} here" in answer["msg"]) == (50, True)


def test_without_standard_input(runtime: Runtime) -> None:
    closed = 'exec "$0" "$1" <&-'
    program = EXAMPLE / "plugin.py"
    done = runtime.run("sh", "-c", closed, sys.executable, program, CNI_COMMAND="ADD")
    assert (json.loads(done.stdout)["code"], done.stderr) == (5, "")


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
    assert [each["name"] for each in result["interfaces"]][::2] == ["first0", "eth0"]
    (ip,) = result["ips"]
    assert (ip["interface"], ip["gateway"]) == (2, "10.88.0.1")
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
def test_two_containers_of_a_dual_stack_network(runtime: Runtime, box: netns.NetNS) -> None:
    """Through the host, by either family, also where IPv6 is off for links to come.

    The configuration is 1.1's; Debian's host-local, which knows 1.0, serves it all the same.
    """
    conf = runtime.dual(cniVersion="1.1.0")
    home = runtime.home
    with netns.new() as other:
        for ns in (home, box):
            setting(ns, "ipv6/conf/default/disable_ipv6", "1")
        setting(home, "ipv4/ip_forward", "0")
        first = runtime("ADD", conf)
        second = runtime("ADD", conf, CNI_CONTAINERID="other", CNI_NETNS=path_of(other))
        assert first["cniVersion"] == "1.1.0"
        assert len(runtime.held()) == len(first["ips"]) + len(second["ips"]) == 4
        assert setting(home, "ipv4/ip_forward") == "1"
        assert setting(home, "ipv6/conf/all/forwarding") == "1"
        for family, to, by in zip((socket.AF_INET, socket.AF_INET6), first["ips"], second["ips"]):
            address, source = (ip["address"].split("/")[0] for ip in (to, by))
            for ns, seen in ((other, source), (home, to["gateway"])):
                with (
                    box.create_server((address, 0), family=family) as server,
                    ns.create_connection(server.getsockname()[:2], timeout=20) as client,
                ):
                    assert client.getsockname()[0] == seen
        # GC without any valid attachment: both go, and the second time there is nothing to do.
        assert runtime("GC", {**conf, "cni.dev/valid-attachments": []}) is None
        assert runtime("GC", {**conf, "cni.dev/valid-attachments": []}) is None
        assert links(home) == {"lo"}
        # The addresses are left where host-local is older than GC.
        assert runtime("DEL", conf, CNI_CONTAINERID="other", CNI_NETNS=None) is None
    assert not {ip["address"].split("/")[0] for ip in second["ips"]} & set(runtime.held())


def needs_plugin(name: str) -> None:
    if shutil.which(name, path=STANDARD) is None:
        pytest.skip(f"there is no {name} (Debian's package containernetworking-plugins)")


@needs_host_local
@pytest.mark.parametrize("reference", ["ptp", "bridge"])
def test_beside_the_reference_plugins(runtime: Runtime, box: netns.NetNS, reference: str) -> None:
    """The same request: what they answer, and what is inside and at home."""
    needs_plugin(reference)
    conf = runtime.dual(isGateway=True)
    program = shutil.which(reference, path=STANDARD)
    assert program is not None

    def theirs(command: str) -> str:
        done = runtime.run(program, text=json.dumps(conf), CNI_COMMAND=command)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    results, inside, outside = [], [], []
    for which in ("theirs", "ours"):
        result = runtime("ADD", conf) if which == "ours" else json.loads(theirs("ADD"))
        at_home = network(runtime.home)
        peers = {each["name"] for each in result["interfaces"] if "sandbox" not in each}
        # The names of what is at home are each plugin's own.
        (peer,) = peers - {"cni0"}
        text = json.dumps(result)
        for each in result["interfaces"]:
            text = text.replace(each["mac"], "MAC")
        results.append(json.loads(text.replace(peer, "peer")))
        inside.append(network(box))
        names = {"addresses": 0, "routes": 2}
        for key, at in names.items():
            assert {each[at] for each in at_home[key]} <= peers
        outside.append(
            {k: {(*e[:at], *e[at + 1 :]) for e in at_home[k]} for k, at in names.items()}
        )
        assert setting(runtime.home, "ipv4/ip_forward") == "1"
        assert setting(runtime.home, "ipv6/conf/all/forwarding") == "1"
        if which == "ours":
            assert runtime("CHECK", {**conf, "prevResult": result}) is None
            assert runtime("DEL", conf) is None
        else:
            theirs("DEL")
            runtime.run("ip", "link", "del", "cni0")  # where there is one, it stays
            shutil.rmtree(runtime.data)  # it would give other addresses
            for forwarding in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                setting(runtime.home, forwarding, "0")
    if reference == "ptp":
        assert results[0] == results[1]
        assert inside[0] == inside[1]
        assert outside[0] == outside[1]
        return
    # A bridge is one more interface, and its subnet is on the link.
    assert results[0]["interfaces"][1:] == results[1]["interfaces"]
    for result, at in zip(results, (2, 1)):
        assert [ip.pop("interface") for ip in result["ips"]] == [at, at]
    for key in ("cniVersion", "ips", "routes", "dns"):
        assert results[0][key] == results[1][key]
    assert inside[0]["addresses"] == inside[1]["addresses"]
    ways = [{each for each in way["routes"] if each[0] == "default"} for way in inside]
    assert ways[0] == ways[1]
    assert len(ways[0]) == 2
    assert outside[0]["addresses"] == {("10.88.0.1/24",), ("fd00:88::1/64",)}
    assert outside[1]["addresses"] == {("10.88.0.1/32",), ("fd00:88::1/128",)}


@needs_host_local
def test_added_twice_and_a_route_missing(runtime: Runtime, box: netns.NetNS) -> None:
    conf = runtime.dual()
    conf = {**conf, "prevResult": runtime("ADD", conf)}
    assert runtime("ADD", conf)["code"] == 100
    assert len(runtime.held()) == 2  # the second time gave nothing back
    subprocess.run(["ip", "-n", str(box.name), "-6", "route", "del", "default"], check=True)
    answer = runtime("CHECK", conf)
    assert (answer["code"], answer["msg"]) == (101, "eth0 lacks ::/0")
    runtime("DEL", conf)


@needs_host_local
def test_where_forwarding_cannot_be_set(runtime: Runtime, box: netns.NetNS) -> None:
    """It says so, and leaves nothing."""
    setting(runtime.home, "ipv4/ip_forward", "0")
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
    command = ["unshare", "--mount", "sh", "-ec", f'{read_only} && exec "$0"']
    text = json.dumps(runtime.veth())
    done = runtime.run(*command, runtime.program, text=text, CNI_COMMAND="ADD")
    answer = json.loads(done.stdout)
    assert (answer["code"], "ip_forward" in answer["msg"]) == (5, True), answer
    assert (runtime.held(), links(runtime.home)) == ([], {"lo"})
    assert "eth0" not in links(box)


@needs_host_local
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_status_of_what_is_older(runtime: Runtime, version: str) -> None:
    """Asked as libcni does: without a container, which Debian 12's host-local misses."""
    nobody = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"))
    assert runtime("STATUS", runtime.dual(cniVersion=version), **nobody) is None


@pytest.mark.parametrize(("said", "code"), [(4, None), (7, 7), (50, 50), (51, 51)])
def test_status_of_the_address_plugin(runtime: Runtime, said: int, code: int | None) -> None:
    text = f'echo \'{{"code": {said}, "msg": "no potatoes"}}\'; exit 1'
    asked = runtime.script("addresses", text)
    answer = runtime("STATUS", runtime.conf(ipam={"type": "addresses"}))
    assert (answer and (answer["code"], answer["msg"])) == (
        code and (code, "addresses: no potatoes")
    )
    assert asked.read_text().split() == ["STATUS"]


def test_the_address_plugin_fails(runtime: Runtime) -> None:
    """Then it is called again with DEL, as the specification says."""
    text = '[ "$CNI_COMMAND" = DEL ] || { echo \'{"code": 11, "msg": "later"}\'; exit 1; }'
    asked = runtime.script("addresses", text)
    answer = runtime("ADD", runtime.conf(kind="veth", ipam={"type": "addresses"}))
    assert (answer["code"], answer["msg"]) == (11, "addresses: later")
    assert asked.read_text().split() == ["ADD", "DEL"]


@needs_host_local
def test_what_fails_leaves_nothing(runtime: Runtime, box: netns.NetNS) -> None:
    before = links(box)
    failed = runtime("ADD", {**runtime.veth(), "kind": "nothing"})
    assert (failed["code"], "nothing link eth0" in failed["msg"]) == (100, True)
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
    kept = runtime("ADD", conf)["interfaces"][0]["name"]
    runtime("ADD", conf, CNI_IFNAME="eth1")
    runtime("ADD", {**runtime.conf(kind="veth"), "name": "tomato"}, CNI_IFNAME="eth2")
    before = links(runtime.home)
    assert len(before) == 4
    valid = [{"containerID": runtime.env["CNI_CONTAINERID"], "ifname": "eth0"}]
    assert runtime("GC", {**conf, "cni.dev/valid-attachments": valid}) is None
    after = links(runtime.home)
    assert kept in after
    assert len(after) == len(before) - 1


def test_collecting_goes_on_behind_what_fails(runtime: Runtime) -> None:
    """A loopback cannot be deleted; the rest goes, and the address plugin is asked."""
    asked = runtime.script("addresses", "echo {}")
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
    assert runtime("GC", conf)["code"] == 7
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
    runtime: Runtime, box: netns.NetNS, conf: Any
) -> None:
    """The address plugin's answer included: an address it has given is given back."""
    asked = runtime.script("addresses", "echo '{\"ips\": [{}]}'")
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
    ("command", "conf", "env", "code", "named"),
    [
        ("ADD", {}, {"CNI_NETNS": None, "CNI_CONTAINERID": "-"}, 4, "CNI_CONTAINERID, CNI_NETNS"),
        ("ADD", {}, {"CNI_IFNAME": "a/b"}, 4, "CNI_IFNAME"),
        ("DEL", {}, {"CNI_IFNAME": None}, 4, "CNI_IFNAME"),
        ("GC", {}, {"CNI_PATH": None}, 4, "CNI_PATH"),
        ("MULTIPLY", {}, {}, 4, "MULTIPLY"),
        ("", {}, {}, 4, "CNI_COMMAND"),
        ("ADD", "{", {}, 6, "JSON"),
        ("ADD", "", {}, 6, "JSON"),
        ("ADD", "[]", {}, 6, "JSON"),
        ("ADD", "[" * 100_000, {}, 6, "JSON"),
        ("VERSION", "potato", {}, 6, "JSON"),
        ("ADD", '{"cniVersion": "1.0.0", "name": 5}', {}, 7, "name"),
        ("ADD", {"name": None}, {}, 7, "name"),
        ("ADD", {"name": "a b"}, {}, 7, "name"),  # would be collected with network a
        ("ADD", {"name": "../a"}, {}, 7, "name"),
        ("ADD", {"cniVersion": "0.1.0"}, {}, 1, "cniVersion"),
        ("ADD", {"ipMasq": True}, {}, 2, "ipMasq: true"),
        ("ADD", {}, {"CNI_NETNS": "/nonexistent"}, 3, "/nonexistent"),
        ("ADD", {}, {"CNI_NETNS": "/dev/null"}, 3, "/dev/null"),
        ("CHECK", {}, {}, 7, "prevResult"),
        ("CHECK", {"prevResult": {"interfaces": [{}]}}, {}, 6, "eth0"),
        ("CHECK", {"prevResult": {"ips": [{"address": "10.0.0.1/8", "interface": 4}]}}, {}, 6, ""),
        ("GC", {"cni.dev/valid-attachments": [{}]}, {}, 6, "containerID"),
        ("ADD", {"ipam": "host-local"}, {}, 6, ""),
        ("ADD", {"ipam": {"type": 7}}, {}, 6, ""),
        ("ADD", {"kind": "no-such-kind"}, {}, 100, "no-such-kind link eth0"),
        ("ADD", {"kind": "ifb", "device": "lo"}, {}, 100, "ifb link lo"),
        ("ADD", {"ipam": {"type": "no-such-plugin"}}, {}, 7, "no-such-plugin"),
        ("STATUS", {"ipam": {"type": "no-such-plugin"}}, {}, 50, "no-such-plugin"),
        ("STATUS", {"ipam": {"type": "../escape"}}, {}, 50, "..escape"),
    ],
)
def test_errors(
    runtime: Runtime, command: str, conf: Any, env: dict[str, str | None], code: int, named: str
) -> None:
    given = conf if isinstance(conf, str) else runtime.conf(**conf)
    answer = runtime(command, given, **env)
    assert answer["code"] == code
    assert set(answer) == {"cniVersion", "code", "msg", "details"}
    assert named in answer["msg"]


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
    assert [each["name"] for each in result["interfaces"]][::2] == ["dummy0", "eth0"]
    assert {"dummy0", "eth0"} <= links(box)
    by_libcni("check")
    by_libcni("del")
    assert not {"dummy0", "eth0"} & links(box)
    assert links(runtime.home) == {"lo"}
