"""Older kernels: the library does without the calls they lack, as its documentation says."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import calls
import netns
from support import CLONE_NEWNS, LIBC, MS_REC, MS_SLAVE, RUN, has_call, unshare_run_directory

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/kernels.md"
LISTNS = 470

NS_GET_USERNS, NS_GET_NSTYPE, NS_GET_OWNER_UID = 0xB701, 0xB703, 0xB704
NS_GET_ID, SIOCGSKNS, SO_NETNS_COOKIE = 0x8008B70D, 0x894C, 71
# Requests that Linux 4.9 lacks, and its answer to each.
REQUESTS = {
    NS_GET_NSTYPE: errno.ENOTTY,
    NS_GET_OWNER_UID: errno.ENOTTY,
    NS_GET_ID: errno.ENOTTY,
    SIOCGSKNS: errno.EFAULT,  # taken for a request about a device, it lacks the name
}
CLOSE_RANGE, STATMOUNT, LISTMOUNT = CALLS = 436, 457, 458  # that Linux 4.9 lacks
NUMBERS = {  # of ioctl, getsockopt
    "x86_64": (16, 55),
    "aarch64": (29, 209),
    "riscv64": (29, 209),
}


def be_old() -> None:
    """From now on this process gets Linux 4.9's answers to what is above."""
    ioctl, getsockopt = NUMBERS[os.uname().machine]
    load, same, answer = 0x20, 0x15, 0x06  # LD|W|ABS, JEQ|K, RET|K
    allow, refuse = 0x7FFF0000, 0x00050000
    code: list[tuple[int, int, int, int]] = []

    def when(number: int, argument: int, answers: dict[int, int]) -> None:
        code.append((load, 0, 0, 0))  # the number of the call
        code.append((same, 0, 1 + 2 * len(answers), number))
        code.append((load, 0, 0, 16 + 8 * argument))
        for value, error in answers.items():
            code.extend([(same, 0, 1, value), (answer, 0, 0, refuse | error)])

    when(ioctl, 1, REQUESTS)
    when(getsockopt, 2, {SO_NETNS_COOKIE: errno.ENOPROTOOPT})
    code.append((load, 0, 0, 0))
    for number in CALLS:
        code.extend([(same, 0, 1, number), (answer, 0, 0, refuse | errno.ENOSYS)])
    code.append((answer, 0, 0, allow))
    filters = b"".join(struct.pack("=HBBI", *each) for each in code)
    buffer = ctypes.create_string_buffer(filters)
    program = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert LIBC.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())


def on_an_old_kernel(body: Callable[..., None], *args: object) -> None:
    """Runs body in a child: a filter can't be taken back."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            be_old()
            body(*args)
            os._exit(0)
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode()[:4000])
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0, text


needs_filters = pytest.mark.skipif(
    os.uname().machine not in NUMBERS, reason="the numbers of this processor's calls are not known"
)


@needs_filters
def test_an_old_kernel_tells_no_owner(name: str) -> None:
    """discover() lists the namespaces without their owners."""

    def body() -> None:
        with netns.current() as home:
            assert home.owner_uid is None
        found = netns.discover()
        assert [each.owner_uid for each in found] == [None] * len(found)
        assert name in [each for one in found for each in one.names]
        command = [sys.executable, "-m", "netns", "discover"]
        for options in ([], ["--json"]):
            done = subprocess.run([*command, *options], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert name in done.stdout
        owners = [each["owner_uid"] for each in json.loads(done.stdout)["namespaces"]]
        assert set(owners) == {None}

    netns.create(name).close()
    on_an_old_kernel(body)


@needs_filters
def test_an_old_kernel_lists_no_mounts() -> None:
    """A command gets what is mounted below /sys all the same."""

    def body() -> None:
        assert not has_call(LISTMOUNT)
        assert LIBC.unshare(CLONE_NEWNS) == 0
        assert LIBC.mount(b"", b"/", None, MS_SLAVE | MS_REC, None) == 0
        assert LIBC.mount(b"none", b"/sys/fs/cgroup", b"tmpfs", 0, None) == 0
        Path("/sys/fs/cgroup/carried").touch()
        with netns.new() as ns:
            ns.run(["test", "-e", "/sys/fs/cgroup/carried"], check=True)

    on_an_old_kernel(body)


@needs_filters
def test_an_old_kernel_has_one_table_of_descriptors(tmp_path: Path) -> None:
    """Names are deleted together without another one."""
    rundir = tmp_path / "run"

    def body() -> None:
        assert not has_call(CLOSE_RANGE)
        netns.delete(*netns.names(rundir=rundir), rundir=rundir)

    with netns.new() as ns:
        for number in range(40):
            ns.pin(str(number), rundir=rundir)
    on_an_old_kernel(body)
    left = os.listdir(rundir)
    unshare_run_directory(rundir)
    assert not left


@needs_filters
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET6, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_NETLINK, socket.SOCK_RAW),
    ],
)
def test_an_old_kernel_does_not_tell_of_sockets(family: int, kind: int) -> None:
    def body() -> None:
        with socket.socket(family, kind) as sock, pytest.raises(netns.KernelError) as caught:
            netns.from_socket(sock)
        assert caught.value.errno == errno.ENOTTY
        assert str(caught.value) == (
            "open the socket's namespace: this kind of socket or kernel does not tell "
            "(needs Linux 4.10)"
        )

    on_an_old_kernel(body)


@needs_filters
def test_an_old_kernel_has_no_cookies() -> None:
    def body() -> None:
        with netns.current() as home, pytest.raises(netns.KernelError) as caught:
            home.cookie  # noqa: B018
        assert caught.value.errno == errno.ENOPROTOOPT
        assert str(caught.value) == ("ask for the cookie: this kernel has none (needs Linux 5.14)")

    on_an_old_kernel(body)


@needs_filters
def test_an_old_kernel_tells_types_apart(name: str) -> None:
    """A pin of another type is not listed, opened or deleted."""
    netns.create(name).close()
    path = RUN / f"{name}-uts"
    path.touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/uts", path], check=True)

    def body() -> None:
        for use in (netns.open, netns.check, netns.delete, netns.pids):
            with pytest.raises(netns.NotNamespaceError):
                use(path.name)
            with pytest.raises(netns.NotNamespaceError):
                use(path)
        assert not netns.is_netns(path)
        listed = netns.names()
        assert name in listed
        assert path.name not in listed
        netns.delete(name)
        assert os.path.samestat(path.stat(), os.stat("/proc/self/ns/uts"))

    try:
        on_an_old_kernel(body)
    finally:
        subprocess.run(["umount", path], check=True)
        path.unlink()


@pytest.mark.skipif(not has_call(LISTNS), reason="needs listns (Linux 6.19)")
def test_a_descriptor_under_way_is_found() -> None:
    one, other = socket.socketpair()
    with one, other:
        with netns.new() as ns:
            ino, cookie = ns.ino, ns.cookie
            socket.send_fds(one, [b"."], [ns.fileno()])
        (found,) = [each for each in netns.discover(descriptors=True) if each.ino == ino]
        assert (found.paths, found.pids, found.threads, found.holders) == ((), (), (), ())
        assert found.cookie == cookie
        with found.open() as again:
            assert (again.ino, again.cookie) == (ino, cookie)
    with pytest.raises(netns.NotFoundError):
        found.open()


def rows(title: str) -> list[list[str]]:
    """The rows of the table below that title, its head first."""
    text = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip("` ") for cell in line[1:-1].split("|")]
        for line in lines
        if not line.startswith("| ---")
    ]


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def test_since_is_where_it_began_to_work() -> None:
    """docs/kernels.md has the kernels that each call was tried on; "Since" must agree with them.

    A newer call is tried by the next run, which fails where "Since" is wrong. Nothing is
    added to the page by hand.
    """
    head, *found = rows("What works")
    documented = calls.documented()
    assert found
    assert {name for name, *_ in found} <= set(documented)
    for name, since, *worked in found:
        assert since == documented[name], f"{name}: run `tox -e kernels -- --write` again"
        tried = [each for each in zip(head[2:], worked) if each[1] != "–"]
        assert tried
        for kernel, answer in tried:
            assert answer == ("yes" if version(kernel) >= version(since) else "no"), (name, kernel)


def test_the_readme_names_the_kernels_of_the_page() -> None:
    releases = rows("What works")[0][2:]
    tested = re.search(r"tested on \[(.*?)\]\(docs/kernels.md\)", (ROOT / "README.md").read_text())
    assert tested is not None
    assert [version(each) for each in re.split(", | and ", tested[1])] == [
        version(each) for each in releases
    ]


def test_each_call_is_tried() -> None:
    with netns.current() as home:
        assert set(calls.calls(home, "any")) == set(calls.documented())


def test_the_running_kernel_has_what_is_documented() -> None:
    script = str(ROOT / "tests/kernels/calls.py")
    said = subprocess.check_output([sys.executable, script], text=True)
    documented, running = calls.documented(), version(os.uname().release)
    for name, answer in re.findall(r"^@@ call (\S+) (.*)$", said, re.MULTILINE):
        assert (answer == "ok") == (running >= version(documented[name])), (name, answer)
