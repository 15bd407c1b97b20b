"""Which worker to start, drain or kill. Pure.

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
    RETIRING = "retiring"  # serves on until its slot has another one that is ready
    DRAINING = "draining"


@dataclass(frozen=True)
class Child:
    """One worker; its slot is the number it is known by, and for a while its successor too."""

    slot: int
    pid: int
    started_s: float
    deadline_s: float | None  # when it is killed; None: it may stay
    state: State = State.STARTING

    def ready(self) -> Child:
        """Return the worker once it can answer."""
        return replace(self, state=State.READY, deadline_s=None)

    def retiring(self) -> Child:
        """Return the worker once it has asked for a successor."""
        return replace(self, state=State.RETIRING)

    def draining(self, deadline_s: float) -> Child:
        """Return the worker once it was told to finish; an earlier deadline stays."""
        if self.deadline_s is not None:
            deadline_s = min(deadline_s, self.deadline_s)
        return replace(self, state=State.DRAINING, deadline_s=deadline_s)


@dataclass(frozen=True)
class Spawn:
    """Fork the worker of a slot."""

    slot: int


@dataclass(frozen=True)
class Drain:
    """Let a worker finish: its successor serves."""

    pid: int


@dataclass(frozen=True)
class Kill:
    """End a worker that missed its deadline."""

    pid: int


Action = Spawn | Drain | Kill


def next_actions(
    alive: Sequence[Child], *, wanted: int, not_before_s: Mapping[int, float], now_s: float
) -> list[Action]:
    """Decide how to get from ``alive`` to one worker in each of the slots below ``wanted``.

    Those that retire are succeeded one after the other, so that there is one more at most.
    """
    kills: list[Action] = [
        Kill(child.pid)
        for child in alive
        if child.deadline_s is not None and child.deadline_s <= now_s
    ]
    ready = {child.slot for child in alive if child.state is State.READY}
    drains: list[Action] = [
        Drain(child.pid) for child in alive if child.state is State.RETIRING and child.slot in ready
    ]
    spawns: list[Action] = [
        Spawn(slot) for slot in _vacant(alive, wanted) if not_before_s.get(slot, now_s) <= now_s
    ]
    return kills + drains + spawns


def next_wake_s(
    alive: Sequence[Child], *, wanted: int, not_before_s: Mapping[int, float]
) -> float | None:
    """Return when ``next_actions`` may decide something new by time alone; None: never."""
    times = [child.deadline_s for child in alive if child.deadline_s is not None]
    times += [not_before_s[slot] for slot in _vacant(alive, wanted) if slot in not_before_s]
    return min(times, default=None)


def _vacant(alive: Sequence[Child], wanted: int) -> list[int]:
    """Return the slots without a worker, and the first of those whose worker retires."""
    retiring = {child.slot for child in alive if child.state is State.RETIRING}
    staying = {child.slot for child in alive if child.state in (State.STARTING, State.READY)}
    empty = [slot for slot in range(wanted) if slot not in retiring | staying]
    if retiring & staying:
        return empty  # one succession at a time
    return empty + [slot for slot in range(wanted) if slot in retiring][:1]
