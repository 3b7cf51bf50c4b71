"""The package: its messages where it can't work, and to users who mistype."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import netns

PACKAGE = Path(netns.__file__).parent

ROOT = Path(__file__).resolve().parent.parent
SAID = "netns: network namespaces exist on Linux only; this is {}"


def elsewhere(platform: str, then: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `first`, then `then` with another sys.platform; what the process printed."""
    script = f"import sys\n{first}\nsys.platform = {platform!r}\n{then}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_import_elsewhere(platform: str) -> None:
    """The error is one line that says why, and does not speak of the extension module."""
    done = elsewhere(platform, "import netns")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: " + SAID.format(platform)
    assert "_native" not in done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_install_elsewhere(platform: str) -> None:
    """setup.py prints that line, and starts no compiler. It is run without setuptools."""
    commands = [f"setuptools.command.{name}" for name in ("bdist_wheel", "build_ext", "sdist")]
    names = ["setuptools", "setuptools.command", *commands]
    done = elsewhere(
        platform,
        f"runpy.run_path({str(ROOT / 'setup.py')!r})",
        first="import gzip, runpy, tarfile\nfrom unittest.mock import Mock\n"
        f"sys.modules.update({{name: Mock() for name in {names}}})",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [SAID.format(platform)]


def import_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `import netns` does in a Python that starts in that folder."""
    command = [sys.executable, *options, "-c", "import netns; print(netns.__path__[0])"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def copy_without_extension(folder: Path) -> Path:
    copy = folder / "netns"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("_native*.so", "__pycache__"))
    return copy


def test_import_in_a_checkout_that_is_not_built(tmp_path: Path) -> None:
    """The error is one sentence, with the command that builds it."""
    copy_without_extension(tmp_path)
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc/netns.h").touch()
    done = import_in(tmp_path)
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last == (
        f"ImportError: netns: {tmp_path} is a checkout that is not built for this Python: run"
        f" '{sys.executable} -m pip install -e {tmp_path}', or start Python in another folder"
    )
    assert "During handling" not in done.stderr


def test_import_without_the_extension(tmp_path: Path) -> None:
    copy = copy_without_extension(tmp_path)
    done = import_in(tmp_path)
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"ImportError: netns: {copy} has no extension module for this Python")
    assert last.endswith("-m pip install --force-reinstall pynetns'")


def test_import_beside_the_other_package_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "netns").symlink_to(PACKAGE)
    done = import_in(tmp_path, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "netns.py").touch()  # the other one is a single module
    done = import_in(tmp_path)
    assert done.returncode == 0
    assert "RuntimeWarning: netns: the packages 'pynetns' (this one) and 'netns'" in done.stderr


def test_freezers_find_every_module() -> None:
    """Programs that freeze others follow the import statements, and run nothing."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "module", None)
        for alias in node.names
    }
    modules = {path.stem for path in PACKAGE.glob("_[a-z]*.py")}
    reached = {"_call", "_errors", "_lazy"}  # imported by statements of the others
    assert modules - reached <= imported
    assert "_cffi_backend" in imported


def command(*args: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-W", "error", "-m", "netns", *args]
    return subprocess.run(run, capture_output=True, text=True, timeout=60)


def test_a_name_that_exists(name: str) -> None:
    command("add", name)
    again = command("add", name)
    said = f"netns: the name {name!r} exists already; see netns list\n"
    assert (again.returncode, again.stderr) == (1, said)
    attached = command("attach", name, "1")
    assert attached.stderr == said or "'/proc/1/ns/net'" in attached.stderr


def test_a_run_directory_that_is_mistyped(tmp_path: Path) -> None:
    missing = tmp_path / "no-such"
    for args in (["list"], ["add", "a"], ["delete", "--all"], ["watch"]):
        done = command("--rundir", str(missing), *args)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"netns: --rundir: there is no directory {str(missing)!r}; see netns --help\n"
        )
    assert not missing.exists()


@pytest.mark.parametrize(
    ("module", "args", "extra"),
    [("pyroute2", ["demo"], "demo"), ("shtab", ["completion", "bash"], "completion")],
)
def test_an_extra_that_is_missing(module: str, args: list[str], extra: str) -> None:
    script = f"""
import sys
sys.modules[{module!r}] = None
from netns._cli import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"netns: {args[0] if extra == 'completion' else 'the demo'} needs {module}:"
        f" python3 -m pip install 'pynetns[{extra}]'\n"
    )


def test_every_command_and_option_has_its_help_and_its_line_in_the_manual() -> None:
    from netns._arguments import parser

    manual = (ROOT / "csrc/man/netns.1").read_text().replace("\\-", "-")
    (commands,) = [each.choices for each in parser()._actions if isinstance(each.choices, dict)]
    for name, made in commands.items():
        assert re.search(rf'^\.B[RI]? (.*", " )?{name}\b', manual, re.MULTILINE), name
        for action in made._actions:
            assert action.help, (name, action)
            for option in action.option_strings:
                assert option in {"-h", "--help"} or option in manual, (name, option)
