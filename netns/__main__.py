"""The command line: python -m netns."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys

import netns

UNPRIVILEGED = "NETNS_DEMO_IN_USER_NAMESPACE"


def list_names(args: argparse.Namespace) -> int:
    for name in netns.names():
        print(name)
    return 0


def add(args: argparse.Namespace) -> int:
    netns.create(args.name).close()
    return 0


def delete(args: argparse.Namespace) -> int:
    netns.delete(*args.target)
    return 0


def execute(args: argparse.Namespace) -> int:
    with netns.open(args.target) as ns:
        ns.set()
    try:
        os.execvp(args.command, [args.command, *args.arguments])
    except OSError as error:
        print(f"netns: exec of {args.command!r} failed: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def demo(args: argparse.Namespace) -> int:
    try:
        from pyroute2 import IPRoute, NetlinkError
    except ImportError:
        print("netns: the demo needs pyroute2: pip install 'netns[demo]'", file=sys.stderr)
        return 1

    def add_link(route: IPRoute) -> str:
        for kind in ("dummy", "ifb", "bridge"):  # some kernels lack the dummy driver
            try:
                route.link("add", ifname="dummy0", kind=kind)
            except NetlinkError as error:
                if error.code != errno.EOPNOTSUPP:
                    raise
            else:
                return kind
        raise SystemExit("netns: this kernel has no driver for a link to add")

    def links() -> str:
        with IPRoute() as route:
            return ", ".join(link.get_attr("IFLA_IFNAME") for link in route.get_links())

    def body(host: netns.NetNS) -> None:
        with netns.current() as here, IPRoute() as route:
            print(f"inside {here}, called from {host}:")
            print(f"  added dummy0, of kind {add_link(route)}")
            print(f"  links: {links()}")

    try:
        made = netns.new()
    except netns.NotPermittedError as error:
        if UNPRIVILEGED in os.environ or shutil.which("unshare") is None:
            raise
        print(f"{error}.\nTrying as root of a user namespace:", flush=True)
        command = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "netns", "demo"]
        os.execvpe(command[0], command, {**os.environ, UNPRIVILEGED: "1"})
    with netns.current() as home, made as ns:
        print(f"home   {home}:\n  links: {links()}")
        ns.do(body)
        with netns.current() as here:
            print(f"home   {here}:\n  links: {links()}")
            if here != home:
                raise SystemExit("netns: the thread did not come home")
    print("The thread is home again.")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m netns", description="Network namespaces.")
    top.add_argument("--version", action="version", version=netns.__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="list the named namespaces")
    command.set_defaults(run=list_names)

    command = commands.add_parser("add", help="make a namespace with a name")
    command.add_argument("name", metavar="NAME")
    command.set_defaults(run=add)

    command = commands.add_parser("delete", help="unpin names or paths")
    command.add_argument("target", metavar="NAME|PATH", nargs="+")
    command.set_defaults(run=delete)

    command = commands.add_parser("exec", help="run a command in a namespace")
    command.add_argument("target", metavar="NAME|PATH")
    command.add_argument("command", metavar="COMMAND")
    command.add_argument("arguments", metavar="ARG", nargs=argparse.REMAINDER)
    command.set_defaults(run=execute)

    command = commands.add_parser("demo", help="add a link in a new namespace, and come home")
    command.set_defaults(run=demo)
    return top


def main() -> int:
    args = parser().parse_args()
    try:
        run: int = args.run(args)
    except netns.Error as error:
        for failed in (error, *error.others):
            print(f"netns: {failed}", file=sys.stderr)
        return 1
    return run


if __name__ == "__main__":
    sys.exit(main())
