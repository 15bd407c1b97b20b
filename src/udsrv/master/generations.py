"""Which generation to start, drain or kill. Pure.

Runs as: root. Imports the standard library only.

A generation is one supervisor with its workers. The next one is started beside the old one, which
is drained when the new one has said that it is ready; one that fails to start changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from udsrv.processes import Child, State, deadlines, late

# How much longer than its own deadline a supervisor gets before it is killed.
MARGIN_S = 5.0
# How long a supervisor may live on after it has closed its channel.
ENDING_S = 1.0


@dataclass(frozen=True)
class Start:
    """Start the next generation."""


@dataclass(frozen=True)
class Drain:
    """Tell a generation to finish its requests and exit."""

    number: int


@dataclass(frozen=True)
class Kill:
    """End a generation that missed its deadline."""

    number: int


Action = Start | Drain | Kill


def next_actions(
    alive: Sequence[Child], *, wanted: int, may_start_s: float, now_s: float
) -> list[Action]:
    """Decide how to get from ``alive`` to one serving generation numbered ``wanted`` or higher."""
    actions: list[Action] = [Kill(one.number) for one in late(alive, now_s)]
    current = [one for one in alive if one.number >= wanted and one.state is not State.DRAINING]
    if not current and now_s >= may_start_s:
        actions.append(Start())
    if any(one.state is State.READY for one in current):
        newest = max(one.number for one in current if one.state is State.READY)
        actions += [
            Drain(one.number)
            for one in alive
            if one.number < newest and one.state is not State.DRAINING
        ]
    return actions


def next_wake_s(alive: Sequence[Child], *, wanted: int, may_start_s: float) -> float | None:
    """Return when ``next_actions`` may decide something new by time alone; None: never."""
    times = deadlines(alive)
    if not any(one.number >= wanted and one.state is not State.DRAINING for one in alive):
        times.append(may_start_s)
    return min(times, default=None)
