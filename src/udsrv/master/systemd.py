"""Tell systemd what the master is doing. Source: sd_notify(3).

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import socket


class Notifier:
    """Sends states to the value of ``$NOTIFY_SOCKET``; does nothing when there is none."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def send(self, *states: str) -> None:
        """Send states such as ``READY=1``. Nobody waits for an answer, so nothing is raised."""
        if not self._address:
            return
        # An abstract address is written with '@'.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto("\n".join(states).encode(), address)
            except OSError:
                return
