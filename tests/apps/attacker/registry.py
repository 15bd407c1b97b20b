"""The table of attacks: what each one is called, what refuses it, and how that looks."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What the test tells: pids, paths and names of what there is to attack.
Facts = dict[str, Any]
Attempt = Callable[[Facts], object]


class Means(enum.Enum):
    """What refuses an attack."""

    IDS = "the application's user is not root and not the owner; it has no capability"
    UNDUMPABLE = "a process of ours is not dumpable: its own user can't look into it"
    NO_NEW_PRIVS = "a set-user-id file gives nothing"
    SECCOMP = "system calls that no web application needs"
    LANDLOCK_1 = "Landlock, file system and ptrace: Linux 5.13"
    LANDLOCK_3 = "Landlock, truncate: Linux 6.2"
    LANDLOCK_4 = "Landlock, TCP: Linux 6.7"
    LANDLOCK_6 = "Landlock, signals and abstract sockets: Linux 6.12"
    LANDLOCK_9 = "Landlock, sockets with a path: Linux 7.1"
    NOTHING = "nothing: docs/known-attacks.md says what follows"


# The first version of Landlock's interface that has the means. Source: landlock(7).
LANDLOCK_ABI = {
    Means.LANDLOCK_1: 1,
    Means.LANDLOCK_3: 3,
    Means.LANDLOCK_4: 4,
    Means.LANDLOCK_6: 6,
    Means.LANDLOCK_9: 9,
}


@dataclass(frozen=True)
class Attack:
    """One row.

    ``subject`` is the module that holds it, ``refusals`` are the outcomes that count as refused:
    names of errors mostly.
    """

    name: str
    subject: str
    means: frozenset[Means]
    attempt: Attempt
    refusals: frozenset[str]
    kernel_may_refuse: bool  # by a setting of the machine, without any means of ours

    def succeeds(self, *, landlock_abi: int, seccomp: bool) -> bool:
        """Tell whether nothing is there to refuse it."""
        return not any(_is_there(one, landlock_abi, seccomp) for one in self.means)


def _is_there(means: Means, landlock_abi: int, seccomp: bool) -> bool:
    if means is Means.SECCOMP:
        return seccomp
    if means is Means.NOTHING:
        return False
    return landlock_abi >= LANDLOCK_ABI.get(means, 0)


ATTACKS: dict[str, Attack] = {}


class RefusedError(Exception):
    """The attack has met with something other than an error number; the text is the outcome."""


def add(
    name: str,
    means: Means | set[Means],
    attempt: Attempt,
    *refusals: str,
    kernel_may_refuse: bool = False,
) -> None:
    """Put an attack into the table; EPERM and EACCES are always refusals."""
    assert name not in ATTACKS, name
    every = frozenset({means} if isinstance(means, Means) else means)
    outcomes = {"EPERM", "EACCES", *refusals}
    if Means.SECCOMP in every:
        outcomes.add("ENOSYS")
    subject = attempt.__module__.rpartition(".")[2]
    ATTACKS[name] = Attack(name, subject, every, attempt, frozenset(outcomes), kernel_may_refuse)


def attack(
    name: str, means: Means | set[Means], *refusals: str, kernel_may_refuse: bool = False
) -> Callable[[Attempt], Attempt]:
    """Put the decorated function into the table."""

    def register(attempt: Attempt) -> Attempt:
        add(name, means, attempt, *refusals, kernel_may_refuse=kernel_may_refuse)
        return attempt

    return register
