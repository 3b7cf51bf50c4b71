"""The fault suite: it needs a build with the fault seam, and ends with a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netns._native import lib

TABLE: list[tuple[str, int, int, int, int, int, int]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if hasattr(lib, "fault_arm"):
        return
    for item in items:
        if item.get_closest_marker("seam"):
            reason = "needs a build with the fault seam: NETNS_FAULTS=1, as in tox -e faults"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TABLE:
        return
    terminalreporter.section("faults injected and survived")
    head = ("operation", "calls", "faults", "refused", "coped", "loud", "killed")
    terminalreporter.write_line("{:34}{:>7}{:>8}{:>9}{:>7}{:>6}{:>8}".format(*head))
    for row in TABLE:
        terminalreporter.write_line("{:34}{:>7}{:>8}{:>9}{:>7}{:>6}{:>8}".format(*row))
    totals = [sum(column) for column in zip(*(row[1:] for row in TABLE))]
    terminalreporter.write_line("{:34}{:>7}{:>8}{:>9}{:>7}{:>6}{:>8}".format("all", *totals))
    terminalreporter.write_line(
        "calls: the operation's system calls. faults: each failed with each errno, once and\n"
        "for good. refused: an error that names the step, nothing changed. coped: it worked\n"
        "all the same. loud: the return failed, RestoreError, the thread refused from then\n"
        "on. killed: SIGKILL before each call. Leaks, lost threads, wrong namespaces: none."
    )


@pytest.fixture
def row() -> Iterator[list[object]]:
    """A line of the table, added when its test has passed."""
    found: list[object] = []
    yield found
    if found:
        TABLE.append(tuple(found))  # type: ignore[arg-type]
