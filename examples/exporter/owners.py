"""Whose a network namespace is: the pod and the containers of the processes inside.

Asked of what the host has anyway, and of no daemon: the processes' cgroups tell the
containers' ids; what runtimes and CNI keep about these tells names.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

# A cgroup of a container: by systemd (docker-ID.scope, cri-containerd-ID.scope) or by
# the runtime itself (/docker/ID, /kubepods/burstable/podUID/ID).
CONTAINER = re.compile(r"(?:([a-z-]+)-)?([0-9a-f]{64})(?:\.scope)?")
POD = re.compile(r"(?:kubepods[a-z-]*-)?pod([0-9a-f]{32}|[0-9a-f]{8}(?:[-_][0-9a-f]{4,12}){4})")
RUNTIMES = {
    "cri-containerd": "containerd",
    "crio": "cri-o",
    "docker": "docker",
    "libpod": "podman",
    "nerdctl": "containerd",
}
# What runs beside a container, outside of it, in a cgroup with the same id.
MONITORS = {"crio-conmon", "libpod-conmon"}

# Where a runtime has a folder for each container, named by its id; the file in it that
# says what the container was told; and which runtime that is.
FILES = (
    ("run/containerd/io.containerd.runtime.v2.task/*", "config.json", "containerd"),
    ("run/k3s/containerd/io.containerd.runtime.v2.task/*", "config.json", "containerd"),
    ("run/containers/storage/*-containers", "userdata/config.json", "cri-o"),
    ("var/lib/containers/storage/*-containers", "userdata/config.json", "podman"),
    ("var/lib/docker/containers", "config.v2.json", "docker"),
)
PODMAN_NAMES = "var/lib/containers/storage/*-containers/containers.json"
CNI_RESULTS = "var/lib/cni/results/*"
# How a pod and a container are called there: by containerd, by CRI-O and cri-dockerd.
CRI = "io.kubernetes.cri.sandbox-{}", "io.kubernetes.cri.container-name"
KUBELET = "io.kubernetes.pod.{}", "io.kubernetes.container.name"


class Pod(NamedTuple):
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Container(NamedTuple):
    id: str  # as Kubernetes writes it: containerd://0123…
    name: str


class Owner(NamedTuple):
    pod: Pod = Pod()
    containers: tuple[Container, ...] = ()


class Owners:
    """Asks for owners. `look_again` before each round: what was read is kept until then."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.kept: dict[str, tuple[tuple[int, ...], Any]] = {}
        self.asked: set[str] = set()
        self.folders: list[tuple[str, str, str]] = []
        self.podman: dict[str, str] = {}
        self.pinned: dict[str, Pod] = {}

    def look_again(self) -> None:
        """Forget what nobody has asked for since the last time; read the lists anew."""
        self.kept = {path: kept for path, kept in self.kept.items() if path in self.asked}
        self.asked = set()
        self.folders = [
            (folder, file, runtime)
            for pattern, file, runtime in FILES
            for folder in self.glob(pattern)
        ]
        self.podman, self.pinned = {}, {}
        for path in self.glob(PODMAN_NAMES):
            self.podman.update(self.read(path, names_of_podman) or {})
        for path in self.glob(CNI_RESULTS):
            self.pinned.update(self.read(path, pod_of_attachment) or {})

    def of(self, pids: Collection[int], names: Iterable[str]) -> Owner:
        """Of the processes inside and of the names in the run directory.

        The host's own namespace has processes of many pods, and is no pod's.
        """
        pods: set[Pod] = set()
        containers: set[Container] = set()
        for id, (runtime, uid) in containers_of(pids).items():
            pod, container = self.container(runtime, id, uid)
            pods.add(pod)
            containers.add(container)
        # A sandbox may be a virtual machine: no process of it is inside.
        pods |= {self.pinned[name] for name in names if name in self.pinned}
        # Each source may lack a fact; where two say different ones it is no one pod's.
        facts = [set(told) - {""} for told in zip(*pods)]
        is_one = 1 not in pids and all(len(told) <= 1 for told in facts)
        pod = Pod(*(min(told, default="") for told in facts)) if is_one else Pod()
        return Owner(pod, tuple(sorted(containers)))

    def container(self, runtime: str, id: str, uid: str) -> tuple[Pod, Container]:
        pod, name = Pod(uid=uid), self.podman.get(id, "")
        for folder, file, whose in self.folders:
            found = self.read(f"{folder}/{id}/{file}", names_of_container)
            if found is not None:
                pod = found[0]._replace(uid=found[0].uid or uid) if found[0].name else pod
                name = name or found[1]
                runtime = runtime or whose
        return pod, Container(f"{runtime or 'unknown'}://{id}", name)

    def glob(self, pattern: str) -> list[str]:
        return glob.glob(os.path.join(glob.escape(self.root), pattern))

    def read(self, path: str, extract: Callable[[Any], T]) -> T | None:
        """What a file of JSON says, asked again if the file is another or was written since.

        None where it can't be read: another user's, gone meanwhile, half written.
        """
        self.asked.add(path)
        try:
            status = os.stat(path)
            identity = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
            kept = self.kept.get(path)
            if kept is None or kept[0] != identity:
                with open(path, encoding="utf-8") as file:
                    kept = self.kept[path] = identity, extract(json.load(file))
        except (OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError):
            return None  # not what it is taken for: somebody else's format
        return cast("T", kept[1])


def text(told: object) -> str:
    """As a label can have it: JSON may have halves of characters in it."""
    return str("" if told is None else told).encode(errors="backslashreplace").decode()


def names_of_container(config: dict[str, Any]) -> tuple[Pod, str]:
    """The pod and the name, of an OCI bundle's configuration or of Docker's own."""
    told = config.get("annotations") or (config.get("Config") or {}).get("Labels") or {}
    for of_pod, of_container in (CRI, KUBELET):
        pod = Pod(*(text(told.get(of_pod.format(fact))) for fact in Pod._fields))
        if pod.name:
            return pod, text(told.get(of_container))
    return Pod(), text(config.get("Name")).lstrip("/")


def names_of_podman(containers: list[dict[str, Any]]) -> dict[str, str]:
    """Each container's id with its first name."""
    return {each["id"]: text(each["names"][0]) for each in containers if each.get("names")}


def pod_of_attachment(kept: dict[str, Any]) -> dict[str, Pod]:
    """The name of the namespace with its pod, of what libcni keeps of an ADD."""
    told = dict(kept.get("cniArgs") or ())
    pod = Pod(*(text(told.get(f"K8S_POD_{fact.upper()}")) for fact in Pod._fields))
    interfaces = (kept.get("result") or {}).get("interfaces") or ()
    paths = {kept.get("netns"), *(each.get("sandbox") for each in interfaces)}
    return {os.path.basename(path): pod for path in paths if path and pod.name}


def containers_of(pids: Iterable[int]) -> dict[str, tuple[str, str]]:
    """Each container's id with the runtime and the pod's uid, as far as cgroups tell."""
    found: dict[str, tuple[str, str]] = {}
    for cgroups in set(map(cgroups_of, pids)):  # most processes are in few
        for runtime, id, uid in containers_in(cgroups):
            known = found.get(id, ("", ""))
            found[id] = known[0] or runtime, known[1] or uid
    return found


def cgroups_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # ended, or another user's under hidepid
        return ""


def containers_in(cgroups: str) -> set[tuple[str, str, str]]:
    """Runtime, id and the pod's uid of each container that these cgroups are of.

    The innermost: a container may run others, and podman's pods have ids as well.
    """
    found = set()
    for line in cgroups.splitlines():
        uid = runtime = id = ""
        for part in line.rpartition(":")[2].split("/"):
            pod = POD.fullmatch(part.removesuffix(".slice"))
            container = CONTAINER.fullmatch(part)
            if pod:
                uid = pod[1].replace("_", "-")
            elif container and container[1] not in MONITORS:
                runtime, id = RUNTIMES.get(container[1], ""), container[2]
        if id:
            found.add((runtime, id, uid))
    return found
