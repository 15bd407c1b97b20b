"""A socket's path, claimed by the process of the test."""

from __future__ import annotations

import os
from pathlib import Path

from udsrv.privileged.listener import SocketPath
from udsrv.start.claim import claim_path


def claimed(path: Path, *, mode: int = 0o660) -> SocketPath:
    """Claim ``path`` for a socket of our own; ``withdraw`` gives it up."""
    return SocketPath(
        claim_path(str(path), uid=os.getuid(), gid=os.getgid(), mode=mode, backlog=16)
    )
