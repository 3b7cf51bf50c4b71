"""Ids of namespaces, as the calling thread's namespace has them: set, read, listed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netns


def test_given_once_and_read(ns: netns.NetNS) -> None:
    with netns.new() as away, netns.new() as other, away.enter():
        assert netns.nsids() == []
        assert ns.nsid is None
        ns.nsid = 7
        assert ns.nsid == 7
        other.nsid = -1
        assert other.nsid == 0
        assert netns.nsids() == [0, 7]
        listed = subprocess.check_output(["ip", "netns", "list-id"], text=True)
        assert sorted(line.split()[1] for line in listed.splitlines()) == ["0", "7"]
        for taken, why in ((ns, 8), (away, 7)):  # it has one; the id is another's
            with pytest.raises((netns.ExistsError, netns.KernelError)) as caught:
                taken.nsid = why
            assert caught.value.step == "set the id"
        assert away.nsid is None
        # Each namespace has ids of its own: this one has given none.
        assert ns.do(lambda host: netns.nsids()) == []


def test_more_than_one_answer_holds(ns: netns.NetNS) -> None:
    many = [netns.new() for _ in range(600)]
    try:
        with ns.enter():
            for number, each in enumerate(many):
                each.nsid = 3 * number
            assert netns.nsids() == [3 * number for number in range(600)]
    finally:
        for each in many:
            each.close()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1", netns.InvalidTypeError),
        (None, netns.InvalidTypeError),
        (-2, netns.InvalidValueError),
        (2**31, netns.InvalidValueError),
    ],
)
def test_bad_ids(ns: netns.NetNS, value: object, kind: type[netns.Error]) -> None:
    with pytest.raises(kind):
        ns.nsid = value  # type: ignore[assignment]
    assert ns.nsid is None


def test_setting_needs_the_capability(ns: netns.NetNS) -> None:
    script = """
import netns, sys
with netns.open(sys.argv[1]) as ns:
    assert ns.nsid is None
    try:
        ns.nsid = 3
    except netns.NotPermittedError as error:
        print("CAP_NET_ADMIN" in str(error))
"""
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    run = subprocess.run(
        [*without, sys.executable, "-c", script, f"/proc/self/fd/{ns.fileno()}"],
        pass_fds=[ns.fileno()],
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == ("True\n", "")
