"""Where a C program finds the header and the library that came with the package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def get_include() -> str:
    """The folder that netns.h is in: `-I` for a C compiler.

    Returns: an absolute path.
    Thread: any.
    Privilege: none.
    Since: any Linux.
    Source: the package; `python -m netns config --cflags` prints it.
    """
    return str(PACKAGE / "include")


def get_library_dir() -> str:
    """The folder that libnetns.a is in: `-L` for a linker, with `-lnetns -pthread`.

    The library is position-independent, and a shared object that takes it in does
    not export it.

    Returns: an absolute path.
    Thread: any.
    Privilege: none.
    Since: any Linux.
    Source: the package; `python -m netns config --libs` prints it.
    """
    return str(PACKAGE / "lib")
