"""What holds a namespace that nothing else leads to. Imported where there is one.

The import of typing would be most of the first discover().
"""

from __future__ import annotations

from typing import NamedTuple

from ._lazy import _types as t


class Holder(NamedTuple):
    """What holds a namespace that no path, process or thread leads to.

    Attributes:
        kind: "descriptor" (of the namespace), "socket" (or /dev/net/tun), or
            "mount" (in another mount namespace).
        pid: the process that has the descriptor, or one that sees the mount.
        fd: the descriptor's number there, or None.
        path: where it is mounted, as that process sees it, or None.
    """

    kind: str
    pid: int
    fd: t.Optional[int]
    path: t.Optional[str]
