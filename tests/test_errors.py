"""The errors: the built-in exception that each one is as well, and its attributes."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys

import pytest

import netns
from support import here

KINDS = {
    netns.NotFoundError: FileNotFoundError,
    netns.ExistsError: FileExistsError,
    netns.NotNamespaceError: OSError,
    netns.NotPermittedError: PermissionError,
    netns.ClosedError: ValueError,
    netns.OrderError: RuntimeError,
    netns.RestoreError: OSError,
    netns.InvalidValueError: ValueError,
    netns.InvalidTypeError: TypeError,
    netns.KernelError: OSError,
}


@pytest.mark.parametrize(("kind", "builtin"), KINDS.items())
def test_kinds(kind: type[netns.Error], builtin: type[Exception]) -> None:
    error = kind(errno.ENOENT, "open the namespace", "/run/netns/blue")
    assert isinstance(error, netns.Error)
    assert isinstance(error, builtin)
    assert (error.errno, error.step, error.path, error.others) == (
        errno.ENOENT,
        "open the namespace",
        "/run/netns/blue",
        (),
    )
    assert str(error) == "open the namespace: No such file or directory: '/run/netns/blue'"
    if isinstance(error, OSError):
        assert error.filename == "/run/netns/blue"
        assert error.strerror == "No such file or directory"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.step, copy.errno) == (
        kind,
        str(error),
        error.step,
        error.errno,
    )


def test_every_error_is_covered() -> None:
    errors = {
        value
        for value in vars(netns).values()
        if isinstance(value, type) and issubclass(value, netns.Error)
    }
    assert errors == {netns.Error, *KINDS}


def in_user_namespace(script: str, *options: str) -> str:
    """What a script prints as root of a user namespace that owns no network namespace."""
    run = subprocess.run(
        ["unshare", "--user", "--map-root-user", *options, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_not_permitted_says_what_is_missing() -> None:
    """Another user namespace owns home, so the thread could not come back."""
    script = """
import errno, os, netns
here = lambda: os.readlink("/proc/thread-self/ns/net")
home = here()
with netns.new() as ns:
    try:
        with ns.enter():
            print("inside")
    except netns.NotPermittedError as error:
        assert error.errno == errno.EPERM and error.step == "check the way back", error
        print(error)
    assert here() == home
    assert ns.do(lambda host: (here(), host.ino)) == (f"net:[{ns.ino}]", int(home[5:-1]))
    assert here() == home
with netns.current() as current:
    try:
        current.set()
    except netns.NotPermittedError as error:
        print(error)
"""
    assert in_user_namespace(script).splitlines() == [
        "check the way back: Operation not permitted "
        "(needs CAP_SYS_ADMIN in the user namespace that owns home)",
        "enter the namespace: Operation not permitted "
        "(needs CAP_SYS_ADMIN in the user namespace that owns the target; one of your own, as a "
        "rootless container's, is joined first by `netns exec` and by "
        "`nsenter --user --net --preserve-credentials`)",
    ]


def test_no_descriptor_left(ns: netns.NetNS) -> None:
    """do() needs no new descriptor; the other calls fail with the step, and leave nothing."""
    script = """
import errno, os, resource, netns
here = lambda: os.readlink("/proc/thread-self/ns/net")
ns = netns.new()
ns.do(lambda host: None)
home = here()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    assert ns.do(lambda host: here()) == f"net:[{ns.ino}]"
for call in (netns.new, netns.current, lambda: netns.from_fd(ns.fileno()),
             lambda: netns.open("/proc/self/ns/net"), lambda: netns.create("netns-test-full")):
    try:
        call()
    except netns.KernelError as error:
        assert error.errno == errno.EMFILE, error
        print(error.step)
    assert here() == home
os.close(taken.pop())
netns.current().close()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "open the new namespace",
        "open the thread's namespace",
        "open the namespace",
        "open the namespace",
        "open the run directory",
    ]
    assert here() != f"net:[{ns.ino}]"
