"""The package: what it says where it can not be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAID = "netns: network namespaces are Linux's own; this is {}"


def elsewhere(platform: str, then: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """What a process prints that runs first here, and then with another sys.platform."""
    script = f"import sys\n{first}\nsys.platform = {platform!r}\n{then}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_import_elsewhere(platform: str) -> None:
    """One line that says why, before the extension is missed."""
    done = elsewhere(platform, "import netns")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: " + SAID.format(platform)
    assert "_native" not in done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_install_elsewhere(platform: str) -> None:
    """The same line, and no compiler is started. setuptools is not the tests' to need."""
    commands = [f"setuptools.command.{name}" for name in ("build_ext", "sdist")]
    names = ["setuptools", "setuptools.command", *commands]
    done = elsewhere(
        platform,
        f"runpy.run_path({str(ROOT / 'setup.py')!r})",
        first="import gzip, runpy, tarfile\nfrom unittest.mock import Mock\n"
        f"sys.modules.update({{name: Mock() for name in {names}}})",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [SAID.format(platform)]
