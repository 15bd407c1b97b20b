"""What /proc says about a process. Source: proc(5)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from support.waiting import PATIENCE_S


def status_of(pid: int) -> dict[str, str]:
    """Return the fields of ``/proc/PID/status``, such as ``Uid``, ``Groups`` and ``CapEff``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def title_of(pid: int) -> str:
    """Return what ``ps`` shows as the arguments; empty when the process is gone or a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace").strip()


def children_of(pid: int) -> list[int]:
    """Return the children of ``pid``, oldest first; none of one that is gone.

    ``/proc/PID/task/TID/children`` leaves some out while another of them ends. Source: proc(5).
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append((int(fields[19]), int(stat.parent.name)))  # when it was started
    return [child for _, child in sorted(found)]


def descendants_of(pid: int) -> list[int]:
    """Return the children of ``pid``, their children, and so on."""
    found = children_of(pid)
    for child in found:
        found += children_of(child)
    return found


def stop_now(pid: int) -> None:
    """Send SIGSTOP and return when the process has stopped."""
    os.kill(pid, signal.SIGSTOP)
    _wait_for_status(pid, lambda status: status["State"].startswith("T"), "does not stop")


def wait_caught(pid: int, number: signal.Signals) -> None:
    """Return when the process catches the signal."""
    bit = 1 << (number - 1)
    _wait_for_status(
        pid, lambda status: bool(int(status["SigCgt"], 16) & bit), f"does not catch {number.name}"
    )


def _wait_for_status(pid: int, is_wanted: Callable[[dict[str, str]], bool], complaint: str) -> None:
    """Look again and again: no descriptor tells of it."""
    until_s = time.monotonic() + PATIENCE_S
    while not is_wanted(status_of(pid)):
        assert time.monotonic() < until_s, f"{pid} {complaint}"
        os.sched_yield()
