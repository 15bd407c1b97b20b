"""Which worker to start or kill. Pure.

Runs as: the application's user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from udsrv.processes import Child, deadlines, late


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
    kills: list[Action] = [Kill(slot) for slot in late(alive, now_s)]
    return kills + [
        Spawn(slot) for slot in _missing(alive, wanted) if not_before_s.get(slot, now_s) <= now_s
    ]


def next_wake_s(
    alive: Sequence[Child], *, wanted: int, not_before_s: Mapping[int, float]
) -> float | None:
    """Return when ``next_actions`` may decide something new by time alone; None: never."""
    times = deadlines(alive) + [
        not_before_s[slot] for slot in _missing(alive, wanted) if slot in not_before_s
    ]
    return min(times, default=None)


def _missing(alive: Sequence[Child], wanted: int) -> list[int]:
    taken = {child.number for child in alive}
    return [slot for slot in range(wanted) if slot not in taken]
