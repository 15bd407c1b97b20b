"""The kernel calls for which Python has no function: prctl and capset.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from udsrv.errors import PrivilegeError

# Source: linux/prctl.h.
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

# NOROOT, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, each of them locked: to be uid 0 or to run a
# set-user-id program of root's gives no capability. Source: linux/securebits.h, capabilities(7).
SECUREBITS = 0xE3

# Source: linux/capability.h.
CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 0, 5, 6, 7, 8
CAPABILITY_NAMES = {
    CAP_CHOWN: "CAP_CHOWN",
    CAP_KILL: "CAP_KILL",
    CAP_SETGID: "CAP_SETGID",
    CAP_SETUID: "CAP_SETUID",
    CAP_SETPCAP: "CAP_SETPCAP",
}
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def prctl(option: int, argument: int = 0) -> int:
    """Change or read one attribute of this process.

    Source: prctl(2).

    Raises:
        PrivilegeError: the kernel refused.
    """
    result: int = _libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(argument), *[ctypes.c_ulong(0)] * 3
    )
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise PrivilegeError(f"prctl({option}, {argument}): {reason}")
    return result


def set_capabilities(kept: Iterable[int]) -> None:
    """Make ``kept`` the effective and permitted set, and the inheritable and ambient ones empty.

    Source: capset(2); capabilities(7): what isn't inheritable can't be ambient.

    Raises:
        PrivilegeError: the kernel refused.
    """
    mask = capability_mask(kept)
    words = [(mask >> shift) & 0xFFFFFFFF for shift in (0, 32)]
    sets = (_Sets * 2)(*[_Sets(word, word, 0) for word in words])
    header = _Header(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(ctypes.byref(header), sets) < 0:
        raise PrivilegeError(f"capset: {os.strerror(ctypes.get_errno())}")


def capability_mask(numbers: Iterable[int]) -> int:
    """Return the bits that stand for these capabilities."""
    return sum(1 << number for number in numbers)
