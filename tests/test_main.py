"""The command line, and `ip netns` beside it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import IO, Any

import pytest

import netns
from netns import _arguments, _words
from support import RUN, here, refusing, unshare_run_directory

IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
COMMAND = [sys.executable, "-W", "error", "-m", "netns"]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], capture_output=True, text=True, timeout=60, errors="surrogateescape"
    )


def check_output(*args: str) -> str:
    done = run(*args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def parsed(*args: str) -> Any:
    return json.loads(check_output(*args, "--json"))


def ip(*args: str) -> str:
    if IP is None:
        pytest.skip("iproute2 (ip) is not installed")
    done = subprocess.run([IP, *args], capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def inside(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the namespace of that name."""
    with netns.create(name) as ns, ns.enter():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield child
    child.communicate()


def test_add_list_exec_delete(name: str) -> None:
    check_output("add", name)
    assert name in check_output("list").splitlines()
    with netns.open(name) as ns:
        assert check_output("exec", name, "readlink", "/proc/self/ns/net") == f"net:[{ns.ino}]\n"
        assert {"name": name, "ino": ns.ino} in parsed("list")
    check_output("delete", name)
    assert name not in netns.names()


def test_lists_and_ids_as_ip_netns(name: str) -> None:
    check_output("add", name)
    nsid = random.randrange(10**6, 2**31)  # others may test on this machine too
    check_output("set", name, str(nsid))
    assert f"{name} (id: {nsid})" in check_output("list").splitlines()
    assert f"{name} (id: {nsid})" in [line.strip() for line in ip("netns", "list").splitlines()]
    line = f"nsid {nsid} (iproute2 netns name: {name})"
    assert line in check_output("list-id").splitlines()
    assert line in [line.strip() for line in ip("netns", "list-id").splitlines()]
    assert {"nsid": nsid, "name": name, "names": [name]} in parsed("list-id")
    assert {"nsid": nsid, "name": name} in json.loads(ip("-j", "netns", "list-id"))
    again = run("set", name, str(nsid - 1))
    assert again.returncode == 2
    assert again.stderr == f"netns: {name!r} has the id {nsid} already, and ids are for good\n"
    check_output("add", f"{name}-auto")
    try:
        taken = run("set", f"{name}-auto", str(nsid))
        assert taken.stderr.startswith(f"netns: the id {nsid} is that of another namespace; ")
        check_output("set", f"{name}-auto", "auto")
        with netns.open(f"{name}-auto") as ns:
            assert ns.nsid is not None
    finally:
        netns.delete(f"{name}-auto")
    assert run("set", name, "-1").returncode == run("set", name, "x").returncode == 255


def test_attach_identify_pids(name: str, inside: subprocess.Popen[bytes]) -> None:
    pid = str(inside.pid)
    assert check_output("identify", pid) == ip("netns", "identify", pid) == f"{name}\n"
    assert check_output("pids", name) == ip("netns", "pids", name) == f"{pid}\n"
    assert parsed("pids", name) == [inside.pid]
    check_output("attach", f"{name}-2", pid)
    try:
        assert parsed("identify", pid) == [name, f"{name}-2"]
    finally:
        check_output("delete", f"{name}-2")
    assert check_output("identify") == check_output("identify", str(os.getpid()))


def test_discover(name: str, inside: subprocess.Popen[bytes]) -> None:
    found = parsed("discover")
    (mine,) = [each for each in found["namespaces"] if name in each["names"]]
    with netns.open(name) as ns:
        assert mine == {
            "ino": ns.ino,
            "dev": ns.dev,
            "names": [name],
            "paths": [str(RUN / name)],
            "pids": [inside.pid],
            "threads": [],
            "owner_uid": ns.owner_uid,
            "cookie": ns.cookie,
        }
    assert found["hidden"] >= 0
    lines = check_output("discover").splitlines()
    assert lines[0].split() == ["INO", "OWNER", "PROCESSES", "THREADS", "HELD", "BY"]
    (line,) = [line for line in lines if line.endswith(f"  {name}")]
    assert line.split()[0] == str(mine["ino"])
    assert len({line.index(f"  {word}") for word, line in [("HELD", lines[0]), (name, line)]}) == 1


def test_a_mount_that_nothing_leads_to(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with netns.new() as ns:
        ns.pin(place / "pin")
        ino = ns.ino
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        (line,) = [
            line for line in check_output("discover").splitlines() if line.startswith(str(ino))
        ]
        assert line.endswith("  (nothing in sight, as a mount that another one covers)")
    finally:
        subprocess.run(["umount", place], check=True)
        netns.delete(place / "pin")


@contextlib.contextmanager
def watching(rundir: Path, word: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A command that watches, after its first line is there to read; and what it prints."""
    command = [*COMMAND, "--rundir", str(rundir), word, "--timeout", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        # Only a line shows that it has started, and it misses a name that is gone when it
        # looks. So names come and go until it prints one.
        while not select.select([watcher.stdout], [], [], 0)[0]:
            netns.create("begun", rundir=rundir).close()
            netns.delete("begun", rundir=rundir)
        yield watcher, watcher.stdout


def test_watch_until_a_lull(rundir: Path) -> None:
    with watching(rundir, "watch") as (watcher, printed):
        with netns.create("last", rundir=rundir):
            for line in printed:
                assert line.split()[1] in ("begun", "last")
                if line == "appeared last\n":
                    break
            netns.delete("last", rundir=rundir)
        assert printed.read() == "disappeared last\n"
        assert watcher.wait(30) == 0


def test_watch(name: str) -> None:
    watcher = subprocess.Popen([*COMMAND, "watch", "--json"], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    try:
        # It has started when it prints its first name.
        for turn in range(1000):
            check_output("add", f"{name}-{turn}") if turn == 0 else netns.create(
                f"{name}-{turn}"
            ).close()
            netns.delete(f"{name}-{turn}")
            os.set_blocking(watcher.stdout.fileno(), False)
            line = watcher.stdout.readline()
            if line:
                break
        os.set_blocking(watcher.stdout.fileno(), True)
        netns.create(name).close()
        for line in watcher.stdout:
            if json.loads(line) == {"kind": "appeared", "name": name}:
                break
        netns.delete(name)
        for line in watcher.stdout:
            if json.loads(line) == {"kind": "disappeared", "name": name}:
                break
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(30) == 128 + signal.SIGINT
    finally:
        watcher.kill()
        watcher.communicate()
    assert run("watch", "--timeout", "0").returncode == 0


def test_exec_passes_the_status_on(name: str) -> None:
    netns.create(name).close()
    assert run("exec", name, "sh", "-c", "exit 42").returncode == 42
    assert run("exec", f"{RUN}/{name}", "sh", "-c", "kill -9 $$").returncode == -signal.SIGKILL
    assert run("exec", name, "/nonexistent/command").returncode == 127
    assert run("exec", name, "/etc/passwd").returncode == 126
    assert check_output("exec", name, "echo", "-n", "--help", "-x") == "--help -x"


@pytest.fixture
def rundir(tmp_path: Path) -> Iterator[Path]:
    """A run directory of the test's own, with the names a and b."""
    path = tmp_path / "run"
    for each in "ab":
        netns.create(each, rundir=path).close()
    yield path
    netns.delete(*netns.names(rundir=path), rundir=path)
    unshare_run_directory(path)


def test_exec_passes_signals_on(rundir: Path) -> None:
    netns.delete("b", rundir=rundir)
    script = 'trap "echo caught; exit 3" TERM; echo ready; while read -r _; do :; done'
    for where in ("a", "--all"):
        child = subprocess.Popen(
            [*COMMAND, "--rundir", str(rundir), "exec", where, "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdin is not None
        for line in child.stdout:
            if line == "ready\n":
                break
        child.send_signal(signal.SIGTERM)
        printed = child.stdout.read()
        child.stdin.close()
        child.stdout.close()
        assert (printed, child.wait(30)) == ("caught\n", 3)


def test_exec_leaves_signals_as_found(name: str, rundir: Path) -> None:
    """Python ignores SIGPIPE; what is ignored stays so in a command."""
    netns.create(name).close()
    command = ["sh", "-c", "yes | head -1; grep SigIgn /proc/self/status"]
    for where in ("a", "--all"):
        done = run("--rundir", str(rundir), "exec", where, *command)
        assert done.stderr == ""
        ignored = int(done.stdout.split()[-1], 16)
        assert not ignored & 1 << signal.SIGPIPE - 1
    assert ip("netns", "exec", name, *command) == check_output("exec", name, *command)


def test_exec_runs_a_script_without_an_interpreter(name: str, tmp_path: Path) -> None:
    netns.create(name).close()
    script = tmp_path / "script"
    script.write_text("echo $0 $1; exit 7")
    script.chmod(0o755)
    done = run("exec", name, str(script), "x")
    assert (done.returncode, done.stdout) == (7, f"{script} x\n")
    if IP is not None:
        theirs = subprocess.run([IP, "netns", "exec", name, script, "x"], capture_output=True)
        assert (theirs.returncode, theirs.stdout.decode()) == (done.returncode, done.stdout)
    assert run("exec", name, "").returncode == 127


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_exec_in_all(tmp_path: Path, number: signal.Signals) -> None:
    """It must not end one command alone, and go on with the next namespace."""
    rundir = tmp_path / "run"
    try:
        for each in "abc":
            netns.create(each, rundir=rundir).close()
        child = subprocess.Popen(
            [
                *COMMAND,
                "--rundir",
                str(rundir),
                "exec",
                "--all",
                "sh",
                "-c",
                "echo in; exec sleep 60",
            ],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            if line == b"in\n":
                break
        if number == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
        rest, _ = child.communicate(timeout=30)
        assert rest == b""
        assert child.returncode == 128 + number
    finally:
        netns.delete(*netns.names(rundir=rundir), rundir=rundir)
        unshare_run_directory(rundir)


def test_a_name_of_any_bytes_in_any_locale(name: str) -> None:
    odd = name + "\udcff"
    netns.create(odd).close()
    try:
        done = subprocess.run(
            [*COMMAND, "list"],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        )
        assert os.fsencode(odd) in done.stdout.splitlines()
        assert done.stderr == b""
    finally:
        netns.delete(odd)


def test_a_closed_pipe_ends_it_quietly() -> None:
    child = subprocess.Popen(
        [*COMMAND, "discover", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(30) == -signal.SIGPIPE


def test_exec_in_all_counts_on_a_terminal(tmp_path: Path) -> None:
    rundir = tmp_path / "run"
    master, slave = pty.openpty()
    try:
        for each in "ab":
            netns.create(each, rundir=rundir).close()
        done = subprocess.run(
            [*COMMAND, "--rundir", str(rundir), "exec", "--all", "true"],
            stdout=subprocess.PIPE,
            stderr=slave,
        )
        assert done.stdout == b"\nnetns: a\n\nnetns: b\n"
        printed = b""
        while not printed.endswith(b"\n"):  # a thread of the kernel brings it
            printed += os.read(master, 100)
        assert printed == b"\r1/2\r2/2\r\n"
    finally:
        os.close(master)
        os.close(slave)
        netns.delete(*netns.names(rundir=rundir), rundir=rundir)
        unshare_run_directory(rundir)


def test_exec_elsewhere(name: str, inside: subprocess.Popen[bytes]) -> None:
    with netns.open(name) as ns:
        link = f"net:[{ns.ino}]\n"
    assert check_output("exec", "--pid", str(inside.pid), "readlink", "/proc/self/ns/net") == link
    fresh = check_output("exec", "--new", "--", "readlink", "/proc/self/ns/net")
    assert fresh not in (link, here() + "\n")
    for wrong in (["--new", "--pid", "1", "true"], ["--all"], [name], []):
        assert run("exec", *wrong).returncode == 1


def test_exec_in_all(rundir: Path) -> None:
    script = "readlink /proc/self/ns/net; exit 5"
    done = run("--rundir", str(rundir), "exec", "--all", "sh", "-c", script)
    inodes = {name: (rundir / name).stat().st_ino for name in "ab"}
    assert done.stdout == "".join(f"\nnetns: {k}\nnet:[{v}]\n" for k, v in inodes.items())
    assert done.returncode == 5
    assert run("--rundir", str(rundir), "delete", "--all").returncode == 0
    assert netns.names(rundir=rundir) == []


def test_exec_in_all_reports_each_failure(rundir: Path) -> None:
    done = run("--rundir", str(rundir), "exec", "--all", "/nonexistent/command")
    assert done.returncode == 127
    assert done.stderr.count("/nonexistent/command") == 2
    without = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = subprocess.run(
        [*without, *COMMAND, "--rundir", str(rundir), "exec", "--all", "true"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["netns", " enter the namespace"]
    ] * 2


def test_exec_shows_the_namespaces_devices(name: str) -> None:
    netns.create(name).close()
    shown = check_output("exec", name, "ls", "/sys/class/net").split()
    if IP is not None:
        assert shown == ip("netns", "exec", name, "ls", "/sys/class/net").split()
    assert "lo" in shown
    assert not any(device.startswith("eth") for device in shown)


def test_exec_binds_the_configuration(name: str) -> None:
    """/etc/netns/NAME/resolv.conf over /etc/resolv.conf, for the command alone."""
    netns.create(name).close()
    directory = Path("/etc/netns") / name
    found = directory.parent.exists()
    try:
        directory.mkdir(parents=True)
    except PermissionError as error:
        pytest.skip(f"/etc/netns is not ours to write to: {error}")
    try:
        (directory / "resolv.conf").write_text("nameserver 192.0.2.53\n")
        before = Path("/etc/resolv.conf").read_text()
        assert check_output("exec", name, "cat", "/etc/resolv.conf") == "nameserver 192.0.2.53\n"
        assert Path("/etc/resolv.conf").read_text() == before
        (directory / "netns-test-nothing").touch()
        assert check_output("exec", name, "true") == ""
    finally:
        shutil.rmtree(directory)
        if not found:
            with contextlib.suppress(OSError):  # it has other files
                directory.parent.rmdir()


def test_messages_of_failures(name: str) -> None:
    netns.create(name).close()
    again = run("add", name)
    assert again.returncode == 1
    assert again.stderr == f"netns: the name {name!r} exists already; see netns list\n"
    missing = run("delete", f"{name}-a", f"{name}-b")
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 2
    for command in (["pids", f"{name}-a"], ["identify", "4194305"], ["identify", "0"]):
        assert run(*command).returncode == 1
    for command in (["delete"], ["identify", "x"], ["attach", name]):
        assert run(*command).returncode == 1
    for command in (["nonsense"], ["exec", f"{name}-a", "true"]):
        assert run(*command).returncode == 255


def test_a_name_that_looks_like_an_option(rundir: Path) -> None:
    where = ("--rundir", str(rundir))
    check_output(*where, "add", "--", "-x")
    assert check_output(*where).split() == ["-x", "a", "b"]
    assert check_output(*where, "exec", "--", "-x", "echo", "--", "y") == "-- y\n"
    assert check_output(*where, "exec", "a", "--", "echo", "y") == "y\n"
    assert check_output(*where, "--", "pids", "--", "-x") == ""
    check_output(*where, "del", "--", "-x")
    assert check_output(*where, "li", "--json") == check_output(*where, "show", "--json")


def test_two_delete_all_at_once(rundir: Path) -> None:
    for turn in range(3):
        for each in range(20):
            netns.create(f"{turn}-{each}", rundir=rundir).close()
        command = [*COMMAND, "--rundir", str(rundir), "delete", "--all"]
        both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
        assert [(child.communicate()[1], child.returncode) for child in both] == [(b"", 0)] * 2


def test_children_that_nobody_waits_for(rundir: Path) -> None:
    """Its parent may ignore SIGCHLD; it passes the statuses on all the same."""
    script = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    look = ["grep", "-e", "SigIgn", "-e", "none such", "/proc/self/status", "/nonexistent"]
    for where in (["--all"], ["a"]):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                *COMMAND,
                "--rundir",
                str(rundir),
                "exec",
                *where,
                *look,
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert int(done.stdout.split()[-1], 16) & 1 << signal.SIGCHLD - 1


@pytest.mark.parametrize("command", ["list", "discover --json", "help", "exec --all true"])
def test_standard_output_full_or_closed(rundir: Path, command: str) -> None:
    words = f"exec {' '.join(COMMAND)} --rundir {rundir} {command}"
    for where, why in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        done = subprocess.run(["sh", "-c", f"{words} {where}"], stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (1, f"netns: standard output: {why}\n")
    # A command that prints nothing of its own succeeds.
    assert os.system(f"{' '.join(COMMAND)} --rundir {rundir} exec a true >&-") == 0


def test_monitor_has_the_words_of_ip(rundir: Path) -> None:
    with watching(rundir, "mon") as (watcher, printed):
        assert printed.readline().split()[0] in ("add", "delete")
        watcher.kill()


def on_a_terminal(*args: str) -> str:
    """What a command prints with a terminal as its output."""
    master, slave = pty.openpty()
    child = subprocess.Popen([*COMMAND, *args], stdout=slave)
    os.close(slave)
    printed = b""
    try:
        while True:
            printed += os.read(master, 4096)
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(master)
    assert child.wait() == 0
    return printed.decode()


def test_only_on_a_terminal_are_odd_names_escaped(name: str) -> None:
    odd = name + "\x1b[31m\n\udcff"
    netns.create(odd).close()
    try:
        assert odd in check_output("list")
        assert f"{name}\\x1b[31m\\n\\udcff" in on_a_terminal("list")
        assert odd in [each["name"] for each in parsed("list")]
    finally:
        netns.delete(odd)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str, name: str) -> None:
    script = check_output("completion", shell)
    assert "discover" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([program, "-n", "-c", script], check=True)
    if shell == "bash":
        for words, expected in (
            ("dis", "discover"),
            ("delete --a", "--all"),
            ("ident", "identify"),
        ):
            typed = f"netns {words}"
            complete = f"COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}; " + (
                "COMP_LINE=$typed; _shtab_netns netns; echo ${COMPREPLY[@]}"
            )
            done = subprocess.run(
                [program, "-c", script + complete], capture_output=True, text=True, check=True
            )
            assert done.stdout == expected + "\n"


def test_demo() -> None:
    pytest.importorskip("pyroute2", reason="the demo needs pyroute2 (pynetns[demo])")
    lines = check_output("demo").splitlines()
    homes = [line for line in lines if line.startswith("home")]
    assert len(homes) == 2
    assert homes[0] == homes[1]
    assert here() in homes[0]
    links = [line for line in lines if line.startswith("  links:")]
    assert [("dummy0" in line) for line in links] == [False, True, False]
    assert lines[-1] == "The thread is home again."


def test_demo_without_privileges() -> None:
    """It runs as root of a user namespace; where that is not enough, it prints the error."""
    pytest.importorskip("pyroute2", reason="the demo needs pyroute2 (pynetns[demo])")
    script = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from netns._cli import main
from support import Capabilities
with Capabilities():
    sys.exit(main())
"""
    command = [sys.executable, "-c", script, str(Path(__file__).parent), "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("make a namespace: ")
    assert lines[-1] == "The thread is home again."
    env = {**os.environ, "NETNS_DEMO_IN_USER_NAMESPACE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("netns: make a namespace: ")


def test_demo_where_links_may_not_be_added() -> None:
    pytest.importorskip("pyroute2", reason="the demo needs pyroute2 (pynetns[demo])")
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *COMMAND, "demo"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("netns: no link can be added here: (1, ")


def listed_inside(rundir: Path, *around: str, **options: Any) -> list[str]:
    """What `netns list` prints where the namespaces a and b have ids, 1 and 2, and c none."""
    with netns.new() as away, away.enter():
        for nsid, name in enumerate("ab", 1):
            with netns.open(name, rundir=rundir) as ns:
                ns.nsid = nsid
        netns.create("c", rundir=rundir).close()
        command = [*around, *COMMAND, "--rundir", str(rundir), "list"]
        printed: str = subprocess.check_output(command, text=True, timeout=60, **options)
    return printed.splitlines()


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to count the sockets")
def test_list_asks_all_ids_over_one_socket(rundir: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    strace = ["strace", "-f", "-o", str(calls), "-e", "trace=socket"]
    assert listed_inside(rundir, *strace) == ["a (id: 1)", "b (id: 2)", "c"]
    # The first one's question is whether there are any ids.
    assert calls.read_text().count("AF_NETLINK") == 2


def test_list_of_more_names_than_a_process_may_open(rundir: Path) -> None:
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (10, 10))
    extras = [f"d{number}" for number in range(10)]
    for extra in extras:
        netns.create(extra, rundir=rundir).close()
    assert listed_inside(rundir, preexec_fn=few) == ["a (id: 1)", "b (id: 2)", "c", *extras]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT])
def test_list_without_rtnetlink(rundir: Path, number: int) -> None:
    command = [*refusing(number, "netlink"), *COMMAND, "--rundir", str(rundir), "list"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a\nb\n")
    assert done.stderr.startswith("netns: warning: ids are left out: get the id: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOSYS])
def test_where_newer_calls_are_refused(tmp_path: Path, number: int) -> None:
    (tmp_path / "run").mkdir()
    where = ("--rundir", str(tmp_path / "run"))
    command = [*refusing(number), *COMMAND, *where]
    for words in ("add a", "exec a true", "set a auto", "del a", "list", "exec --new true"):
        done = subprocess.run([*command, *words.split()], capture_output=True, text=True)
        assert (words, done.returncode, done.stderr) == (words, 0, "")
    subprocess.run(["umount", where[1]], check=True)


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
needs_root = pytest.mark.skipif(
    subprocess.run([*AS_NOBODY, *COMMAND, "--version"], capture_output=True).returncode != 0,
    reason="needs setpriv, root, and a Python that everybody may run",
)


@pytest.fixture
def container() -> Iterator[int]:
    """A process of user nobody, in user and network namespaces of its own."""
    child = subprocess.Popen(
        [*AS_NOBODY, "unshare", "--user", "--map-root-user", "--net"]
        + ["sh", "-c", "echo; exec sleep 60"],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    yield child.pid
    child.kill()
    child.communicate()


@needs_root
def test_exec_in_a_rootless_container(container: int) -> None:
    link = os.readlink(f"/proc/{container}/ns/net")
    look = ["sh", "-c", "readlink /proc/self/ns/net; ls /sys/class/net; id -u"]
    for where in (["--pid", str(container)], [f"/proc/{container}/ns/net"]):
        done = subprocess.run(
            [*AS_NOBODY, *COMMAND, "exec", *where, *look], capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == (f"{link}\nlo\n0\n", "")
    refused = subprocess.run(
        [*AS_NOBODY, *COMMAND, "exec", "--new", "true"], capture_output=True, text=True
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (255, 1)


@needs_root
def test_exec_in_a_container_in_a_rootless_container() -> None:
    script = "unshare --user --map-root-user --net sh -c 'echo $$; exec sleep 60'"
    child = subprocess.Popen(
        [*AS_NOBODY, "unshare", "--user", "--map-root-user", "sh", "-c", script],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        done = subprocess.run(
            [*AS_NOBODY, *COMMAND, "exec", "--pid", str(pid), "readlink", "/proc/self/ns/net"],
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == (os.readlink(f"/proc/{pid}/ns/net") + "\n", "")
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


@needs_root
def test_do_says_what_would_work(container: int) -> None:
    script = f"import netns; netns.do('/proc/{container}/ns/net', lambda host: None)"
    done = subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", script], capture_output=True, text=True
    )
    assert "nsenter --user --net --preserve-credentials" in done.stderr.splitlines()[-1]


@needs_root
def test_a_login_session_sees_the_hosts_names(name: str) -> None:
    ip("netns", "add", name)
    with netns.open(name) as ns:
        ino = ns.ino
    own = Path(tempfile.mkdtemp())  # not tmp_path, which others may not enter
    own.chmod(0o755)

    def session(script: str, **more: str) -> str:
        done = subprocess.run(
            [*AS_NOBODY, sys.executable, "-c", f"import netns\n{script}"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(own), **more},
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    look = f"""
print("{name}" in netns.names(), netns.open("{name}").path, netns.is_netns("{name}"))
print([each.names for each in netns.discover() if each.ino == {ino}])
try:
    netns.open("{name}-a")
except netns.NotFoundError as error:
    print(error.path)
try:
    netns.delete("{name}")
except netns.NotPermittedError as error:
    print(error.path)
"""
    assert session(look, PYTHONWARNINGS="ignore").splitlines() == [
        f"True {RUN / name} True",
        f"[('{name}',)]",
        str(own / "netns" / f"{name}-a"),
        str(RUN / name),
    ]
    alone = f"print('{name}' in netns.names())"
    assert session(alone, NETNS_RUN_DIR=str(own / "else")) == "False\n"
    # A name of the user's own comes before the host's.
    netns.create(name, rundir=own / "netns").close()
    try:
        assert session(f"print(netns.open('{name}').path)", PYTHONWARNINGS="ignore") == (
            f"{own / 'netns' / name}\n"
        )
    finally:
        netns.delete(name, rundir=own / "netns")
        subprocess.run(["umount", own / "netns"], check=True)
        shutil.rmtree(own)


@needs_root
def test_without_a_session_the_error_names_the_variable(name: str) -> None:
    netns.create(name).close()
    environment = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    done = subprocess.run(
        [
            *AS_NOBODY,
            "unshare",
            "--user",
            "--net",
            "--map-root-user",
            *COMMAND,
            "add",
            name + "-a",
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "set NETNS_RUN_DIR" in done.stderr


@needs_root
def test_a_program_with_file_capabilities_refuses_the_variable(tmp_path: Path) -> None:
    """Ignoring it silently could delete the host's names in place of the user's."""
    if shutil.which("setcap") is None:
        pytest.skip("needs setcap")
    copy = tmp_path / "python"
    shutil.copy(os.path.realpath(sys.executable), copy)
    subprocess.run(["setcap", "cap_net_admin+ep", copy], check=True)
    script = "import netns; netns.names()"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [*AS_NOBODY, copy, "-c", script],
        env={"NETNS_RUN_DIR": "/nowhere", "PYTHONPATH": paths, "PYTHONHOME": sys.base_prefix},
        capture_output=True,
        text=True,
    )
    if "netns" not in done.stderr:
        pytest.skip(f"that Python does not start elsewhere: {done.stderr}")
    assert "do not use it: 'NETNS_RUN_DIR'" in done.stderr


def test_lines_read_without_argparse_mean_the_same() -> None:
    words = ["--json", "--all", "--new", "--pid", "--", "-h", "-", "", "a", "b/c", ".", "1", "-1"]
    reference = _arguments.parser()
    for verb, count in product([*_words.COMMANDS, "nonsense"], range(4)):
        for rest in product(words, repeat=count) if count < 3 or verb == "exec" else ():
            args = _words.simple([verb, *rest])
            if args is not None:
                made = vars(reference.parse_args([verb, *rest]))
                assert {name: getattr(args, name) for name in made} == made


@pytest.mark.parametrize("words", [["list"], ["add", "a"], ["delete", "a"], ["exec", "a", "-x"]])
def test_common_lines_are_read_without_argparse(words: list[str]) -> None:
    assert _words.simple(words) is not None


def test_a_list_imports_little() -> None:
    code = "import sys\nfrom netns._cli import main\nmain()\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", "list"],
        capture_output=True,
        text=True,
    )
    heavy = {"argparse", "enum", "json", "re", "shutil", "signal", "socket", "threading", "typing"}
    assert done.returncode == 0, done.stderr
    assert heavy.isdisjoint(done.stderr.split())
