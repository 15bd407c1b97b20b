"""Which worker to start or kill. Pure.

Runs as: the application's user.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


class State(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True)
class Child:
    """One worker; its slot is the number it is known by."""

    slot: int
    pid: int
    started_s: float
    deadline_s: float | None  # when it is killed; None: it may stay
    state: State = State.STARTING

    def ready(self) -> Child:
        """Return the worker once it can answer."""
        return replace(self, state=State.READY, deadline_s=None)

    def draining(self, deadline_s: float) -> Child:
        """Return the worker once it was told to finish."""
        return replace(self, state=State.DRAINING, deadline_s=deadline_s)


@dataclass(frozen=True)
class Spawn:
    """Fork the worker of a slot."""

    slot: int


@dataclass(frozen=True)
class Kill:
    """End a worker that missed its deadline."""

    slot: int


Action = Spawn | Kill


def next_actions(
    alive: Sequence[Child], *, wanted: int, not_before_s: Mapping[int, float], now_s: float
) -> list[Action]:
    """Decide how to get from ``alive`` to workers in the slots below ``wanted``."""
    kills: list[Action] = [
        Kill(child.slot)
        for child in alive
        if child.deadline_s is not None and child.deadline_s <= now_s
    ]
    return kills + [
        Spawn(slot) for slot in _missing(alive, wanted) if not_before_s.get(slot, now_s) <= now_s
    ]


def next_wake_s(
    alive: Sequence[Child], *, wanted: int, not_before_s: Mapping[int, float]
) -> float | None:
    """Return when ``next_actions`` may decide something new by time alone; None: never."""
    times = [child.deadline_s for child in alive if child.deadline_s is not None]
    times += [not_before_s[slot] for slot in _missing(alive, wanted) if slot in not_before_s]
    return min(times, default=None)


def _missing(alive: Sequence[Child], wanted: int) -> list[int]:
    taken = {child.slot for child in alive}
    return [slot for slot in range(wanted) if slot not in taken]
