"""Child processes: where one is in its life, how it ended, and those that nobody has started.

Runs as: root (the master) and the app's user (the supervisor). Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace


class State(enum.Enum):
    """Where a child is in its life."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"  # a worker that serves until its slot has another one that is ready
    DRAINING = "draining"


@dataclass(frozen=True)
class Child:
    """A process and the number it is known by: a generation's, or a worker's slot."""

    number: int
    pid: int
    started_s: float
    deadline_s: float | None  # when it is killed; None: it may stay
    state: State = State.STARTING

    def ready(self) -> Child:
        """Return the child once it can answer."""
        return replace(self, state=State.READY, deadline_s=None)

    def retiring(self) -> Child:
        """Return the child once it has asked for a successor."""
        return replace(self, state=State.RETIRING)

    def draining(self, deadline_s: float) -> Child:
        """Return the child once it was told to finish; an earlier deadline stays."""
        if self.deadline_s is not None:
            deadline_s = min(deadline_s, self.deadline_s)
        return replace(self, state=State.DRAINING, deadline_s=deadline_s)

    def ending(self, deadline_s: float | None = None) -> Child:
        """Return the child once its exit must follow without another word."""
        return replace(self, deadline_s=deadline_s)


def late(alive: Sequence[Child], now_s: float) -> list[Child]:
    """Return those that have missed their deadlines."""
    return [one for one in alive if one.deadline_s is not None and one.deadline_s <= now_s]


def deadlines(alive: Sequence[Child]) -> list[float]:
    """Return when any of them will be late."""
    return [one.deadline_s for one in alive if one.deadline_s is not None]


def ended_children() -> Iterator[tuple[int, int]]:
    """Yield each child that has ended, by its pid and its exit code (a signal's is negative)."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def how_it_ended(code: int) -> str:
    """Say what an exit code means, in words that follow the process's name."""
    return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"


def kill_strays(known: Collection[int]) -> None:
    """Kill what escaped by a double fork and was adopted by us: every child but the ``known``.

    A stray that kept the listener would go on taking connections. Killing one may bring up its
    own children, so look until there are none. Source: PR_SET_CHILD_SUBREAPER, prctl(2).
    """
    while strays := _children().difference(known):
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
        for pid in strays:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> set[int]:
    """Return the children of this thread, which has forked or adopted all of the process's.

    A reader misses some while another is taken off the list, which only their parent does: us.
    Unlike the other entries of /proc it is there under ``ProtectProc=invisible``. Source: proc(5).
    """
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return set(map(int, children.read().split()))
