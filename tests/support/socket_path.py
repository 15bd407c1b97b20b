"""A socket's path, claimed by the process of the test."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from udsrv.privileged.listener import SocketPath
from udsrv.start.claim import claim_path


def claimed(path: Path, *, mode: int = 0o660) -> SocketPath:
    """Claim ``path`` for a socket of our own; ``withdraw`` gives it up."""
    return SocketPath(
        claim_path(str(path), uid=os.getuid(), gid=os.getgid(), mode=mode, backlog=16)
    )


def connected(path: Path) -> bool:
    """Tell whether somebody takes a connection to ``path``."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def listen(path: Path) -> socket.socket:
    """Listen at ``path`` as a program does that isn't udsrv."""
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    other.listen()
    return other
