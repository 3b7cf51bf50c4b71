"""Compares handles, names and guards with a model, in orders that hypothesis finds."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import netns
from netns._native import Guard
from support import PREFIX, here

NAMES = [f"{PREFIX}{uuid.uuid4().hex[:8]}-{i}" for i in range(3)]


class Model(RuleBasedStateMachine):
    """The state that should be: the open handles, the names, where the thread is."""

    handles = Bundle("handles")
    guards = Bundle("guards")

    def __init__(self) -> None:
        super().__init__()
        self.home = int(here()[5:-1])
        self.made: list[netns.NetNS] = []
        self.closed: set[int] = set()
        self.names: dict[str, int] = {}
        self.stack: list[tuple[Guard, int]] = []  # guards inside, and where each went
        self.void: list[Guard] = []  # ended by another one that was left out of order

    def keep(self, ns: netns.NetNS) -> netns.NetNS:
        self.made.append(ns)
        return ns

    def is_closed(self, ns: netns.NetNS) -> bool:
        return id(ns) in self.closed

    @property
    def place(self) -> int:
        return self.stack[-1][1] if self.stack else self.home

    @rule(target=handles)
    def new(self) -> netns.NetNS:
        return self.keep(netns.new())

    @rule(target=handles)
    def current(self) -> netns.NetNS:
        ns = self.keep(netns.current())
        assert ns.ino == self.place
        return ns

    @rule(target=handles, ns=handles)
    def copy(self, ns: netns.NetNS) -> object:
        if self.is_closed(ns):
            with pytest.raises(netns.ClosedError):
                netns.from_fd(ns.fileno())
            return multiple()
        copy = self.keep(netns.from_fd(ns.fileno()))
        assert copy == ns
        assert hash(copy) == hash(ns)
        return copy

    @rule(ns=handles)
    def close(self, ns: netns.NetNS) -> None:
        ns.close()
        self.closed.add(id(ns))

    @rule(target=handles, name=st.sampled_from(NAMES), exist_ok=st.booleans())
    def create(self, name: str, exist_ok: bool) -> object:
        if name in self.names and not exist_ok:
            with pytest.raises(netns.ExistsError):
                netns.create(name)
            return multiple()
        ns = self.keep(netns.create(name, exist_ok=exist_ok))
        assert self.names.setdefault(name, ns.ino) == ns.ino
        return ns

    @rule(ns=handles, name=st.sampled_from(NAMES))
    def pin(self, ns: netns.NetNS, name: str) -> None:
        if self.is_closed(ns):
            with pytest.raises(netns.ClosedError):
                ns.pin(name)
        elif name in self.names:
            with pytest.raises(netns.ExistsError):
                ns.pin(name)
        else:
            ns.pin(name)
            self.names[name] = ns.ino

    @rule(target=handles, name=st.sampled_from(NAMES))
    def open(self, name: str) -> object:
        if name not in self.names:
            with pytest.raises(netns.NotFoundError):
                netns.open(name)
            return multiple()
        ns = self.keep(netns.open(name))
        assert ns.ino == self.names[name]
        return ns

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.names:
            netns.delete(name)
            del self.names[name]
        else:
            with pytest.raises(netns.NotFoundError):
                netns.delete(name)

    @rule(ns=handles)
    def do(self, ns: netns.NetNS) -> None:
        if self.is_closed(ns):
            with pytest.raises(netns.ClosedError):
                ns.do(lambda host: None)
        else:
            seen = ns.do(lambda host: (here(), host.ino))
            assert seen == (f"net:[{ns.ino}]", self.place)

    @rule(target=guards, ns=handles)
    def enter(self, ns: netns.NetNS) -> object:
        guard = ns.enter()
        if self.is_closed(ns):
            with pytest.raises(netns.ClosedError):
                guard.__enter__()
            return multiple()
        assert guard.__enter__().ino == self.place
        self.stack.append((guard, ns.ino))
        return guard

    @rule(guard=consumes(guards))
    def leave(self, guard: Guard) -> None:
        if self.stack and guard is self.stack[-1][0]:
            guard.__exit__(None, None, None)
            self.stack.pop()
            return
        with pytest.raises(netns.OrderError):
            guard.__exit__(None, None, None)
        if any(guard is other for other, _ in self.stack):
            self.void += [other for other, _ in self.stack if other is not guard]
            self.stack.clear()

    @invariant()
    def thread_is_where_it_should_be(self) -> None:
        assert here() == f"net:[{self.place}]"

    @invariant()
    def handles_are_what_they_were(self) -> None:
        for ns in self.made:
            assert ns.closed == self.is_closed(ns)

    @invariant()
    def names_are_as_they_should_be(self) -> None:
        assert [name for name in netns.names() if name in NAMES] == sorted(self.names)

    def teardown(self) -> None:
        for guard, _ in reversed(self.stack):
            guard.__exit__(None, None, None)
        for guard in self.void:
            if guard.active:
                with pytest.raises(netns.OrderError):
                    guard.__exit__(None, None, None)
        for ns in self.made:
            ns.close()
        netns.delete(*self.names)
        assert here() == f"net:[{self.home}]"


@pytest.mark.timeout(600)
def test_against_a_model() -> None:
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
