"""That no call has become half as slow again: a few seconds, for each change.

    python benchmarks/limits.py

The library and the floor take turns with short batches, on one CPU. The best batch of
each is compared: what else the machine does lengthens others. A limit that is broken is
measured again, for longer, before it counts. race.py has what is worth to be quoted.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import netns
from contestants import CONTESTANTS, TARGET, Contestant
from operations import FLOOR, OPERATIONS, OURS, Operation
from race import INSIDE, Crowd, in_own_host

# What the library may take, times what the floor takes, and calls in a batch: short enough
# to be over, now and then, before somebody else's turn.
LIMITS = {
    "do": (1.9, 200),
    "enter": (1.95, 200),
    "visit": (1.9, 400),
    "open": (5.5, 100),
    "new": (1.5, 1),
}
NAMES = 20  # that a tour visits
ROUNDS, ROUNDS_AGAIN = 60, 240


def best(
    racing: Mapping[str, Contestant], operation: Operation, count: int, rounds: int
) -> dict[str, float]:
    """The shortest batch of each, in seconds for one call."""
    found = dict.fromkeys(racing, float("inf"))
    order = list(racing)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            spent = racing[name].spend(operation, count, NAMES)
            found[name] = min(found[name], spent / count / 1e9)
    return found


def check(racing: Mapping[str, Contestant]) -> bool:
    met = True
    for operation in OPERATIONS:
        if operation.key not in LIMITS:
            continue
        limit, count = LIMITS[operation.key]
        for rounds in (ROUNDS, ROUNDS_AGAIN):
            found = best(racing, operation, count, rounds)
            ratio = found[OURS] / found[FLOOR]
            verdict = "ok" if ratio <= limit else "SLOWER"
            figures = f"{found[OURS] * 1e6:.2f} µs, {ratio:.2f} x the floor, at most {limit}"
            print(f"{operation.key}: {figures}: {verdict}", flush=True)
            if ratio <= limit:
                break
        met = met and ratio <= limit
    return met


def main() -> int:
    if not os.environ.get(INSIDE):
        return in_own_host()
    netns.create(TARGET).close()
    Crowd().grow(NAMES)
    build = Path(tempfile.gettempdir())
    racing: dict[str, Contestant] = {}
    try:
        for name in (FLOOR, OURS):
            racing[name] = CONTESTANTS[name](build)
        return 0 if check(racing) else 1
    finally:
        for each in racing.values():
            each.close()


if __name__ == "__main__":
    sys.exit(main())
