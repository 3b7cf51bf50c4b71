"""autodoc: the docstrings' sections as fields."""

from __future__ import annotations

from typing import Any

from fields import as_fields
from sphinx.application import Sphinx


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_fields(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
