"""The directive ``c-header``: the public header's comments and declarations."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from fields import as_fields
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CSRC = Path(__file__).parents[2] / "csrc"
HEADER = CSRC / "netns.h"
MARKED = re.compile(r"/\* cdef: begin \*/(.*)/\* cdef: end \*/", re.DOTALL)
COMMENT = re.compile(r"^/\*(.*?)\*/\n(.*?)(?=^/\*|\Z)", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"``netns_\w+``(?:, ``netns_\w+``)* - ")
CODE = re.compile(r"`([^`]+)`|(?<![\w*])(\*?netns_\w+(?:\(\))?|NETNS_\w+|\*\w+)")
PROTOTYPE = re.compile(r"\w[^(]*\bnetns_\w+\((?:[^()]|\([^()]*\))*\);")


def text_of(comment: str) -> list[str]:
    lines = [line.strip().removeprefix("*").removeprefix(" ") for line in comment.splitlines()]
    return [CODE.sub(lambda found: f"``{found[1] or found[2]}``", line) for line in lines]


def entry(comment: str, code: str) -> list[str]:
    """One comment with what is declared behind it."""
    lines = as_fields(titled(text_of(comment)))
    prototypes = [" ".join(found.split())[:-1] for found in PROTOTYPE.findall(code)]
    if not prototypes:
        return [*lines, "", ".. code-block:: c", "", *indented(code.strip().splitlines()), ""]
    head, *more = prototypes
    return [f".. c:function:: {head}", *indented(more), "", *indented(lines), ""]


def titled(lines: list[str]) -> list[str]:
    """What each of the functions is, on a line of its own."""
    found = [""]
    for line in lines:
        if TITLE.match(line):
            found.append("| " + line)
        elif found[-1].startswith("|") and line:
            found[-1] += " " + line
        else:
            found.append(line)
    return found


def indented(lines: list[str]) -> list[str]:
    return ["   " + line for line in lines]


class CHeader(SphinxDirective):  # type: ignore[misc]
    """All of it, or with ``conventions`` the comment at its beginning."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(HEADER))
        source = HEADER.read_text()
        if self.arguments:
            comment = re.findall(r"/\*(.*?)\*/", source, re.DOTALL)[1]
            text = text_of(comment)
            lines = text[text.index("Conventions") + 1 :]
        else:
            marked = MARKED.search(source)
            assert marked is not None
            lines = [line for found in COMMENT.findall(marked[1]) for line in entry(*found)]
            exported = re.findall(r"\b(netns_\w+);", (CSRC / "netns.map").read_text())
            missing = [name for name in exported if f"{name}(" not in "\n".join(lines)]
            if missing:
                raise self.error(f"exported, but not documented in netns.h: {missing}")
        parsed: list[nodes.Node] = self.parse_text_to_nodes("\n".join(lines))
        return parsed


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("c-header", CHeader)
    return {"parallel_read_safe": True}
