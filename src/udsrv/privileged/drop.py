"""Give privileges up, and prove it.

Runs as: root, in the master (``confine_master``) and in its child before exec (``drop_to``).
Imports the standard library and ``udsrv.errors`` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
        PrivilegeError: the kernel refused, or one of the capabilities isn't there to keep.
    """
    kept = MASTER_CAPABILITIES | ({kernel.CAP_CHOWN} if may_chown else frozenset())
    missing = kept - _permitted_set()
    if missing:
        names = ", ".join(sorted(kernel.CAPABILITY_NAMES[number] for number in missing))
        raise PrivilegeError(
            f"this root lacks {names}: grant it (in a unit: CapabilityBoundingSet=), or start"
            " udsrv as the application's user"
        )
    kernel.clear_ambient_set()
    kernel.drop_bounding_set(kept)
    kernel.set_capabilities(kept)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def drop_to(who: Identity) -> None:
    """Become ``who`` irrevocably, without a capability, then prove it.

    The bounding set first (it needs CAP_SETPCAP), groups next (they need CAP_SETGID), the uid
    last. Source: setresuid(2), setgroups(2), capabilities(7).

    Raises:
        PrivilegeError: an id is not what was asked for, or root could be regained.
    """
    if who.uid == 0 or who.gid == 0 or 0 in who.groups:
        raise PrivilegeError(f"refusing to run the application as root ({who})")
    kernel.clear_ambient_set()
    kernel.drop_bounding_set()
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    kernel.set_capabilities(())
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    _prove(who)


def _permitted_set() -> set[int]:
    mask = int(_status()["CapPrm"], 16)
    return {number for number in range(64) if mask >> number & 1}


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text(encoding="latin-1").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _prove(who: Identity) -> None:
    if os.getresuid() != (who.uid,) * 3 or os.getresgid() != (who.gid,) * 3:
        raise PrivilegeError(f"the ids are {os.getresuid()} {os.getresgid()} instead of {who}")
    if set(os.getgroups()) != set(who.groups):
        raise PrivilegeError(f"the groups are {os.getgroups()} instead of {who.groups}")
    for name, value in _status().items():
        if name.startswith("Cap") and int(value, 16) != 0:
            raise PrivilegeError(f"a capability is left: {name} {value}")
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
