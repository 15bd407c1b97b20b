"""Keep the operator's terminal to ourselves.

Runs as: root. Imports the standard library only.

A process that holds a terminal's descriptor can type into it (ioctl_tty(2), TIOCSTI), so a
supervisor never gets one: it writes to a pipe, whose lines are escaped again here. What is no
terminal (a journal stream, a file, a pipe) is handed on as it is.
"""

from __future__ import annotations

import contextlib
import os

from udsrv.log import escape

_READ_BYTES = 64 * 1024
# A line that never ends is printed in pieces.
_LINE_LIMIT_BYTES = 64 * 1024


class TerminalRelay:
    """Copies lines from a pipe to the terminal ``to_fd``, which is standard error or output."""

    def __init__(self, to_fd: int) -> None:
        self._to_fd = to_fd
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self._partial = b""

    def copy(self) -> None:
        """Write what has arrived, whole lines at a time, at most one buffer a call."""
        with contextlib.suppress(BlockingIOError):
            data = self._partial + os.read(self.read_fd, _READ_BYTES)
            *lines, self._partial = data.split(b"\n")
            if len(self._partial) > _LINE_LIMIT_BYTES:
                lines.append(self._partial)
                self._partial = b""
            for line in lines:
                text = escape(line.decode("utf-8", "backslashreplace"))
                # The terminal may be gone: that ends its lines, not the service.
                with contextlib.suppress(OSError):
                    os.write(self._to_fd, f"{text}\n".encode())
