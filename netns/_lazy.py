"""Modules that are imported at the first use of one of their names.

An annotation is evaluated only when somebody asks for it, as typing.get_type_hints
does; the module `_types`, which is slow to import, waits until then.
"""

from importlib import import_module


class Lazy:
    def __init__(self, name: str) -> None:
        self._lazy_name = name

    def __getattr__(self, name: str) -> object:
        value: object = getattr(import_module(self._lazy_name), name)
        setattr(self, name, value)
        return value


_types = Lazy("netns._types")
