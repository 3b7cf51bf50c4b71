"""The arguments of the command `netns`, as argparse has them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

import netns

from ._words import FAILED, WRONG, a_name, a_target, identifier

COMPLETE_NAMES = {"bash": "_netns_complete_names", "zsh": "_netns_complete_names"}


def names_complete(action: argparse.Action) -> None:
    """Lets shtab complete an argument with the names that there are."""
    action.complete = COMPLETE_NAMES  # type: ignore[attr-defined]


def told(check: Callable[[str], str]) -> Callable[[str], str]:
    """With the words of what it raises: of a ValueError argparse has its own."""

    def checked(text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        understood = not message.startswith(("argument NAME", "argument ID", "argument COMMAND"))
        self.exit(FAILED if understood else WRONG, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="netns",
        description="Make, name, find and enter Linux network namespaces. The names are those"
        " of ip netns.",
        epilog="netns COMMAND --help describes the arguments of a command; so does netns(1).",
    )
    top.add_argument(
        "--version", action="version", version=netns.__version__, help="print the version"
    )
    top.add_argument(
        "--rundir",
        metavar="DIR",
        help="the directory that has the names (default: $NETNS_RUN_DIR; else, for users,"
        " $XDG_RUNTIME_DIR/netns and then /run/netns; else /run/netns)",
    )
    choices = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, json: bool = False) -> argparse.ArgumentParser:
        made = choices.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(verb=name)
        if json:
            made.add_argument("--json", action="store_true", help="print JSON")
        return made

    for name in ("list", "show", "lst"):
        command(name, "list the named namespaces and their ids", json=True)

    made = command("list-id", "list the ids that the current namespace gave", json=True)
    made.add_argument(
        "filter",
        metavar="[target-nsid ID] [nsid ID]",
        nargs="*",
        help="list those that the namespace with this id gave; list this id alone",
    )

    command("help", "print this help")

    made = command("add", "create a namespace with a name")
    made.add_argument("name", metavar="NAME", type=told(a_name), help="the new name")

    made = command("attach", "give the namespace of a process a name")
    made.add_argument("name", metavar="NAME", type=told(a_name), help="the new name")
    made.add_argument("pid", metavar="PID", type=int, help="the process")

    made = command("delete", "remove names; a namespace ends with its last user")
    made.add_argument("--all", action="store_true", help="remove every name")
    names_complete(
        made.add_argument(
            "target", metavar="NAME|PATH", type=told(a_target), nargs="*", help="what to remove"
        )
    )

    made = command("exec", "run a command in a namespace")
    made.add_argument("--all", action="store_true", help="run it in each named namespace in turn")
    made.add_argument(
        "--new", action="store_true", help="run it in a new namespace, which ends with it"
    )
    made.add_argument(
        "--pid", metavar="PID", type=int, help="run it in the namespace of this process"
    )
    made.add_argument(
        "command",
        metavar="[NAME|PATH] COMMAND ARG ...",
        nargs=argparse.REMAINDER,
        help="the namespace, unless an option chooses it, and the command",
    )

    made = command("identify", "print the names of a process's namespace", json=True)
    made.add_argument(
        "pid", metavar="PID", type=int, nargs="?", help="the process (default: this one)"
    )

    made = command("pids", "list the processes in a namespace", json=True)
    names_complete(
        made.add_argument("target", metavar="NAME|PATH", type=told(a_target), help="the namespace")
    )

    made = command("discover", "list every namespace of this host, named or not", json=True)
    made.add_argument(
        "--descriptors",
        action="store_true",
        help="list also those that only a descriptor, a socket or a mount elsewhere holds",
    )

    for name in ("monitor", "watch"):
        made = command(name, "report names as they appear and disappear", json=True)
        made.add_argument(
            "--timeout",
            metavar="SECONDS",
            type=float,
            help="end when nothing has changed for so long (default: never)",
        )

    made = command("set", "give a namespace an id, as seen from the current one")
    names_complete(
        made.add_argument("name", metavar="NAME|PATH", type=told(a_target), help="the namespace")
    )
    made.add_argument(
        "id",
        metavar="ID|auto",
        type=told(identifier),
        help="a number from 0, or auto for any free one",
    )

    command("demo", "add a link in a new namespace, and come home")

    made = command("config", "print compiler options for a C program that uses netns")
    made.add_argument("--cflags", action="store_true", help="print the options to compile")
    made.add_argument("--libs", action="store_true", help="print the options to link")

    made = command("completion", "print a script that completes netns in a shell")
    made.add_argument("shell", choices=("bash", "zsh"), help="the shell")
    return top
