"""Which worker to start, drain or kill. Pure.

Runs as: the application's user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from udsrv.processes import Child, State, deadlines, late


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
    kills: list[Action] = [Kill(child.pid) for child in late(alive, now_s)]
    ready = {child.number for child in alive if child.state is State.READY}
    drains: list[Action] = [
        Drain(child.pid)
        for child in alive
        if child.state is State.RETIRING and child.number in ready
    ]
    spawns: list[Action] = [
        Spawn(slot) for slot in _vacant(alive, wanted) if not_before_s.get(slot, now_s) <= now_s
    ]
    return kills + drains + spawns


def next_wake_s(
    alive: Sequence[Child], *, wanted: int, not_before_s: Mapping[int, float]
) -> float | None:
    """Return when ``next_actions`` may decide something new by time alone; None: never."""
    times = deadlines(alive) + [
        not_before_s[slot] for slot in _vacant(alive, wanted) if slot in not_before_s
    ]
    return min(times, default=None)


def _vacant(alive: Sequence[Child], wanted: int) -> list[int]:
    """Return the slots without a worker, and the first of those whose worker retires."""
    retiring = {child.number for child in alive if child.state is State.RETIRING}
    staying = {child.number for child in alive if child.state in (State.STARTING, State.READY)}
    empty = [slot for slot in range(wanted) if slot not in retiring | staying]
    if retiring & staying:
        return empty  # one succession at a time
    return empty + [slot for slot in range(wanted) if slot in retiring][:1]
