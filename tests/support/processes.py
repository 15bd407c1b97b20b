"""What /proc says about a process. Source: proc(5)."""

from __future__ import annotations

import os
import signal
import time
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
    """Send SIGSTOP and return when the process has stopped, which no descriptor tells of."""
    os.kill(pid, signal.SIGSTOP)
    until_s = time.monotonic() + PATIENCE_S
    while not status_of(pid)["State"].startswith("T"):
        assert time.monotonic() < until_s, f"{pid} does not stop"
        os.sched_yield()


def wait_caught(pid: int, number: signal.Signals) -> None:
    """Return when the process catches the signal, which no descriptor tells of."""
    until_s = time.monotonic() + PATIENCE_S
    while not int(status_of(pid)["SigCgt"], 16) >> (number - 1) & 1:
        assert time.monotonic() < until_s, f"{pid} does not catch {number.name}"
        os.sched_yield()
