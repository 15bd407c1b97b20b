"""The error log: one line per event on standard error.

Runs as: root and the app's user. Imports the standard library only.

A line is ``TIME [who] level: text``; the level is left out for info, and the time under journald,
which keeps its own. Control characters are escaped, so that no text can forge a second line or
drive a terminal.
"""

from __future__ import annotations

import os
import select
import time

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_NAMES = {number: name for name, number in LEVELS.items()}

# One write of at most PIPE_BUF bytes is atomic on a pipe: lines of several processes don't mix.
# Source: pipe(7).
LINE_LIMIT_BYTES = select.PIPE_BUF
PIECE_BYTES = LINE_LIMIT_BYTES - 96  # what the time and the name take is less

# C0, DEL, and C1 controls, which some terminals obey; a tab is harmless and common.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}


def escape(text: str) -> str:
    """Return ``text`` with every control character but the tab written as its hex escape."""
    return text.translate(_ESCAPES)


def journal_is_stderr(environ: dict[str, str] | os._Environ[str], stderr_fd: int = 2) -> bool:
    """Tell whether standard error is a stream to journald.

    Source: systemd.exec(5), JOURNAL_STREAM.
    """
    named = environ.get("JOURNAL_STREAM")
    if named is None:
        return False
    try:
        facts = os.fstat(stderr_fd)
    except OSError:
        return False
    return named == f"{facts.st_dev}:{facts.st_ino}"


class Log:
    """Writes the lines of one process (or, in the supervisor, of its workers too)."""

    def __init__(self, who: str, *, level: int, timestamps: bool, fd: int = 2) -> None:
        self.who = who
        self.level = level
        self.timestamps = timestamps
        self.fd = fd
        self._dropped = 0

    def child(self, who: str) -> Log:
        """Return the same log for another writer."""
        return Log(who, level=self.level, timestamps=self.timestamps, fd=self.fd)

    def on(self, fd: int) -> Log:
        """Return the same log, written to another descriptor."""
        return Log(self.who, level=self.level, timestamps=self.timestamps, fd=fd)

    def debug(self, text: str) -> None:
        """Write what only a developer wants."""
        self.write(DEBUG, text)

    def info(self, text: str) -> None:
        """Write what an operator expects to read."""
        self.write(INFO, text)

    def warning(self, text: str) -> None:
        """Write what works, but should be mended."""
        self.write(WARNING, text)

    def error(self, text: str) -> None:
        """Write what doesn't work."""
        self.write(ERROR, text)

    def write(self, level: int, text: str) -> None:
        """Write one line when ``level`` is wanted; never waits for a reader that doesn't read."""
        if level < self.level:
            return
        word = "" if level == INFO else f"{_NAMES.get(level, str(level))}: "
        self.line(word + text)

    def line(self, text: str) -> None:
        """Write a text whatever the level (the application's own output has none).

        One that is too long for an atomic write becomes several lines.
        """
        if self._dropped and self._emit(f"warning: {self._dropped} lines were lost, nobody read"):
            self._dropped = 0
        for piece in _pieces(escape(text)):
            if not self._emit(piece):
                self._dropped += 1

    def _emit(self, text: str) -> bool:
        stamp = time.strftime("%Y-%m-%d %H:%M:%SZ ", time.gmtime()) if self.timestamps else ""
        data = f"{stamp}[{self.who}] {text}\n".encode("utf-8", "backslashreplace")
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        if not poll.poll(0):
            return False
        try:
            os.write(self.fd, data)
        except OSError:
            return False
        return True


def _pieces(text: str) -> list[str]:
    """Cut ``text`` into pieces that fit a line with its time and name, between two characters."""
    pieces = []
    while len(data := text.encode("utf-8", "backslashreplace")) > PIECE_BYTES:
        piece = data[:PIECE_BYTES].decode("utf-8", "ignore")
        pieces.append(piece)
        text = data[len(piece.encode()) :].decode()
    return [*pieces, text]
