"""Says, while it is imported, what the process is that imports it."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_FIELDS = (
    "Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
)  # fmt: skip
_LIMITS = {"Max core file size": "core", "Max open files": "files", "Max msgqueue size": "queues"}
# Source: linux/prctl.h.
_PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_GET_SECUREBITS, _PR_GET_TIMERSLACK = 2, 3, 27, 30


def _facts() -> dict[str, Any]:
    """Ask for everything in more than one way: a test may let any one call lie."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    facts: dict[str, Any] = {name: status[name].split() for name in _FIELDS}
    for line in Path("/proc/self/limits").read_text().splitlines():
        if name := _LIMITS.get(line[:25].rstrip()):
            facts[name] = line[25:].split()[:2]
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)  # in a trace, what follows is the application's

    def death_signal() -> int:
        found = ctypes.c_int()
        libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(found), 0, 0, 0)
        return found.value

    return facts | {
        "death signal": _most([death_signal() for _ in range(3)]),
        "dumpable": _most([libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) for _ in range(3)]),
        "securebits": _most([libc.prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0) for _ in range(3)]),
        "session": os.getsid(0) == int(status["PPid"]),
        "sandbox": {"filtered": status["Seccomp"].strip() == "2", "writes": _writes("/var/tmp")},
    }


def _writes(directory: str) -> bool:
    """Tell whether a file can be made where the modes let everybody."""
    path = f"{directory}/udsrv-test-{os.getpid()}"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except PermissionError:
        return False
    os.unlink(path)
    return True


def _most(values: list[int]) -> int:
    return max(values, key=values.count)


print(f"ran as {json.dumps(_facts())}", flush=True)


def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer, so that a worker that should not be there can be noticed."""
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
