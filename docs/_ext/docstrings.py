"""autodoc: the docstrings' sections as fields, signatures as the source has them."""

from __future__ import annotations

import inspect
import re
from typing import Any

from fields import as_fields
from sphinx.application import Sphinx


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_fields(lines)


WRITTEN_OUT = {
    "t.Descriptor": "socket.socket | int",
    "t.Directory": "str | os.PathLike",
    "t.Popen": "subprocess.Popen",
    "t.Socket": "socket.socket",
    "t.CompletedProcess": "subprocess.CompletedProcess",
}
OPTIONAL = re.compile(r"\bOptional\[((?:[^][]|\[[^][]*\])*)\]")


class Text(str):
    """An annotation that inspect shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def written(annotation: Any) -> Any:
    if not isinstance(annotation, str):
        return annotation
    for name, text in WRITTEN_OUT.items():
        annotation = re.sub(rf"\b{re.escape(name)}\b", text, annotation)
    return Text(OPTIONAL.sub(r"\1 | None", re.sub(r"\b(?:t|_[a-z]+)\.", "", annotation)))


def signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, text: str | None, result: str | None
) -> tuple[str, str | None] | None:
    if what not in {"function", "method"}:
        return None
    try:
        found = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    parameters = [
        each.replace(annotation=written(each.annotation))
        for each in found.parameters.values()
        if each.name != "self"
    ]
    returned = found.return_annotation
    shown = inspect.Signature(parameters)
    return str(shown), None if returned is inspect.Signature.empty else str(written(returned))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
