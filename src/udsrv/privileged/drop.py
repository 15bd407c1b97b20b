"""Give privileges up, and prove it.

Runs as: root, in the master (``confine_master``) and in its child before exec (``drop_to``).
Imports the standard library and ``udsrv.errors`` only.

Whoever is told that a call succeeded reads back what it was for: the kernel's own account in
``/proc/self/status`` decides. What exec changes is proven after it (``udsrv.sandbox.proof``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from udsrv.errors import PrivilegeError
from udsrv.privileged import kernel

# The master starts processes under other ids, empties their bounding sets and signals them.
MASTER_CAPABILITIES = frozenset(
    {kernel.CAP_SETUID, kernel.CAP_SETGID, kernel.CAP_SETPCAP, kernel.CAP_KILL}
)


@dataclass(frozen=True)
class Identity:
    """Who a process is to be: numbers only, looked up before anything forks."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def confine_master(*, may_chown: bool) -> None:
    """Leave root with the master's capabilities, in every set, and no way to gain others by exec.

    Source: capabilities(7); prctl(2), PR_SET_NO_NEW_PRIVS.

    Raises:
        PrivilegeError: the kernel refused, one of the capabilities isn't there to keep, or
            another one is left.
    """
    kept = MASTER_CAPABILITIES | ({kernel.CAP_CHOWN} if may_chown else frozenset())
    missing = kept - _capabilities("CapPrm")
    if missing:
        names = ", ".join(sorted(kernel.CAPABILITY_NAMES[number] for number in missing))
        raise PrivilegeError(
            f"this root lacks {names}: grant it (in a unit: CapabilityBoundingSet=), or start"
            " udsrv as the application's user"
        )
    _limit_bounding_set(kept)
    kernel.set_capabilities(kept)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    _require(_only(kept))


def drop_to(who: Identity | None) -> None:
    """Become ``who`` irrevocably, or stay who we are (None); without a capability; then prove it.

    The bounding set and the secure bits first (they need CAP_SETPCAP), groups next (they need
    CAP_SETGID), the uid last. Source: setresuid(2), setgroups(2), capabilities(7).

    Raises:
        PrivilegeError: an id is not what was asked for, or root could be regained.
    """
    if who is not None:
        if who.uid == 0 or who.gid == 0 or 0 in who.groups:
            raise PrivilegeError(f"refusing to run the application as root ({who})")
        _limit_bounding_set(frozenset())
        kernel.prctl(kernel.PR_SET_SECUREBITS, kernel.SECUREBITS)
        try:
            os.setgroups(who.groups)
            os.setresgid(who.gid, who.gid, who.gid)
            os.setresuid(who.uid, who.uid, who.uid)
        except OSError as error:
            raise PrivilegeError(f"can't become {who}: {error.strerror}") from error
    kernel.set_capabilities(())
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    wanted = _only(frozenset())
    if who is None:
        del wanted["CapBnd"]  # only root can change it, and without privileges it gives nothing
        _require(wanted)
        return
    ids = {"Uid": [who.uid] * 4, "Gid": [who.gid] * 4, "Groups": sorted(who.groups)}
    _require(wanted | {name: " ".join(map(str, numbers)) for name, numbers in ids.items()})
    _refuse_a_way_back()


def _limit_bounding_set(kept: frozenset[int]) -> None:
    for number in _capabilities("CapBnd") - kept:
        kernel.prctl(kernel.PR_CAPBSET_DROP, number)


def _only(kept: frozenset[int]) -> dict[str, str]:
    """Return what the kernel says of a process that holds ``kept`` and can gain nothing."""
    held, none = f"{kernel.capability_mask(kept):016x}", "0" * 16
    sets = {"CapPrm": held, "CapEff": held, "CapBnd": held, "CapInh": none, "CapAmb": none}
    return sets | {"NoNewPrivs": "1"}


def _require(wanted: dict[str, str]) -> None:
    found = _status()
    for name, value in wanted.items():
        if found[name] != value:
            raise PrivilegeError(
                f"{name} of the process is '{found[name]}' instead of '{value}', though every"
                " call to change it succeeded"
            )


def _capabilities(name: str) -> set[int]:
    mask = int(_status()[name], 16)
    return {number for number in range(64) if mask >> number & 1}


def _status() -> dict[str, str]:
    with open("/proc/self/status", encoding="latin-1") as lines:
        pairs = (line.partition(":") for line in lines)
        return {name: " ".join(value.split()) for name, _, value in pairs}


def _refuse_a_way_back() -> None:
    attempts: list[tuple[str, Callable[[], None]]] = [
        ("setuid", lambda: os.setuid(0)),
        ("seteuid", lambda: os.seteuid(0)),
        ("setgid", lambda: os.setgid(0)),
        ("setegid", lambda: os.setegid(0)),
        ("setgroups", lambda: os.setgroups([0])),
    ]
    for name, attempt in attempts:
        try:
            attempt()
        except OSError:
            continue
        raise PrivilegeError(f"root could be regained by {name}")
