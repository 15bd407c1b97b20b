"""The application's standard output and error, as lines of the error log.

Runs as: the application's user, in the supervisor.
"""

from __future__ import annotations

import os
import select

from udsrv.log import Log, unmarked

_READ_BYTES = 64 * 1024
# Longer lines are logged in pieces that fit one line of the log with its time and name.
PIECE_BYTES = 3500


class OutputRelay:
    """One worker's pipe; its writing end is the worker's descriptors 1 and 2."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # Made here and not by root, so that the application can open /dev/stdout again.
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self._partial = b""

    def fileno(self) -> int:
        """Return the reading end, for epoll."""
        return self.read_fd

    def copy(self) -> bool:
        """Log the lines that have arrived, at most one buffer a call; False at the end."""
        try:
            data = os.read(self.read_fd, _READ_BYTES)
        except BlockingIOError:
            return True
        self._log_lines(data)
        return bool(data)

    def drain(self) -> None:
        """Log everything that the dead worker has left in the pipe, its last line included."""
        while self._partial or self._waiting():
            if not self.copy():
                return
            if not self._waiting():
                self._log_lines(b"")

    def _waiting(self) -> bool:
        poll = select.poll()
        poll.register(self.read_fd, select.POLLIN)
        return bool(poll.poll(0))

    def _log_lines(self, data: bytes) -> None:
        lines, self._partial = split_lines(self._partial + data, at_end=not data)
        for line in lines:
            level, text = unmarked(line)
            self._log.line(text.decode("utf-8", "backslashreplace"), level)

    def close(self) -> None:
        """Close the reading end."""
        os.close(self.read_fd)


def split_lines(data: bytes, *, at_end: bool) -> tuple[list[bytes], bytes]:
    """Return the complete lines of ``data``, in pieces of PIECE_BYTES at most, and the rest."""
    *lines, rest = data.split(b"\n")
    if rest and (at_end or len(rest) >= PIECE_BYTES):
        lines.append(rest)
        rest = b""
    pieces = [
        line[start : start + PIECE_BYTES]
        for line in lines
        for start in range(0, max(len(line), 1), PIECE_BYTES)
    ]
    return [piece.removesuffix(b"\r") for piece in pieces], rest
