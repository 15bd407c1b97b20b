"""Find out who listens on a TCP port of this machine. Source: proc(5)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"


def is_free(port: int) -> bool:
    """Tell whether 127.0.0.1:port can be listened on."""
    with socket.socket() as probe:
        # As nginx does it, so that connections of an earlier run that linger don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def owner_of(port: int) -> str:
    """Return ``PROGRAM (pid PID)`` for who listens on ``port``, as far as we may see it."""
    names = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {os.readlink(entry) for entry in (process / "fd").iterdir()}
            if names & links:
                program = (process / "comm").read_text().strip()
                return f"{program} (pid {process.name})"
        except OSError:
            continue  # gone, or another user's
    return "a process of another user"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                yield fields[9]
