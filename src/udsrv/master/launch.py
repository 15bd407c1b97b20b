"""Start a supervisor.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import socket
from dataclasses import replace

from udsrv.fds import CONTROL_FD, LISTENER_FD
from udsrv.ipc import Channel
from udsrv.privileged.spawn import SpawnSpec, spawn


def start_supervisor(spec: SpawnSpec, number: int, listener: socket.socket) -> tuple[int, Channel]:
    """Start generation ``number`` on ``listener``; return its pid and our end of its channel."""
    ours, theirs = Channel.pair()
    fds = list(spec.fds)
    fds[CONTROL_FD], fds[LISTENER_FD] = theirs.fileno(), listener.fileno()
    try:
        pid = spawn(replace(spec, argv=[*spec.argv, str(number)], fds=fds))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, ours
