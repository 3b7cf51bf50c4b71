"""Container runtimes before, beside and after the library: who can remove whose pins.

And containerd's pods, as a kubelet makes them: on the network of examples/cni, and in a
Prometheus by the exporter of examples/.

Not in the default run: it starts containerd and podman, each in a mount and network
namespace of its own, with an image that it makes itself of busybox. By `tox -e
containers`, or `pytest tests/containers.py` as root. A tool that is missing is a skip
that names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import netns

RUN = Path("/run/netns")
EXAMPLE = Path(__file__).resolve().parent.parent / "examples/cni"
NOBODY = 65534
EXPORTER = EXAMPLE.parent / "exporter"
LABELS = ["namespace", "pod", "node"]
PLUGINS = "/usr/lib/cni"
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "test",
    "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.88.77.0/24"}}],
}


def tool(*command: object, **more: object) -> str:
    told = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=60,
        **more,  # type: ignore[call-overload]
    )
    if told.returncode:
        raise AssertionError(f"{command}: {told.returncode}: {told.stderr}")
    return str(told.stdout).strip()


class Containerd:
    """Its CRI plugin, asked as a kubelet does: sandboxes, pinned by the runtime."""

    needs = ("containerd", "ctr", "runc", "busybox")

    def __init__(self, folder: Path, network: object = NETWORK, plugins: object = PLUGINS) -> None:
        import grpc

        self.socket = folder / "socket"
        (folder / "cni").mkdir()
        (folder / "cni/test.conflist").write_text(json.dumps(network))
        (folder / "config.toml").write_text(f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
[debug]
level = "debug"
[grpc]
address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
disable_cgroup = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{folder}/cni"
""")
        self.log = (folder / "log").open("w")
        self.daemon = subprocess.Popen(
            ["containerd", "--config", folder / "config.toml"], stderr=self.log, stdout=self.log
        )
        deadline = time.monotonic() + 30
        while subprocess.run(self.ctr("version"), capture_output=True).returncode:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        self.import_image(folder / "pause.tar")
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")

    def ctr(self, *words: object) -> list[str]:
        return ["ctr", "-a", str(self.socket), "-n", "k8s.io", *map(str, words)]

    def import_image(self, path: Path) -> None:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(os.path.realpath(shutil.which("busybox") or ""), "sleep")
        digest = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
        image = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/sleep", "3600"]},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        }
        names = {"Config": "image", "RepoTags": ["localhost/pause:1"], "Layers": ["layer"]}
        with tarfile.open(path, "w") as tar:
            for name, data in (
                ("image", json.dumps(image).encode()),
                ("layer", layer.getvalue()),
                ("manifest.json", json.dumps([names]).encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        tool(*self.ctr("images", "import", "--snapshotter", "native", path))

    @staticmethod
    def field(number: int, data: bytes) -> bytes:
        """A field of a message of protocol buffers, shorter than 128 bytes."""
        assert len(data) < 128
        return bytes((number << 3 | 2, len(data))) + data

    @staticmethod
    def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
        """The fields of a message that are messages or text themselves."""
        rest = iter(data)

        def number() -> int:
            byte = next(rest)
            return byte if byte < 128 else (byte & 127) + (number() << 7)

        for key in iter(lambda: next(rest, None), None):
            size = number()
            if key & 7 == 2:
                yield key >> 3, bytes(next(rest) for _ in range(size))

    def addresses(self, container: str) -> list[str]:
        """Of a pod's status, as a kubelet asks for it: the first, then the others."""
        answer = self.call("PodSandboxStatus", self.field(1, container.encode()))
        status = dict(self.fields(answer))[1]
        network = list(self.fields(dict(self.fields(status))[5]))
        others = [dict(self.fields(each))[1] for number, each in network if number == 2]
        return [each.decode() for each in (dict(network)[1], *others)]

    def call(self, method: str, message: bytes) -> bytes:
        call = self.channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", None, None)
        return bytes(call(message, timeout=60))

    def start(self, name: str) -> str:
        text = name.encode()
        metadata = self.field(1, text) + self.field(2, text) + self.field(3, b"test")
        config = self.field(1, metadata) + self.field(8, b"")
        return self.call("RunPodSandbox", self.field(1, config))[2:].decode()

    def stop(self, container: str) -> None:
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            self.call(method, self.field(1, container.encode()))

    def close(self) -> None:
        self.channel.close()
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait()
        self.log.close()


class Podman:
    """Rootful, with CNI, as Debian 12 has it."""

    needs = ("podman", "runc", "conmon", "busybox")

    def __init__(self, folder: Path) -> None:
        self.rootfs = make_rootfs(folder)
        (folder / "net.d").mkdir()
        (folder / "net.d/test.conflist").write_text(json.dumps(NETWORK))
        (folder / "containers.conf").write_text(f"""
[network]
network_backend = "cni"
cni_plugin_dirs = ["{PLUGINS}"]
network_config_dir = "{folder}/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
""")
        self.environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
        self.podman = ["podman", "--root", folder / "root", "--runroot", folder / "runroot"]
        self.podman += ["--tmpdir", folder / "tmp", "--storage-driver", "vfs"]

    def start(self, name: str) -> str:
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        limits += ["--security-opt", "seccomp=unconfined"]
        run = [*self.podman, "run", "--detach", "--network", "test", "--name", name, *limits]
        return tool(*run, "--rootfs", self.rootfs, "/bin/sleep", "3600", env=self.environment)

    def stop(self, container: str) -> None:
        tool(*self.podman, "rm", "--force", "--time", "0", container, env=self.environment)

    def close(self) -> None:
        pass


def make_rootfs(folder: Path) -> Path:
    rootfs = folder / "rootfs"
    for each in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        (rootfs / each).mkdir(parents=True)
    shutil.copy(os.path.realpath(shutil.which("busybox") or ""), rootfs / "bin/busybox")
    for each in ("sleep", "readlink"):
        (rootfs / "bin" / each).symlink_to("busybox")
    for each in ("group", "hosts", "passwd", "resolv.conf"):
        (rootfs / "etc" / each).touch()
    return rootfs


RUNTIMES: dict[str, type[Containerd] | type[Podman]] = {
    "containerd": Containerd,
    "podman": Podman,
}


class Table:
    """What was removed by whom: each step is one line."""

    def __init__(self, runtime: Containerd | Podman) -> None:
        self.runtime = runtime
        self.pins: dict[str, str] = {}

    def start(self, name: str) -> str:
        """Returns the container; its pin is what is new in the run directory."""
        before = set(os.listdir(RUN)) if RUN.exists() else set()
        container = self.runtime.start(name)
        (self.pins[container],) = set(os.listdir(RUN)) - before
        mode = (RUN / self.pins[container]).stat().st_mode & 0o777
        print(f"{name}: made by the runtime, {self.pins[container]}, mode {mode:04o}")
        return container

    def gone(self, pin: str, who: str) -> None:
        assert pin not in os.listdir(RUN), os.listdir(RUN)
        assert pin not in Path("/proc/self/mountinfo").read_text()
        print(f"{pin}: removed by {who}")

    def stop(self, container: str) -> None:
        self.runtime.stop(container)
        self.gone(self.pins[container], "the runtime")


def scenario(runtime: Containerd | Podman) -> None:
    table = Table(runtime)
    first, second, third = (table.start(f"before-{i}") for i in range(3))
    with netns.create("ours-1") as ns:
        assert ns.do(lambda host: os.readlink("/proc/thread-self/ns/net")) == f"net:[{ns.ino}]"
    # Twice each where the runtime has mounted the directory on itself as ip netns does.
    mounts = Path("/proc/self/mountinfo").read_text()
    assert mounts.count("/netns/ours-1 ") == mounts.count(f"/netns/{table.pins[first]} ")
    print("ours-1: made by the library, as the first that shares the run directory")
    beside = table.start("beside")
    assert netns.names() == sorted([*table.pins.values(), "ours-1"])
    for pin in table.pins.values():
        with netns.open(pin) as ns:
            names = ns.do(lambda host: [name for _, name in __import__("socket").if_nameindex()])
            assert "eth0" in names, names
    print("all entered by the library:", ", ".join(netns.names()))
    table.stop(first)
    table.stop(beside)
    netns.delete(table.pins[second])
    table.gone(table.pins[second], "the library")
    with contextlib.suppress(AssertionError):  # what it says where its pin is gone is its own
        runtime.stop(second)
    ip = shutil.which("ip") or "/usr/sbin/ip"
    if os.path.exists(ip):
        tool(ip, "netns", "delete", table.pins[third])
        table.gone(table.pins[third], "ip netns")
        with contextlib.suppress(AssertionError):
            runtime.stop(third)
    else:
        table.stop(third)
    netns.delete("ours-1")
    table.gone("ours-1", "the library")
    table.stop(table.start("after"))
    left = [name for name in os.listdir(RUN) if name not in netns.names()]
    assert not netns.names()
    print("files left in the run directory:", left or "none")
    assert not left


def pods(folder: Path) -> None:
    """The plugin of examples/, installed as its README says, is the network of two pods."""
    plugins = folder / "bin"
    plugins.mkdir()
    for each in ("host-local", "loopback"):
        (plugins / each).symlink_to(Path(PLUGINS, each))
    lines = (EXAMPLE / "plugin.py").read_text().splitlines()
    program = plugins / "netns-link"
    program.write_text("\n".join([f"#!{sys.executable} -I", *lines[1:], ""]))
    program.chmod(0o755)
    network = json.loads((EXAMPLE / "pods.conflist").read_text())
    network["plugins"][0]["ipam"]["dataDir"] = str(folder / "data")

    def held() -> list[str]:
        files = (folder / "data/pods").glob("[0-9f]*")
        return sorted(each.name for each in files)

    def at_home(*words: str) -> str:
        return tool("ip", *words)

    found = at_home("-brief", "link"), set(Path("/var/lib/cni/results").glob("*"))
    runtime = Containerd(folder, network, plugins)
    try:
        table = Table(runtime)
        made = {name: table.start(name) for name in ("pod-a", "pod-b")}
        places = {name: runtime.addresses(container) for name, container in made.items()}
        for name, addresses in places.items():
            print(f"{name}: {', '.join(addresses)}, by PodSandboxStatus")
            assert [":" in address for address in addresses] == [False, True]
        print(at_home("-brief", "address"), at_home("route"), at_home("-6", "route"), sep="\n")
        assert held() == sorted(each for both in places.values() for each in both)
        for one, other in (("pod-a", "pod-b"), ("pod-b", "pod-a")):
            with (
                netns.open(table.pins[made[one]]) as here,
                netns.open(table.pins[made[other]]) as there,
            ):
                for family, address, seen in zip(
                    (socket.AF_INET, socket.AF_INET6), places[other], places[one]
                ):
                    with (
                        there.create_server((address, 0), family=family) as server,
                        here.create_connection(server.getsockname()[:2], timeout=20) as client,
                        server.accept()[0] as accepted,
                    ):
                        accepted.sendall(b"hello")
                        assert client.recv(5) == b"hello"
                        assert accepted.getpeername()[0] == seen
                        print(f"{one} {seen} <- {other} {address}: hello")
        # A kubelet may stop a pod as often as it likes.
        runtime.call("StopPodSandbox", runtime.field(1, made["pod-a"].encode()))
        for container in made.values():
            table.stop(container)
    finally:
        runtime.close()
        log = (folder / "log").read_text().splitlines()
        told = ("cni setup", "cni result", "level=error")
        print(*(line for line in log if any(each in line for each in told)), sep="\n")
    assert held() == []
    assert (at_home("-brief", "link"), set(Path("/var/lib/cni/results").glob("*"))) == found
    assert at_home("route") == at_home("-6", "route") == ""
    assert not any(RUN.iterdir())
    print("left: no link, no route, no address, no result of libcni's, no name")


def watched(folder: Path) -> None:
    """The exporter of examples/ says whose they are; Prometheus joins that with the cluster's."""
    from prometheus_client import CollectorRegistry, Gauge, start_http_server

    tool("ip", "link", "set", "lo", "up")
    Path("/run/containerd").symlink_to(folder / "state")
    cluster = CollectorRegistry()
    known = Gauge("kube_pod_info", "As kube-state-metrics has it.", LABELS, registry=cluster)
    other, _ = start_http_server(0, "127.0.0.1", cluster)
    runtime = Containerd(folder)
    exporter = subprocess.Popen(
        [sys.executable, EXPORTER / "exporter.py", "--address", "127.0.0.1", "--interval", "1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    targets = [f"127.0.0.1:{port}" for port in (19119, other.server_port)]
    (folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{EXPORTER}/rules.yaml"]
scrape_configs: [{{job_name: netns, honor_labels: true, static_configs: [{{targets: {targets}}}]}}]
""")
    prometheus = subprocess.Popen(
        [
            "prometheus",
            "--log.level=warn",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/metrics",
            "--web.listen-address=127.0.0.1:9090",
        ]
    )

    def ask(query: str) -> list[dict[str, dict[str, str]]]:
        text = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/query?{text}") as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return list(told["data"]["result"])

    try:
        made = {name: runtime.start(name) for name in ("pod-a", "pod-b")}
        for name in made:
            known.labels("test", name, "node-1").set(1)
        joined = """
            netns_link_receive_packets_total{device="eth0"}
                * on (instance, netns) group_left (namespace, pod) netns_info{pod!=""}
                * on (namespace, pod) group_left (node) kube_pod_info"""
        deadline = time.monotonic() + 60
        found: set[tuple[str, ...]] = set()
        while found != {("test", name, "node-1") for name in made}:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)  # Prometheus tells nobody when it is up, or has scraped
            with contextlib.suppress(urllib.error.URLError):
                rows = [each["metric"] for each in ask(joined)]
                found = {tuple(row[label] for label in LABELS) for row in rows}
        print("by one query:", *rows, sep="\n")
        ids = {row["metric"]["container_id"] for row in ask("netns_container_info")}
        print("containers:", *sorted(ids), sep="\n")
        assert {f"containerd://{container}" for container in made.values()} <= ids
        board = json.loads((EXPORTER / "dashboard.json").read_text())
        queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        for query in queries:
            query = re.sub(r'"\$(instance|namespace|pod|netns)"', '".*"', query)
            query = query.replace("$__rate_interval", "1m")
            # Nothing is sent again here; the rest is there after some scrapes.
            while not (seen := ask(query)) and "retransmit" not in query:
                assert time.monotonic() < deadline, query
                time.sleep(0.2)
            print(f"{len(seen)} of {query}")
        assert len(queries) >= 8
        for container in made.values():
            runtime.stop(container)
        while {row["metric"].get("pod") for row in ask("netns_info")} & set(made):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        for child in (prometheus, exporter):
            child.terminate()
            child.wait()
        runtime.close()


def named(folder: Path) -> None:
    """The exporter of examples/ knows a podman container by its name."""
    sys.path.insert(0, str(EXPORTER))
    import owners

    runtime = Podman(folder)
    (folder / "host/var/lib/containers").mkdir(parents=True)
    (folder / "host/var/lib/containers/storage").symlink_to(folder / "root")
    container = runtime.start("web")
    inspect = [*runtime.podman, "inspect", "--format", "{{.State.Pid}}", container]
    pid = int(tool(*inspect, env=runtime.environment))
    asked = owners.Owners(str(folder / "host"))
    asked.look_again()
    told = asked.of([pid], [])
    print(Path(f"/proc/{pid}/cgroup").read_text(), told)
    runtime.stop(container)
    assert told == (owners.Pod(), ((f"podman://{container}", "web"),))


def rootless(folder: Path) -> None:
    """A user's podman: its pin is in mount namespaces of its own, the file is everybody's."""
    cgroup, tun = Path("/sys/fs/cgroup"), Path("/dev/net")
    subprocess.run(["umount", "-l", cgroup], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "none", cgroup], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", tun], check=True)
    os.mknod(tun / "tun", 0o020666, os.makedev(10, 200))
    (tun / "tun").chmod(0o666)
    Path("/run/systemd").mkdir()
    subprocess.run(["chown", "-R", str(NOBODY), make_rootfs(folder)], check=True)
    run = folder / "xdg"
    for each in (run, folder / "home"):
        each.mkdir(mode=0o700)
        os.chown(each, NOBODY, NOBODY)
    user = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={folder}/home"]
    user += [f"XDG_RUNTIME_DIR={run}", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}"]
    user += ["--clear-groups", "podman", "--log-level", "error", "--runtime", "crun"]
    user += ["--cgroup-manager", "cgroupfs", "--storage-driver", "vfs"]
    limits = ["--cgroups=disabled", "--ulimit", "host", "--security-opt", "seccomp=unconfined"]
    where = run / "netns"
    try:
        inside = ["readlink", "/proc/self/ns/net"]
        command = [*user, "unshare", "--rootless-netns", *inside]
        print("before, podman unshare --rootless-netns:", tool(*command, cwd="/"))
        print("its file as others see it:", [(p.name, p.stat().st_size) for p in where.iterdir()])
        assert netns.names(rundir=where) == []
        netns.create("ours", rundir=where).close()
        assert netns.names(rundir=where) == ["ours"]
        print("beside, podman unshare --rootless-netns:", tool(*command, cwd="/"))
        run_it = [*user, "run", "--rm", "--network", "slirp4netns", *limits, "--rootfs"]
        print("podman run:", tool(*run_it, folder / "rootfs", *inside, cwd="/"))
        netns.delete("ours", rundir=where)
        print("after, podman unshare --rootless-netns:", tool(*command, cwd="/"))
        for left in list(where.iterdir()):
            netns.delete(left.name, rundir=where)
            print(f"{left.name}: the file removed by the library")
        assert not any(where.iterdir())
    finally:
        with contextlib.suppress(OSError):
            os.kill(int((run / "libpod/tmp/pause.pid").read_text()), signal.SIGKILL)


def missing(*tools: str) -> list[str]:
    return [
        each
        for each in tools
        if shutil.which(each, path=os.environ["PATH"] + ":/usr/sbin") is None
    ]


def run_alone(*words: str) -> None:
    """This file as a program, with a /run, CNI's files, mounts and a network of its own."""
    alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    script = 'mount -t tmpfs none /run; mount --make-"$1" /run; shift; '
    script += 'mkdir -p /var/lib/cni; mount -t tmpfs none /var/lib/cni; exec "$@"'
    told = subprocess.run(
        [*alone, "sh", "-ec", script, "sh", *words[:1], sys.executable, __file__, *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    print(told.stdout)
    assert told.returncode == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("propagation", ["shared", "private"])
@pytest.mark.parametrize("name", RUNTIMES)
def test_before_beside_and_after(name: str, propagation: str) -> None:
    if lacks := missing(*RUNTIMES[name].needs):
        reason = f"not installed: {', '.join(lacks)}"
        pytest.skip(reason)
    if not Path(PLUGINS, "ptp").exists():
        reason = f"not installed: {PLUGINS}/ptp (containernetworking-plugins)"
        pytest.skip(reason)
    if name == "containerd":
        pytest.importorskip("grpc")
    run_alone(propagation, name)


@pytest.mark.timeout(300)
def test_pods_on_the_network_of_the_example() -> None:
    if lacks := missing(*Containerd.needs, "ip"):
        reason = f"not installed: {', '.join(lacks)}"
        pytest.skip(reason)
    if not Path(PLUGINS, "host-local").exists():
        reason = f"not installed: {PLUGINS}/host-local (containernetworking-plugins)"
        pytest.skip(reason)
    pytest.importorskip("grpc")
    pytest.importorskip("pyroute2")
    run_alone("shared", "pods")


def test_the_manifest_by_the_schema_of_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    yaml = pytest.importorskip("yaml")
    manifest = yaml.safe_load((EXPORTER / "daemonset.yaml").read_text())
    for version in ("1.30", "1.34"):
        validate(manifest, version, strict=True)
    del manifest["spec"]["selector"]
    with pytest.raises(Exception, match="selector"):
        validate(manifest, "1.30", strict=True)


@pytest.mark.timeout(300)
def test_pods_in_prometheus() -> None:
    if lacks := missing(*Containerd.needs, "prometheus", "ip"):
        reason = f"not installed: {', '.join(lacks)}"
        pytest.skip(reason)
    pytest.importorskip("grpc")
    run_alone("shared", "watched")


@pytest.mark.timeout(300)
def test_podman_containers_have_names() -> None:
    if lacks := missing(*Podman.needs):
        reason = f"not installed: {', '.join(lacks)}"
        pytest.skip(reason)
    run_alone("shared", "named")


@pytest.mark.timeout(300)
def test_rootless_podman() -> None:
    if lacks := missing("podman", "crun", "slirp4netns", "setpriv", "busybox"):
        reason = f"not installed: {', '.join(lacks)}"
        pytest.skip(reason)
    run_alone("shared", "rootless")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="netns-containers-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        while subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL).returncode == 0:
            pass
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    with folder() as where:
        alone = {each.__name__: each for each in (pods, rootless, watched, named)}
        if sys.argv[1] in alone:
            alone[sys.argv[1]](where)
        else:
            runtime = RUNTIMES[sys.argv[1]](where)
            try:
                scenario(runtime)
            finally:
                runtime.close()
