"""The words of a command line, of the commonest ones without argparse."""

from __future__ import annotations

from os import fsencode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# As ip has them: what is missing; a request of rtnetlink's; what can't be understood,
# and a namespace that can't be entered.
FAILED, REFUSED, WRONG = 1, 2, 255
# As ip has them: the first one that begins so.
COMMANDS = (
    *("list", "show", "lst", "list-id", "help", "add", "set", "delete", "identify", "pids"),
    *("exec", "monitor", "attach", "discover", "watch", "demo", "config", "completion"),
)


def a_name(text: str) -> str:
    if not 0 < len(fsencode(text)) < 256 or "/" in text or text in (".", ".."):
        raise ValueError(f"not a name: {text!r}")
    return text


def a_target(text: str) -> str:
    return text if "/" in text else a_name(text)


def identifier(text: str, auto: bool = True) -> str:
    if auto and text == "auto":
        return text
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 2**31 or not text.isascii() or "_" in text:
        raise ValueError("a number from 0, or auto" if auto else "a number from 0")
    return str(number)


def in_full(words: Sequence[str]) -> list[str]:
    """The command line with its command's whole name; without any, that of ``list``."""
    before, rest = [], [*words]
    while rest and rest[0].startswith("--") and rest[0] != "--":
        before.append(rest.pop(0))
        if before[-1] == "--rundir" and rest:
            before.append(rest.pop(0))
    if rest[:1] == ["--"]:
        rest.pop(0)
    if rest and rest[0] not in COMMANDS:
        rest[0] = next((c for c in COMMANDS if rest[0] and c.startswith(rest[0])), rest[0])
    if rest or {"--version", "--help"} & {*before}:
        return [*before, *rest]
    return [*before, "list"]


class Arguments:
    """What argparse would make of a command line."""

    rundir = pid = None
    all = new = json = False

    def __init__(self, verb: str) -> None:
        self.verb = verb


def simple(words: Sequence[str]) -> Any:
    """The arguments of the commonest command lines, without argparse; None for others.

    Only what argparse takes too, as it does: it is the one that says what is wrong.
    """
    verb, rest = words[0], [*words[1:]]
    args: Any = Arguments(verb)
    if verb in ("list", "show", "lst", "identify", "pids") and rest[:1] == ["--json"]:
        args.json = bool(rest.pop(0))
    options = rest[:1] if verb == "exec" else rest
    if any(word.startswith("-") for word in options):
        return None
    try:
        if verb in ("list", "show", "lst"):
            return None if rest else args
        if verb == "identify" and len(rest) <= 1:
            args.pid = int(rest[0]) if rest else None
        elif verb == "add" and len(rest) == 1:
            args.name = a_name(rest[0])
        elif verb == "pids" and len(rest) == 1:
            args.target = a_target(rest[0])
        elif verb == "delete":
            args.target = [a_target(word) for word in rest]
        elif verb == "exec" and rest and "--" not in rest:
            args.command = rest
        else:
            return None
    except ValueError:
        return None
    return args
