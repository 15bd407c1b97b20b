"""Prove, after exec, that this process is what it has to be before it runs the application.

Runs as: the application's user, in the supervisor and in each worker, sealed.

Root proves the ids before exec (``udsrv.privileged.drop``). Here everything is read back that exec
changes or that a call may have claimed without doing it. What was wanted and what the kernel says
are two tables of the same names; a difference ends the process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from udsrv.errors import PrivilegeError
from udsrv.sandbox.descriptors import open_fds

# Source: linux/prctl.h.
_PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_GET_SECUREBITS = 2, 3, 27

# NOROOT, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, each of them locked. Source: capabilities(7).
SECUREBITS = 0xE3

Facts = Mapping[str, object]


@dataclass(frozen=True)
class Identity:
    """Whom root made this process, in numbers."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def wanted(identity: Identity | None, *, session: int, fds: Collection[int]) -> dict[str, object]:
    """Return what has to be true of a process that may run the application. Pure.

    Without root (None) the ids and what only root can change are as whoever started us had them.
    """
    facts: dict[str, object] = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), "0" * 16)
    facts |= {
        "NoNewPrivs": "1",
        "Threads": "1",
        "session": session,
        "dumpable": 0,
        "death signal": int(signal.SIGKILL),
        "core size": (0, 0),
        "message queues": (0, 0),
        "open files": "soft = hard",
        "descriptors": sorted(fds),
        "descriptors that a program would inherit": [0, 1, 2],
        "descriptors of directories": [],
    }
    if identity is not None:
        facts |= {
            "Uid": " ".join([str(identity.uid)] * 4),
            "Gid": " ".join([str(identity.gid)] * 4),
            "Groups": " ".join(map(str, sorted(identity.groups))),
            "CapBnd": "0" * 16,
            "securebits": SECUREBITS,
        }
    return facts


def found() -> dict[str, object]:
    """Return what the kernel says of this process, in the words of ``wanted``.

    Source: proc(5), /proc/PID/status; prctl(2); getrlimit(2).
    """
    with open("/proc/self/status", encoding="latin-1") as lines:
        pairs = (line.partition(":") for line in lines)
        facts: dict[str, object] = {name: " ".join(value.split()) for name, _, value in pairs}
    libc = ctypes.CDLL(None)
    death_signal = ctypes.c_int(-1)
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(death_signal), 0, 0, 0)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    fds = open_fds()
    return facts | {
        "session": os.getsid(0),
        "dumpable": libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0),
        "securebits": libc.prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0),
        "death signal": death_signal.value,
        "core size": resource.getrlimit(resource.RLIMIT_CORE),
        "message queues": resource.getrlimit(resource.RLIMIT_MSGQUEUE),
        "open files": "soft = hard" if files[0] == files[1] else files,
        "descriptors": sorted(fds),
        "descriptors that a program would inherit": sorted(filter(os.get_inheritable, fds)),
        "descriptors of directories": sorted(
            fd for fd in fds if stat.S_ISDIR(os.fstat(fd).st_mode)
        ),
    }


def differences(facts: Facts, demanded: Facts) -> list[str]:
    """Name what isn't as demanded. Pure."""
    return [
        f"{name} is {facts.get(name)!r} instead of {value!r}"
        for name, value in demanded.items()
        if facts.get(name) != value
    ]


def prove(demanded: Facts) -> None:
    """See that this process is as demanded; if not, nothing of the application may run in it.

    Raises:
        PrivilegeError: it isn't; every difference is named.
    """
    if wrong := differences(found(), demanded):
        raise PrivilegeError(
            f"the application isn't started, since this process isn't as it has to be:"
            f" {'; '.join(wrong)}; either a call claimed to have worked and did nothing,"
            f" or a .pth file or sitecustomize of {sys.executable} changed it: then move that code"
            " into the application"
        )
