"""The exporter of examples/: namespaces come, go and count, as Prometheus would see it."""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

import netns

pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

import counters
import exporter
import owners
import web

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "exporter"
Samples = dict[tuple[str, str, str], float]  # by name, namespace and device


def up(ns: netns.NetNS) -> None:
    def body(host: netns.NetNS) -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    ns.do(body)


class Agent:
    """An exporter that runs in a namespace with a loopback device, as in a pod."""

    def __init__(self, host: netns.NetNS, child: subprocess.Popen[str]) -> None:
        self.host = host
        self.child = child
        assert child.stdout is not None
        self.url = child.stdout.readline().strip()

    def text(self) -> str:
        def body(host: netns.NetNS) -> str:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                return str(answer.read().decode())

        return self.host.do(body)

    def families(self) -> dict[str, list[dict[str, str]]]:
        """Each metric with the labels of its samples."""
        return {
            family.name: [sample.labels for sample in family.samples]
            for family in text_string_to_metric_families(self.text())
        }

    def scrape(self) -> Samples:
        found: Samples = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                if sample.name == "netns_container_info":
                    continue  # of this machine's, some in one namespace
                key = sample.name, sample.labels.get("netns", ""), sample.labels.get("device", "")
                assert key not in found
                found[key] = sample.value
        return found

    def until(self, label: str, there: bool, processes: int | None = None) -> Samples:
        """The first scrape in which that namespace is, with so many processes, or is no more."""
        deadline = time.monotonic() + 20
        while True:
            found = self.scrape()
            seen = found.get(("netns_processes", label, ""))
            if (seen is not None) == there and processes in (None, seen):
                return found
            assert time.monotonic() < deadline, f"{label} is{'' if there else ' still'} not there"


@contextlib.contextmanager
def agent(*options: str, address: str = "127.0.0.1") -> Iterator[Agent]:
    command = [sys.executable, "-W", "error", str(EXAMPLE / "exporter.py")]
    command += ["--address", address, "--port", "0", *options]
    with netns.new() as host:
        up(host)
        # Not host.popen(): its mount namespace would not see names that come later.
        child = host.do(
            lambda _: subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        )
        with child:
            try:
                yield Agent(host, child)
            finally:
                child.terminate()
        assert child.returncode == 0


def test_a_name_comes_and_goes(name: str) -> None:
    """Noticed by the name alone, long before the next scan; nothing of it is kept."""
    with agent("--interval", "3600") as running:
        before = running.scrape()
        assert ("netns_processes", name, "") not in before
        with netns.create(name) as made:
            found = running.until(name, there=True)
            label = f"net:[{made.ino}]"
        assert found["netns_link_receive_bytes_total", name, "lo"] == 0
        assert found["netns_link_running", name, "lo"] == 0
        assert found["netns_processes", name, ""] == 0
        netns.delete(name)
        after = running.until(name, there=False)
        assert not [key for key in after if key[1] in (name, label)]


def test_names_of_any_bytes_do_not_end_the_scrape(name: str) -> None:
    """Whoever is inside names devices as they like."""

    def lay(host: netns.NetNS) -> None:
        command = [b"ip", b"link", b"add", b'd\xff"', b"type", b"veth", b"peer", b"name", b"d\\"]
        subprocess.run(command, check=True)

    odd = name + os.fsdecode(b"\xff")
    try:
        with netns.create(odd) as ns, agent() as running:
            ns.do(lay)
            found = running.until(name + r"\xff", there=True)
    finally:
        netns.delete(odd)
    devices = {key[2] for key in found if key[:2] == ("netns_link_running", name + r"\xff")}
    assert devices == {"lo", r"d\xff" + '"', "d\\"}


def test_an_unnamed_one_is_given_up_and_dies(ns: netns.NetNS) -> None:
    """Though the agent's own sockets keep it: what only they hold is not kept."""

    def known(host: netns.NetNS, other: netns.NetNS) -> None:
        other.nsid = -1  # an id of it here goes with it

    with agent("--interval", "0.1") as running:
        with netns.new() as other:
            label = f"net:[{other.ino}]"
            ns.do(known, other)
            child = other.popen(["sleep", "infinity"])
        try:
            running.until(label, there=True, processes=1)
            assert len(ns.do(lambda host: netns.nsids())) == 1
        finally:
            child.kill()
            child.wait()
        running.until(label, there=False)
        deadline = time.monotonic() + 20
        while ns.do(lambda host: netns.nsids()):
            assert time.monotonic() < deadline, "the namespace is still alive"


@pytest.mark.parametrize("switch", [(), ("--switch",)], ids=["kept", "switch"])
def test_counters_move_with_traffic(name: str, switch: tuple[str, ...]) -> None:
    payload = b"potato" * 10_000
    with netns.create(name) as ns, agent(*switch) as running:
        up(ns)
        before = running.until(name, there=True)
        with ns.create_server(("127.0.0.1", 0)) as listening:
            one = ns.create_connection(listening.getsockname())
            other, _ = listening.accept()
            with one, other:
                one.sendall(payload)
                assert other.recv(len(payload), socket.MSG_WAITALL) == payload
                after = running.scrape()
        ended = running.scrape()

    def moved(metric: str, device: str = "") -> float:
        return after[metric, name, device] - before[metric, name, device]

    for way in ("receive", "transmit"):
        assert len(payload) < moved(f"netns_link_{way}_bytes_total", "lo") < 2 * len(payload)
        assert moved(f"netns_link_{way}_packets_total", "lo") >= 4
        assert moved(f"netns_tcp_{way}_segments_total") >= 4
        assert moved(f"netns_link_{way}_errors_total", "lo") == 0
    assert after["netns_link_running", name, "lo"] == 1
    assert moved("netns_tcp_active_opens_total") == 1
    assert moved("netns_tcp_passive_opens_total") == 1
    assert moved("netns_tcp_established") == 2
    assert ended["netns_tcp_established", name, ""] < 2
    kept = Path("/proc/net/stat/nf_conntrack").exists()
    assert (("netns_conntrack_entries", name, "") in after) == kept


@pytest.mark.parametrize("switch", [False, True], ids=["kept", "switch"])
def test_what_is_kept_of_a_namespace(name: str, switch: bool) -> None:
    """A socket and files, which a scrape reads from home; or a handle, to enter it."""
    options = ["--switch"] if switch else []
    with netns.create(name) as ns, agent("--interval", "3600", *options) as running:
        running.until(name, there=True)
        kept = []
        for fd in Path(f"/proc/{running.child.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a scrape's, closed since
                kept.append((os.readlink(fd), fd.stat()))
        assert any(os.path.samestat(stat, os.stat(ns.fileno())) for _, stat in kept) == switch
        assert any("/net/snmp" in link for link, _ in kept) == (not switch)
        # Before Linux 5.0 one thread would get the same file for all that it keeps open.
        opened = [link for link, _ in kept if "/net/snmp" in link]
        assert len(set(opened)) == len(opened)


def test_a_dump_of_many_devices(ns: netns.NetNS) -> None:
    def lay(host: netns.NetNS) -> list[str]:
        with IPRoute() as route:
            for i in range(40):
                peer = {"ifname": f"far{i}"}
                route.link("add", ifname=f"near{i}", kind="veth", peer=peer)
        return [device for _, device in socket.if_nameindex()]

    devices = ns.do(lay)
    links = counters.Counters(ns)
    try:
        buffer = bytearray(1 << 18)
        assert sorted(links.read_links(buffer)) == sorted(devices)
        assert len(devices) == 81
    finally:
        links.close()


def test_some_names_alone_and_gzip(name: str) -> None:
    with netns.create(name), agent() as running:
        running.until(name, there=True)

        def ask(host: netns.NetNS, query: str) -> bytes:
            packed = {"Accept-Encoding": "gzip"}
            request = urllib.request.Request(running.url + query, headers=packed)
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                return gzip.decompress(answer.read())

        everything = running.host.do(ask, "")
        some = "?name[]=netns_link_receive_bytes_total&name[]=process_open_fds&name[]=none"
        text = running.host.do(ask, some).decode()
    assert b"netns_tcp_established" in everything
    assert {family.name for family in text_string_to_metric_families(text)} == {
        "netns_link_receive_bytes",
        "process_open_fds",
    }
    assert f'netns="{name}"' in text


def test_a_scan_that_fails_does_not_end_the_agent(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes = iter([OSError(errno.EMFILE, "no descriptor"), None, KeyboardInterrupt()])

    def rescan() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    slept: list[float] = []
    running = exporter.Agent()
    monkeypatch.setattr(running, "rescan", rescan)
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(KeyboardInterrupt):
        running.follow(0.01)
    assert running.failed == 1
    assert "no descriptor" in capfd.readouterr().err
    assert slept[0] == 0.01
    assert 0 < slept[1] < 1, "scans have pauses"


def test_no_more_is_kept_than_descriptors_allow(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that there are some for scans and for scrapes, whatever comes."""
    running = exporter.Agent()
    with netns.create(name):
        try:
            with monkeypatch.context() as patched:
                patched.setattr(exporter, "places", lambda: 1)
                running.rescan()
                running.rescan()
                assert (len(running.kept), len(running.unread)) == (1, len(netns.discover()) - 1)
            running.rescan()
            assert b'netns="%b"' % name.encode() in running.page()
            assert not running.unread
        finally:
            running.close()


def test_more_clients_than_there_is_room_for() -> None:
    """They are hung up on; there is room again when others go."""

    def body(host: netns.NetNS) -> None:
        where = "127.0.0.1", int(running.url.rpartition(":")[2].partition("/")[0])
        with contextlib.ExitStack() as silent:
            for _ in range(web.AT_ONCE):
                silent.enter_context(socket.create_connection(where))
            with socket.create_connection(where, timeout=20) as refused:
                assert refused.recv(1) == b""
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(running.url, timeout=30):
                return
            assert time.monotonic() < deadline, "no room was made"

    with agent() as running:
        running.host.do(body)


@pytest.mark.timeout(250)
def test_the_soak_finds_nothing_and_the_bench_measures() -> None:
    with netns.new() as host:
        up(host)
        soak = host.run(
            [sys.executable, EXAMPLE / "churn.py", "1"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        print(soak.stdout, soak.stderr)
        assert soak.returncode == 0
        assert "flat" in soak.stdout
        bench = host.run(
            [sys.executable, EXAMPLE / "bench.py", "5", "3"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        print(bench.stdout, bench.stderr)
        assert bench.returncode == 0
        assert "ratio" in bench.stdout


def test_the_manifest_asks_for_what_is_needed_and_no_more() -> None:
    yaml = pytest.importorskip("yaml")
    manifest = yaml.safe_load((EXAMPLE / "daemonset.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "DaemonSet")
    template = manifest["spec"]["template"]
    selector = manifest["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    pod = template["spec"]
    assert pod["hostPID"] is True
    assert not {"hostNetwork", "hostIPC", "serviceAccountName"} & pod.keys()
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["privileged"] is False
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["SYS_ADMIN", "SYS_PTRACE"]}
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    names, *state = container["volumeMounts"]
    assert (names["mountPath"], volumes[names["name"]]) == ("/run/netns", "/var/run/netns")
    assert names["mountPropagation"] == "HostToContainer"
    options = dict(zip(container["args"][::2], container["args"][1::2]))
    for mount in state:
        assert mount["readOnly"] is True
        assert mount["mountPath"] == options["--root"] + volumes[mount["name"]]
    (port,) = container["ports"]
    assert port["containerPort"] == int(options["--port"])
    assert template["metadata"]["annotations"]["prometheus.io/port"] == options["--port"]


ID, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4
UID = "c7bd4d2b-9f8a-4c59-8d33-0b1d5b4d3f60"


@pytest.mark.parametrize(
    ("cgroups", "told"),
    [
        ("0::/\n", set()),
        ("0::/user.slice/user-0.slice/session-1.scope\n", set()),
        (f"0::/system.slice/docker-{ID}.scope\n", {("docker", ID, "")}),
        (f"0::/docker/{ID}\n", {("", ID, "")}),
        (f"12:cpu,cpuacct:/docker/{ID}/init\n4:memory:/docker/{ID}\n", {("", ID, "")}),
        (f"0::/../../kubepods/besteffort/pod{UID}/{ID}\n", {("", ID, UID)}),
        (
            f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
            f"{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope\n",
            {("containerd", ID, UID)},
        ),
        (
            f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/crio-{ID}.scope/x\n",
            {("cri-o", ID, UID)},
        ),
        (f"0::/kubepods/pod{'0a' * 16}/{ID}\n", {("", ID, "0a" * 16)}),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", {("podman", ID, "")}),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope\n", set()),
        (f"0::/kubepods.slice/crio-conmon-{ID}.scope\n", set()),
        (f"0::/docker/{ID[:-1]}\n", set()),
        (f"0::/docker/{OTHER}/kubelet/kubepods/pod{UID}/{ID}\n", {("", ID, UID)}),
        (f"0::/libpod_parent/{OTHER}/libpod-{ID}\n", {("podman", ID, "")}),
    ],
)
def test_a_container_by_its_cgroup(cgroups: str, told: set[tuple[str, str, str]]) -> None:
    assert owners.containers_in(cgroups) == told


def write(path: Path, told: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))


def cri(container: str) -> dict[str, object]:
    pod = {"namespace": "shop", "name": "cart-0", "uid": UID}
    told = {f"io.kubernetes.cri.sandbox-{fact}": value for fact, value in pod.items()}
    return {"annotations": {**told, "io.kubernetes.cri.container-name": container}}


def test_a_pod_and_its_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runtime's own file; what is no such file is no error."""
    of: dict[int, str] = {}
    monkeypatch.setattr(owners, "cgroups_of", lambda pid: of.get(pid, ""))
    asked = owners.Owners(str(tmp_path))
    pod = owners.Pod("shop", "cart-0", UID)

    of[10] = f"0::/kubepods/pod{UID}/{ID}"
    asked.look_again()
    unknown = owners.Container(f"unknown://{ID}", "")
    assert asked.of([10], []) == (owners.Pod(uid=UID), (unknown,))  # nothing else can be read

    bundle = tmp_path / "run/containerd/io.containerd.runtime.v2.task/k8s.io"
    write(bundle / ID / "config.json", cri(""))
    of[11] = f"0::/kubepods/pod{UID}/{OTHER}"
    write(bundle / OTHER / "config.json", cri("server"))
    asked.look_again()
    first, second = (f"containerd://{id}" for id in (ID, OTHER))
    assert asked.of([10, 11], []) == (pod, ((first, ""), (second, "server")))
    assert asked.of([1, 10, 11], []).pod == owners.Pod(), "the host's own namespace"
    attached = {"cniArgs": [["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "cart-0"]]}
    write(tmp_path / "var/lib/cni/results/x", {**attached, "netns": "/var/run/netns/cni-1"})
    asked.look_again()
    assert asked.of([10], ["cni-1"]).pod == pod, "CNI need not say the uid"
    (tmp_path / "var/lib/cni/results/x").unlink()
    other = json.loads(json.dumps(cri("x")).replace("cart", "till"))
    write(bundle / OTHER / "config.json", other)
    assert asked.of([10, 11], []).pod == owners.Pod(), "two pods'"
    (bundle / OTHER / "config.json").write_text("[]")
    assert asked.of([10, 11], []).pod == pod, "one that can't be read says nothing"

    of[12] = f"4:pids:/system.slice/docker-{OTHER}.scope\n0::/docker/{OTHER}"
    config = tmp_path / f"var/lib/docker/containers/{OTHER}/config.v2.json"
    write(config, {"Name": "/web", "Config": {"Labels": {}}})
    shutil.rmtree(bundle / OTHER)
    asked.look_again()
    assert asked.of([12], []).containers == ((f"docker://{OTHER}", "web"),)
    write(config, {"Name": "/ren\ud800", "Config": {"Labels": None}})
    assert asked.of([12], []).containers == ((f"docker://{OTHER}", r"ren\ud800"),)

    of[13] = f"0::/machine.slice/libpod-{OTHER}.scope/container"
    shutil.rmtree(config.parent)
    names = [{"id": OTHER, "names": ["db"]}, {"id": ID}]
    write(tmp_path / "var/lib/containers/storage/overlay-containers/containers.json", names)
    asked.look_again()
    assert asked.of([13], []).containers == ((f"podman://{OTHER}", "db"),)
    asked.look_again()
    asked.look_again()
    assert len(asked.kept) == 1, "only what was asked for is kept"


def test_the_process_of_a_real_cgroup(ns: netns.NetNS) -> None:
    place = next(
        (
            path
            for path in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"))
            if os.access(path, os.W_OK)
        ),
        None,
    )
    if place is None or not (place / "cgroup.procs").exists():
        pytest.skip("needs a directory of cgroups that may be written to")
    group = place / f"docker-{ID}.scope"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs a cgroup of its own: {error}")
    try:
        with ns.popen(["sleep", "60"]) as child:
            (group / "cgroup.procs").write_text(str(child.pid))
            told = owners.Owners().of([child.pid], [])
            child.kill()
    finally:
        group.rmdir()
    assert told.containers == ((f"docker://{ID}", ""),)


def test_pods_and_filters(name: str, tmp_path: Path) -> None:
    """By what CNI keeps of a pod that has no process there: a virtual machine."""
    result = {
        "kind": "cniCacheV1",
        "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "a"]],
        "result": {"interfaces": [{"name": "veth1"}, {"sandbox": f"/var/run/netns/{name}"}]},
    }
    write(tmp_path / "var/lib/cni/results/pods-0123-eth0", result)
    (tmp_path / "var/lib/cni/results/pods-4567-eth0").write_text("{")
    options = "--root", str(tmp_path), "--include", "shop/.*"
    with netns.create(name) as made, agent(*options) as running:
        text = running.until(name, there=True)
        assert {key[1] for key in text if key[0] == "netns_processes"} == {name}
        assert text["netns_exporter_unwanted_namespaces", "", ""] >= 1
        told = running.families()["netns_info"]
        whose = {"namespace": "shop", "pod": "a", "uid": ""}
        assert told == [{"netns": name, "ino": str(made.ino), **whose}]
    with netns.open(name), agent("--exclude", name) as running:
        families = running.families()
    kept = {labels["netns"] for labels in families["netns_processes"]}
    assert kept
    assert name not in kept
    assert families["netns_exporter_build_info"][0]["version"] == netns.__version__


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    def told(*options: str) -> str:
        command = [sys.executable, str(EXAMPLE / "exporter.py"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        in_use = told("--address", "127.0.0.1", "--port", port)
    assert f"can't listen on 127.0.0.1 port {port}: " in in_use
    assert "Address already in use" in in_use
    assert "Cannot assign" in told("--address", "2001:db8::1")
    assert "port 70000" in told("--port", "70000")
    assert "no.such.host.invalid" in told("--address", "no.such.host.invalid")
    assert "--include" in told("--include", "(")
    config = tmp_path / "web.yaml"
    for text, word in (
        ("basic_auth_users: {me: secret}", "me: not a bcrypt hash"),
        ("basic_auth_user: {}", "basic_auth_user is not known here"),
        ("tls_server_config: {key_file: k}", "cert_file is missing"),
        ("tls_server_config: {cert_file: none.pem}", "No such file"),
        ("basic_auth_users: {me: $2b$nonsense}", "me: not a bcrypt hash"),
        ("tls_server_config: {cert_file: 5}", "No such file"),
        ("tls_server_config: false", "a mapping is expected"),
        ("tls_server_config: {}", "cert_file is missing"),
        ("[]", "a mapping is expected"),
        ("- a list", "a mapping is expected"),
        ("{", "web.yaml"),
    ):
        config.write_text(text)
        assert word in told("--web.config.file", str(config)), text
    assert "No such file" in told("--web.config.file", str(tmp_path / "none"))


def test_by_ipv6_tls_and_a_password(tmp_path: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl(1), to make a certificate")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    whose = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:::1", "-days", "2"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    make = ["openssl", "req", "-x509", *key, *whose, *files]

    def issue(password: bytes) -> ssl.SSLContext:
        subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
        hashed = bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()
        (tmp_path / "web.yaml").write_text(
            "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
            f"basic_auth_users: {{scraper: '{hashed}'}}\n"
        )
        return ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    context = issue(b"pass:word")
    with agent("--web.config.file", str(tmp_path / "web.yaml"), address="::1") as running:
        assert running.url.startswith("https://[::1]:")

        def answer(user: str | None, context: ssl.SSLContext = context) -> int:
            request = urllib.request.Request(running.url)
            if user is not None:
                encoded = base64.b64encode(user.encode()).decode()
                request.add_header("Authorization", f"Basic {encoded}")
            try:
                with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                    assert b"netns_processes" in answer.read()
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        def body(host: netns.NetNS) -> list[int]:
            port = int(running.url.rpartition(":")[2].partition("/")[0])
            # Whoever says nothing keeps nobody waiting, in the handshake either.
            with socket.create_connection(("::1", port)):
                users = None, "scraper:pass:word", "scraper:password", "nobody:", "scraper"
                return [answer(user) for user in (*users, "scraper:" + 80 * "x")]

        assert running.host.do(body) == [401, 200, 401, 401, 401, 401]

        def later(host: netns.NetNS) -> list[int]:
            context = issue(b"another")
            users = "scraper:another", "scraper:pass:word"
            told = [answer(user, context) for user in users]
            (tmp_path / "web.yaml").write_text("{")  # half written
            return [*told, answer(users[0], context)]

        assert running.host.do(later) == [200, 401, 200], "the files are read again"


def test_promtool_finds_nothing(name: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    with netns.create(name), agent() as running:
        running.until(name, there=True)
        text = running.text()
    check = ["promtool", "check", "metrics"]
    found = subprocess.run(check, input=text, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    rules = ["promtool", "check", "rules", "rules.yaml"]
    subprocess.run(rules, cwd=EXAMPLE, check=True, timeout=60)
    subprocess.run(["promtool", "test", "rules", "rules-test.yaml"], cwd=EXAMPLE, check=True)
