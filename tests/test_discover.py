"""names, check, is_netns (what they refuse is in test_handle)."""

from __future__ import annotations

import subprocess

import netns
from support import RUN


def test_names_are_sorted_and_real(name: str) -> None:
    made = [name + suffix for suffix in ("-c", "-a", "-b")]
    strangers = [RUN / f"{name}-{kind}" for kind in ("file", "link", "fifo", "uts")]
    try:
        for each in made:
            netns.create(each).close()
        strangers[0].touch()
        strangers[1].symlink_to("/proc/self/ns/net")
        subprocess.run(["mkfifo", strangers[2]], check=True)
        strangers[3].touch()
        subprocess.run(["mount", "--bind", "/proc/self/ns/uts", strangers[3]], check=True)
        assert [each for each in netns.names() if each.startswith(name)] == sorted(made)
    finally:
        subprocess.run(["umount", strangers[3]], check=True)
        for path in strangers:
            path.unlink()
        netns.delete(*made)


def test_many_names(name: str) -> None:
    made = [f"{name}-{i:03}" for i in range(150)]
    try:
        for each in made:
            netns.create(each).close()
        assert [each for each in netns.names() if each.startswith(name)] == made
    finally:
        netns.delete(*made)
