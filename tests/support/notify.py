"""The socket on which a service tells its manager that it is ready. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from support.waiting import PATIENCE_S, ProcessEndedError, WaitError, wait_readable


class NotifySocket:
    """Receives the messages of one service; ``messages`` holds all lines so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        # The service may be another user's.
        path.chmod(0o666)

    def wait_for(self, wanted: str, *, sender: int, patience_s: float = PATIENCE_S) -> None:
        """Return when a line ``wanted`` has come that was not waited for before.

        Raises:
            ProcessEndedError: process ``sender`` ended without sending it.
        """
        until_s = time.monotonic() + patience_s
        pidfd = os.pidfd_open(sender)
        try:
            while True:
                try:
                    ready = wait_readable(self._socket.fileno(), pidfd, until_s=until_s)
                except WaitError:
                    raise WaitError(f"no {wanted} within {patience_s:g} s") from None
                if self._socket.fileno() not in ready:
                    raise ProcessEndedError(f"process {sender} ended without {wanted}")
                lines = self._socket.recv(65536).decode().splitlines()
                self.messages += lines
                if wanted in lines:
                    return
        finally:
            os.close(pidfd)

    def close(self) -> None:
        """Receive nothing any more."""
        self._socket.close()
