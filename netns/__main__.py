"""The command line: python -m netns."""

from __future__ import annotations

import argparse
import io
import signal
import sys

import netns

from . import _commands as commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m netns",
        description="Network namespaces: what ip netns does, and what it does not see.",
    )
    top.add_argument("--version", action="version", version=netns.__version__)
    top.add_argument("--rundir", metavar="DIR", help="where names live (default: /run/netns)")
    choices = top.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, json: bool = False
    ) -> argparse.ArgumentParser:
        made = choices.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        if json:
            made.add_argument("--json", action="store_true", help="for programs")
        return made

    command("list", commands.list_names, "list the named namespaces, and their ids", json=True)

    made = command("add", commands.add, "make a namespace with a name")
    made.add_argument("name", metavar="NAME")

    made = command("attach", commands.attach, "give a process's namespace a name")
    made.add_argument("name", metavar="NAME")
    made.add_argument("pid", metavar="PID", type=int)

    made = command("delete", commands.delete, "unpin names or paths")
    made.add_argument("--all", action="store_true", help="every name")
    made.add_argument("target", metavar="NAME|PATH", nargs="*")

    made = command("exec", commands.execute, "run a command in a namespace")
    made.add_argument("--all", action="store_true", help="in every named namespace")
    made.add_argument("--new", action="store_true", help="in a new one, gone afterwards")
    made.add_argument("--pid", metavar="PID", type=int, help="in that of a process")
    made.add_argument("command", metavar="[NAME|PATH] COMMAND ARG ...", nargs=argparse.REMAINDER)

    made = command("identify", commands.identify, "name a process's namespace", json=True)
    made.add_argument("pid", metavar="PID", type=int, nargs="?", help="default: this process")

    made = command("pids", commands.pids, "list the processes in a namespace", json=True)
    made.add_argument("target", metavar="NAME|PATH")

    command("discover", commands.discover, "list every namespace of the host", json=True)

    made = command("watch", commands.watch, "tell of names that come and go", json=True)
    made.add_argument("--timeout", metavar="SECONDS", type=float, help="end after such a lull")

    made = command("set", commands.set_id, "give a namespace an id")
    made.add_argument("name", metavar="NAME|PATH")
    made.add_argument("id", metavar="ID|auto", type=identifier)

    command("list-id", commands.list_ids, "list the ids given to namespaces", json=True)
    command("demo", commands.demo, "add a link in a new namespace, and come home")

    made = command("config", commands.config, "print what a C compiler takes, as pkg-config")
    made.add_argument("--cflags", action="store_true", help="to compile")
    made.add_argument("--libs", action="store_true", help="to link")

    made = command("completion", commands.completion, "print what completes commands in a shell")
    made.add_argument("shell", choices=sorted(commands.COMPLETION))
    made.set_defaults(commands=sorted(choices.choices))
    return top


def identifier(text: str) -> str:
    if text != "auto" and not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError("a number from 0, or auto")
    return text


def main() -> int:
    args = parser().parse_args()
    # Python ignores these, and so would the commands run by exec; and who reads
    # no further ends this one, as any other.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names are bytes
    try:
        status: int = args.run(args)
    except netns.Error as error:
        for failed in (error, *error.others):
            print(f"netns: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())
