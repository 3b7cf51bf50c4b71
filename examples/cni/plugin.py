#!/usr/bin/env python3
"""A CNI plugin (specification 1.1): one link of a container, made through Do(). See README.md."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_interface
from shutil import which
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

import netns

VERSIONS = ["1.0.0", "1.1.0"]
GONE = (netns.NotFoundError, netns.NotNamespaceError)
MARK = "netns-cni"  # begins the alias of our ends at home: what GC finds them by
Config = dict[str, Any]


class FailureError(Exception):
    """An error by the specification: its code, what is wrong, and more of it."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.answer = {"code": code, "msg": msg, "details": details}


# The specification's codes, and two of our own.
INCOMPATIBLE, UNKNOWN_CONTAINER, BAD_ENVIRONMENT, IO, UNDECODABLE, BAD_CONFIG = 1, 3, 4, 5, 6, 7
NOT_AVAILABLE, REFUSED, MISSING = 50, 100, 101
NAME = r"[a-zA-Z0-9][\w.\-]*"  # no blanks: they part the fields of a mark
VALID = {"CNI_CONTAINERID": NAME, "CNI_IFNAME": r"(?!\.\.?$)[^/:\s]{1,15}"}


def decode(text: str, what: str) -> Config:
    try:
        return {**json.loads(text)}
    except (TypeError, ValueError) as error:
        raise FailureError(UNDECODABLE, f"{what} is no JSON object", str(error)) from None


def configuration(command: str) -> Config:
    """Of the environment, what the command needs; all of what is on standard input."""
    needed = ["CNI_PATH"] if command in ("GC", "STATUS") else ["CNI_PATH", *VALID]
    for name in [*needed, "CNI_NETNS"] if command in ("ADD", "CHECK") else needed:
        if not re.fullmatch(VALID.get(name, ".+"), os.environ.get(name, ""), re.ASCII):
            raise FailureError(BAD_ENVIRONMENT, f"{name} is missing or not valid")
    conf = decode(sys.stdin.read(), "the configuration")
    if not re.fullmatch(NAME, conf.get("name") or "", re.ASCII):
        raise FailureError(BAD_CONFIG, "the network's name is missing or not valid")
    if conf.get("cniVersion") not in VERSIONS:
        raise FailureError(INCOMPATIBLE, f"cniVersion is not one of {', '.join(VERSIONS)}")
    return conf


def delegate(conf: Config, command: str = "STATUS") -> Config:
    """What the address plugin says; nothing where none is configured."""
    if not conf.get("ipam"):
        return {}
    name = conf["ipam"].get("type", "").replace("/", "")
    path = which(name, path=os.environ["CNI_PATH"])
    if path is None:
        code = NOT_AVAILABLE if command == "STATUS" else BAD_CONFIG
        raise FailureError(code, f"no address plugin {name!r} in CNI_PATH")
    env = {**os.environ, "CNI_COMMAND": command}
    done = subprocess.run([path], input=json.dumps(conf), capture_output=True, text=True, env=env)
    answer = decode(done.stdout or "{}", f"what {name} answers")
    if done.returncode:
        code, text = answer.get("code", REFUSED), answer.get("msg", done.stderr)
        if command in ("GC", "STATUS") and code in (INCOMPATIBLE, BAD_ENVIRONMENT):
            return {}  # it is older than these commands
        raise FailureError(code, f"{name}: {text}", answer.get("details", ""))
    return answer


def peer_name() -> str:
    """Of a veth's end at home: the same for the same attachment, in 15 characters."""
    key = "{CNI_CONTAINERID}/{CNI_IFNAME}".format_map(os.environ)
    return "veth" + hashlib.sha256(key.encode()).hexdigest()[:11]


def device(conf: Config) -> str:
    return str(conf.get("device", os.environ["CNI_IFNAME"]))


def alias(conf: Config, container: str, ifname: str) -> str:
    return f"{MARK} {conf['name']} {container} {ifname}"


def index_of(route: IPRoute, name: str) -> int | None:
    return next(iter(route.link_lookup(ifname=name)), None)


def make(host: netns.NetNS, name: str, kind: str, peer: str) -> None:
    """In the container's namespace. A veth's other end is born at home."""
    more = {"peer": {"ifname": peer, "net_ns_fd": host.fileno()}} if kind == "veth" else {}
    with IPRoute() as route:
        route.link("add", ifname=name, kind=kind, **more)


def set_up(host: netns.NetNS, name: str, addresses: Config) -> Any:
    """In the container's namespace: addresses, up, routes; the link's MAC."""
    ips = addresses.get("ips", [])
    with IPRoute() as route:
        index = index_of(route, name)
        for ip in map(ip_interface, (ip["address"] for ip in ips)):
            prefix = ip.network.prefixlen
            route.addr("add", index=index, address=str(ip.ip), prefixlen=prefix)
        route.link("set", index=index, state="up")
        gateway = next((ip["gateway"] for ip in ips if "gateway" in ip), None)
        for wanted in addresses.get("routes") or []:
            via = wanted.get("gw") or gateway
            route.route("add", dst=wanted["dst"], **({"gateway": via} if via else {"oif": index}))
        return route.get_links(index)[0].get_attr("IFLA_ADDRESS")


def set_up_peer(conf: Config, peer: str, addresses: Config) -> Any:
    """At home: the other end, marked, up, with the gateway's addresses; its MAC."""
    with IPRoute() as route:
        index = index_of(route, peer)
        mark = alias(conf, os.environ["CNI_CONTAINERID"], os.environ["CNI_IFNAME"])
        route.link("set", index=index, ifalias=mark, state="up")
        for ip in addresses.get("ips", []):
            address = ip_interface(ip["address"])
            whole = address.max_prefixlen
            if "gateway" in ip:
                route.addr("add", index=index, address=ip["gateway"], prefixlen=whole)
            route.route("add", dst=f"{address.ip}/{whole}", oif=index)
        return route.get_links(index)[0].get_attr("IFLA_ADDRESS")


def add(conf: Config) -> Config:
    path, kind = os.environ["CNI_NETNS"], conf.get("kind", "dummy")
    name, peer = device(conf), peer_name()
    before = {"interfaces": [], "ips": [], "routes": [], **conf.get("prevResult", {})}
    at = len(before["interfaces"])
    netns.check(path)
    with ExitStack() as undo:
        addresses = delegate(conf, "ADD")
        undo.callback(delegate, conf, "DEL")
        netns.do(path, make, name, kind, peer)
        undo.callback(netns.do, path, unlink, name)
        made = [{"name": name, "mac": netns.do(path, set_up, name, addresses), "sandbox": path}]
        if kind == "veth":
            made.append({"name": peer, "mac": set_up_peer(conf, peer, addresses)})
        result = {
            "cniVersion": conf["cniVersion"],
            "interfaces": before["interfaces"] + made,
            "ips": before["ips"] + [{**ip, "interface": at} for ip in addresses.get("ips", [])],
            "routes": before["routes"] + (addresses.get("routes") or []),
            "dns": addresses.get("dns") or before.get("dns", {}),
        }
        undo.pop_all()  # nothing fails any more
    return result


def unlink(host: netns.NetNS | None, name: str) -> None:
    with IPRoute() as route:
        index = index_of(route, name)
        if index is not None:
            route.link("del", index=index)


def delete(conf: Config) -> None:
    """Also what is half gone; a veth goes with either end."""
    delegate(conf, "DEL")
    try:
        netns.do(os.environ.get("CNI_NETNS") or "/", unlink, device(conf))
    except GONE:
        unlink(None, peer_name())


def check(conf: Config) -> None:
    if "prevResult" not in conf:
        raise FailureError(BAD_CONFIG, "CHECK needs prevResult")
    delegate(conf, "CHECK")
    name, path = device(conf), os.environ["CNI_NETNS"]
    previous = conf["prevResult"]
    named = [(each["name"], each.get("sandbox")) for each in previous.get("interfaces", [])]
    ips = [ip for ip in previous.get("ips", []) if named[ip.get("interface", 0)] == (name, path)]
    wanted = {ip["address"] for ip in ips}

    def look(host: netns.NetNS) -> None:
        with IPRoute() as route:
            index = index_of(route, name)
            if index is None or route.get_links(index)[0]["state"] != "up":
                raise FailureError(MISSING, f"{name} is not there, or down")
            found = route.get_addr(index=index)
            there = {f"{at.get_attr('IFA_ADDRESS')}/{at['prefixlen']}" for at in found}
            if wanted - there:
                raise FailureError(MISSING, f"{name} lacks {', '.join(sorted(wanted - there))}")

    netns.do(path, look)


def collect(conf: Config) -> None:
    """GC: our ends at home whose attachment is none any more. The rest goes with its namespace."""
    valid = conf["cni.dev/valid-attachments"] or []
    kept = {alias(conf, each["containerID"], each["ifname"]) for each in valid}
    with IPRoute() as route, ExitStack() as work:  # all of it is done, whatever fails
        work.callback(delegate, conf, "GC")
        for link in route.get_links():
            mark = link.get_attr("IFLA_IFALIAS") or ""
            if mark.startswith(alias(conf, "", "").rstrip() + " ") and mark not in kept:
                work.callback(route.link, "del", index=link["index"])


DO: dict[str, Callable[[Config], Any]]
DO = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect, "STATUS": delegate}


def main() -> int:
    command, version = os.environ.get("CNI_COMMAND", ""), VERSIONS[-1]
    try:
        if command == "VERSION":
            print(json.dumps({"cniVersion": version, "supportedVersions": VERSIONS}))
            return 0
        if command not in DO:
            raise FailureError(BAD_ENVIRONMENT, "CNI_COMMAND is missing or unknown", command)
        conf = configuration(command)
        version = conf["cniVersion"]
        if result := DO[command](conf):
            print(json.dumps(result))
        return 0
    except FailureError as failure:
        answer = failure.answer
    except (netns.Error, NetlinkError) as error:
        code = UNKNOWN_CONTAINER if isinstance(error, GONE) else REFUSED
        answer = {"code": code, "msg": str(error), "details": type(error).__name__}
    except OSError as error:
        answer = {"code": IO, "msg": str(error), "details": type(error).__name__}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        msg = "what was given, or an address plugin's answer, is not as specified"
        answer = {"code": UNDECODABLE, "msg": msg, "details": repr(error)}
    print(json.dumps({"cniVersion": version, **answer}))
    return 1


if __name__ == "__main__":
    sys.exit(main())
