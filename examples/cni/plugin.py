#!/usr/bin/env python3
"""A CNI plugin (specification 1.1): one link of a container, made through Do(). See README.md."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from shutil import which
from typing import Any

VERSIONS = ["1.0.0", "1.1.0"]

try:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, IFA_F_NOPREFIXROUTE

    import netns
except Exception as error:  # not only ImportError: an installation can be broken in many ways
    why = f"the plugin's Python, {sys.executable}, lacks what it needs: {error}"
    lacking = {"code": 50, "msg": why, "details": repr(error)}
    print(json.dumps({"cniVersion": VERSIONS[0], **lacking}))
    sys.exit(1)

GONE = (netns.NotFoundError, netns.NotNamespaceError)
MARK = "netns-cni"  # begins the alias of our ends at home: what GC finds them by
Config = dict[str, Any]


class FailureError(Exception):
    """An error by the specification: its code, what is wrong, and more of it."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.answer = {"code": code, "msg": msg, "details": details}


# The specification's codes, and two of our own.
INCOMPATIBLE, UNSUPPORTED, UNKNOWN_CONTAINER, BAD_ENVIRONMENT = 1, 2, 3, 4
IO, UNDECODABLE, BAD_CONFIG, NOT_AVAILABLE = 5, 6, 7, 50
REFUSED, MISSING = 100, 101
NAME = r"[a-zA-Z0-9][\w.\-]*"  # no blanks: they part the fields of a mark
VALID = {"CNI_CONTAINERID": NAME, "CNI_IFNAME": r"(?!\.\.?$)[^/:\s]{1,15}"}
NEEDED = {"ADD": [*VALID, "CNI_NETNS"], "DEL": [*VALID], "GC": ["CNI_PATH"], "STATUS": []}
NEEDED["CHECK"] = NEEDED["ADD"]


def decode(text: str | bytes, what: str) -> Config:
    try:
        return {**json.loads(text)}
    except (RecursionError, TypeError, ValueError) as error:
        raise FailureError(UNDECODABLE, f"{what} is no JSON object", str(error)) from None


def check_what_is_given(command: str, conf: Config) -> None:
    given = {name: os.environ.get(name, "") for name in NEEDED[command]}
    bad = [k for k, v in given.items() if not re.fullmatch(VALID.get(k, ".+"), v, re.ASCII)]
    if bad:
        raise FailureError(BAD_ENVIRONMENT, f"missing or not valid: {', '.join(bad)}")
    if conf.get("cniVersion") not in VERSIONS:
        raise FailureError(INCOMPATIBLE, f"cniVersion is not one of {', '.join(VERSIONS)}")
    name = conf.get("name")
    if not isinstance(name, str) or not re.fullmatch(NAME, name, re.ASCII):
        raise FailureError(BAD_CONFIG, "the network's name is missing or not valid")
    if conf.get("ipMasq"):
        value = json.dumps(conf["ipMasq"])
        raise FailureError(UNSUPPORTED, f"ipMasq: {value} is left to others: see README.md")


def delegate(conf: Config, command: str = "STATUS") -> Config:
    """What the address plugin says; nothing where none is configured."""
    if not conf.get("ipam"):
        return {}
    name = conf["ipam"].get("type", "").replace("/", "")
    path = which(name, path=os.environ.get("CNI_PATH", ""))
    if path is None:
        code = NOT_AVAILABLE if command == "STATUS" else BAD_CONFIG
        raise FailureError(code, f"no address plugin {name!r} in CNI_PATH")
    env, output = {**os.environ, "CNI_COMMAND": command}, subprocess.PIPE
    done = subprocess.run([path], input=json.dumps(conf).encode(), stdout=output, env=env)
    answer = decode(done.stdout or b"{}", f"what {name} answers")
    if done.returncode == 0:
        return answer
    code = answer.get("code", REFUSED)
    # Older plugins know neither GC nor STATUS (4, or 3 as there is no container), nor 1.1.0 (1).
    if command in ("GC", "STATUS") and code in (INCOMPATIBLE, UNKNOWN_CONTAINER, BAD_ENVIRONMENT):
        return {}
    if code == INCOMPATIBLE and conf["cniVersion"] != VERSIONS[0]:
        return delegate({**conf, "cniVersion": VERSIONS[0]}, command)
    text = answer.get("msg", f"exit status {done.returncode}")
    raise FailureError(code, f"{name}: {text}", answer.get("details", ""))


def device(conf: Config) -> str:
    return str(conf.get("device", os.environ.get("CNI_IFNAME", "")))


def peer_name() -> str:
    """Of a veth's end at home: the same for the same attachment, in 15 characters."""
    key = "{CNI_CONTAINERID}/{CNI_IFNAME}".format_map(os.environ)
    return "veth" + hashlib.sha256(key.encode()).hexdigest()[:11]


def alias(conf: Config, container: str, ifname: str) -> str:
    return f"{MARK} {conf['name']} {container} {ifname}"


def index_of(route: IPRoute, name: str) -> int | None:
    return next(iter(route.link_lookup(ifname=name)), None)


def is_there(host: netns.NetNS, name: str) -> bool:
    with IPRoute() as route:
        return index_of(route, name) is not None


def write(path: str, value: str) -> None:
    """A setting of the namespace that the thread is in."""
    file = Path("/proc/sys/net", path)
    if file.read_text().strip() != value:  # it may be read-only and right
        file.write_text(value)


def allow_ipv6(ips: list[Config], *names: str) -> None:
    """Distributions and runtimes switch IPv6 off for links to come."""
    if any(ip_interface(ip["address"]).version == 6 for ip in ips):
        for name in names:
            write(f"ipv6/conf/{name}/disable_ipv6", "0")


def make(host: netns.NetNS, name: str, peer: str, conf: Config) -> None:
    """In the container's namespace. A veth's other end is born at home."""
    mtu = {"mtu": conf["mtu"]} if conf.get("mtu") else {}
    more = {"peer": {"ifname": peer, "net_ns_fd": host.fileno(), **mtu}}
    with IPRoute() as route:
        kind = conf.get("kind", "dummy")
        route.link("add", ifname=name, kind=kind, **mtu, **(more if kind == "veth" else {}))


def set_up(host: netns.NetNS, name: str, kind: str, addresses: Config) -> Any:
    """In the container's namespace: addresses, up, routes; the link's MAC."""
    ips = addresses.get("ips") or []
    allow_ipv6(ips, "lo", name)
    gateways: dict[int, str] = {}
    with IPRoute() as route:
        index = index_of(route, name)
        route.link("set", index=index, state="up")
        for ip in ips:
            at, gateway = ip_interface(ip["address"]), ip.get("gateway")
            # Of a veth the gateway is the only neighbour, and the rest of the subnet behind it.
            behind = kind == "veth" and gateway
            flags = IFA_F_NODAD | (IFA_F_NOPREFIXROUTE if behind else 0)
            size, whole = at.network.prefixlen, at.max_prefixlen
            route.addr("add", index=index, address=str(at.ip), prefixlen=size, flags=flags)
            if behind:
                common = {"oif": index, "prefsrc": str(at.ip)}
                route.route("replace", dst=f"{gateway}/{whole}", scope=253, **common)
                if size < whole:
                    route.route("replace", dst=str(at.network), gateway=gateway, **common)
            if gateway:
                gateways.setdefault(at.version, gateway)
        for wanted in addresses.get("routes") or []:
            dst = ip_network(wanted["dst"], strict=False)
            more = {key: wanted[key] for key in ("priority", "table", "scope") if key in wanted}
            metrics = {key: wanted[key] for key in ("mtu", "advmss") if key in wanted}
            if via := wanted.get("gw") or gateways.get(dst.version):
                more["gateway"] = via
            route.route("append", dst=str(dst), oif=index, metrics=metrics, **more)
        return route.get_links(index)[0].get_attr("IFLA_ADDRESS")


def set_up_peer(conf: Config, peer: str, addresses: Config) -> Any:
    """At home: the other end, marked, up, with the gateways' addresses, forwarding; its MAC."""
    ips = addresses.get("ips") or []
    allow_ipv6(ips, peer)
    with IPRoute() as route:
        index = index_of(route, peer)
        mark = alias(conf, os.environ["CNI_CONTAINERID"], os.environ["CNI_IFNAME"])
        route.link("set", index=index, ifalias=mark, state="up")
        for gateway in {ip_address(ip["gateway"]) for ip in ips if ip.get("gateway")}:
            whole = gateway.max_prefixlen
            route.addr(
                "add", index=index, address=str(gateway), prefixlen=whole, flags=IFA_F_NODAD
            )
        for at in (ip_interface(ip["address"]) for ip in ips):
            route.route("replace", dst=f"{at.ip}/{at.max_prefixlen}", oif=index)
            write("ipv4/ip_forward" if at.version == 4 else "ipv6/conf/all/forwarding", "1")
        return route.get_links(index)[0].get_attr("IFLA_ADDRESS")


def add(conf: Config) -> Config:
    path, kind = os.environ["CNI_NETNS"], conf.get("kind", "dummy")
    name, peer = device(conf), peer_name()
    before = {"interfaces": [], "ips": [], "routes": [], **(conf.get("prevResult") or {})}
    if netns.do(path, is_there, name):  # before its addresses could be given back
        raise FailureError(REFUSED, f"{kind} link {name}: there is a link of that name")
    with ExitStack() as undo:
        undo.callback(delegate, conf, "DEL")  # also where its ADD fails
        addresses = delegate(conf, "ADD")
        netns.do(path, make, name, peer, conf)
        undo.callback(netns.do, path, unlink, name)
        made = (
            [{"name": peer, "mac": set_up_peer(conf, peer, addresses)}] if kind == "veth" else []
        )
        mac = netns.do(path, set_up, name, kind, addresses)
        made.append({"name": name, "mac": mac, "sandbox": path})
        interfaces = before["interfaces"] + made
        at = len(interfaces) - 1
        result = {
            "cniVersion": conf["cniVersion"],
            "interfaces": interfaces,
            "ips": before["ips"] + [{**ip, "interface": at} for ip in addresses.get("ips") or []],
            "routes": before["routes"] + (addresses.get("routes") or []),
            "dns": conf.get("dns") or addresses.get("dns") or before.get("dns", {}),
        }
        undo.pop_all()  # nothing fails any more
    return result


def remove(route: IPRoute, index: int) -> None:
    try:
        route.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:  # its other end has gone meanwhile
            raise


def unlink(host: netns.NetNS | None, name: str) -> None:
    with IPRoute() as route:
        index = index_of(route, name)
        if index is not None:
            remove(route, index)


def delete(conf: Config) -> None:
    """Also what is half gone; a veth goes with either end, and only then its addresses."""
    with ExitStack() as work:
        work.callback(delegate, conf, "DEL")
        work.callback(unlink, None, peer_name())
        with suppress(*GONE):
            netns.do(os.environ.get("CNI_NETNS") or "/", unlink, device(conf))


def look(host: netns.NetNS | None, name: str, addresses: list[str], routes: list[str]) -> None:
    """What CHECK finds, or misses."""
    with IPRoute() as route:
        index = index_of(route, name)
        if index is None or route.get_links(index)[0]["state"] != "up":
            raise FailureError(MISSING, f"{name} is not there, or down")
        wanted = {ip_interface(each) for each in addresses}
        for at in route.get_addr(index=index):
            wanted.discard(ip_interface((at.get_attr("IFA_ADDRESS"), at["prefixlen"])))
        lost = {ip_network(each, strict=False) for each in routes}
        for family, zero in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for each in route.get_routes(family=family):
                lost.discard(ip_network((each.get_attr("RTA_DST") or zero, each["dst_len"])))
        if lacks := sorted(map(str, [*wanted, *lost])):
            raise FailureError(MISSING, f"{name} lacks {', '.join(lacks)}")


def check(conf: Config) -> None:
    if "prevResult" not in conf:
        raise FailureError(BAD_CONFIG, "CHECK needs prevResult")
    delegate(conf, "CHECK")
    name, path = device(conf), os.environ["CNI_NETNS"]
    previous = conf["prevResult"]
    named = [(each["name"], each.get("sandbox")) for each in previous.get("interfaces", [])]
    ips = [ip for ip in previous.get("ips", []) if named[ip.get("interface", 0)] == (name, path)]
    routes = [each["dst"] for each in previous.get("routes") or []]
    netns.do(path, look, name, [ip["address"] for ip in ips], routes)
    if conf.get("kind", "dummy") == "veth":
        gateways = [ip["gateway"] for ip in ips if ip.get("gateway")]
        alone = [str(ip_interface(ip["address"]).ip) for ip in ips]
        look(None, peer_name(), gateways, alone)


def collect(conf: Config) -> None:
    """GC: our ends at home whose attachment is none any more. The rest goes with its namespace."""
    if "cni.dev/valid-attachments" not in conf:
        raise FailureError(BAD_CONFIG, "GC needs cni.dev/valid-attachments")
    valid = conf["cni.dev/valid-attachments"] or []
    kept = {alias(conf, each["containerID"], each["ifname"]) for each in valid}
    with IPRoute() as route, ExitStack() as work:  # all of it is done, whatever fails
        work.callback(delegate, conf, "GC")
        for link in route.get_links():
            mark = link.get_attr("IFLA_IFALIAS") or ""
            if mark.startswith(alias(conf, "", "").rstrip() + " ") and mark not in kept:
                work.callback(remove, route, link["index"])


DO: dict[str, Callable[[Config], Any]]
DO = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect, "STATUS": delegate}


def run(command: str, text: bytes, conf: Config) -> Config | None:
    """The answer of a command; conf is filled with what is on standard input."""
    if command == "VERSION":
        asked = decode(text or b"{}", "the request").get("cniVersion", VERSIONS[-1])
        return {"cniVersion": asked, "supportedVersions": VERSIONS}
    if command not in DO:
        raise FailureError(BAD_ENVIRONMENT, f"CNI_COMMAND is missing or unknown: {command!r}")
    conf.update(decode(text, "the configuration"))
    check_what_is_given(command, conf)
    return DO[command](conf) or None


def explain(error: Exception, command: str, conf: Config) -> Config:
    """Any error, as the specification has it."""
    if isinstance(error, FailureError):
        return error.answer
    code = REFUSED
    if isinstance(error, GONE):
        code = UNKNOWN_CONTAINER
    elif isinstance(error, (AttributeError, LookupError, TypeError, ValueError)):
        code = UNDECODABLE  # what was given, or an address plugin's answer, is not as specified
    elif isinstance(error, OSError) and not isinstance(error, netns.Error):
        code = IO
    what = f"{command}, {conf.get('kind', 'dummy')} link {device(conf)}"
    return {"code": code, "msg": f"{what}: {error}", "details": repr(error)}


def main() -> int:
    command, conf, status = os.environ.get("CNI_COMMAND", ""), Config(), 0
    try:
        if sys.stdin is None:
            raise FailureError(IO, "standard input is closed")
        answer = run(command, sys.stdin.buffer.read(), conf)
    except Exception as error:
        asked, status = conf.get("cniVersion"), 1
        version = asked if asked in VERSIONS else VERSIONS[-1]
        answer = {"cniVersion": version, **explain(error, command, conf)}
    if answer:
        print(json.dumps(answer))
    return status


if __name__ == "__main__":
    sys.exit(main())
