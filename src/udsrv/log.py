"""The error log: one line per event on standard error.

Runs as: root and the app's user. Imports the standard library only.

As text a line is ``TIME [who] level: text``; the level is left out for info. Under journald the
time, which it keeps itself, gives way to a priority that it takes off. As JSON a line is an object.
Control characters are escaped, so that no text can forge a second line or drive a terminal.
"""

from __future__ import annotations

import json
import os
import select
import time
from dataclasses import dataclass

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_NAMES = {number: name for name, number in LEVELS.items()}

# Source: sd-daemon(3), syslog(3).
_PRIORITIES = {DEBUG: 7, INFO: 6, WARNING: 4, ERROR: 3}

# One write of at most PIPE_BUF bytes is atomic on a pipe: lines of several processes don't mix.
# Source: pipe(7).
LINE_LIMIT_BYTES = select.PIPE_BUF
PIECE_BYTES = LINE_LIMIT_BYTES - 96  # what the time and the name take is less

# C0, DEL, and C1 controls, which some terminals obey; a tab is harmless and common.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}


def escape(text: str) -> str:
    """Return ``text`` with every control character but the tab written as its hex escape."""
    return text.translate(_ESCAPES)


@dataclass(frozen=True, slots=True)
class Form:
    """How lines are written: what is in front of a text, or that it is in an object."""

    timestamps: bool = False
    priorities: bool = False
    is_json: bool = False


def form(log_format: str, *, to_journal: bool) -> Form:
    """Return the form that the setting ``log_format`` asks for."""
    return Form(not to_journal, to_journal, log_format == "json")


def marked(level: int, text: str) -> str:
    """Return the lines of ``text``, each with its priority in front, as journald and we take it."""
    mark = f"<{_PRIORITIES[level]}>"
    return "".join(f"{mark}{line}\n" for line in text.removesuffix("\n").split("\n"))


def unmarked(line: bytes) -> tuple[int, bytes]:
    """Return the level of a line of a worker's, info if it names none, and the rest of it."""
    level = _MARKS.get(line[:3])
    return (INFO, line) if level is None else (level, line[3:])


_MARKS = {
    b"<%d>" % number: level
    for number, level in enumerate((*[ERROR] * 4, WARNING, INFO, INFO, DEBUG))
}


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

    def __init__(self, who: str, *, level: int, form: Form, fd: int = 2) -> None:
        self.who = who
        self.level = level
        self.form = form
        self.fd = fd
        self._dropped = 0

    def child(self, who: str) -> Log:
        """Return the same log for another writer."""
        return Log(who, level=self.level, form=self.form, fd=self.fd)

    def on(self, fd: int) -> Log:
        """Return the same log, written to another descriptor."""
        return Log(self.who, level=self.level, form=self.form, fd=fd)

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
        self.line(word + text, level)

    def line(self, text: str, level: int = INFO) -> None:
        """Write a text whatever the level (the application's own output has none).

        One that is too long for an atomic write becomes several lines.
        """
        if self._dropped:
            lost = f"warning: {self._dropped} lines were lost, nobody read"
            if self._emit(self._rendered(lost, WARNING)):
                self._dropped = 0
        if self.form.is_json:
            lines = self._objects(text, level)
        else:
            lines = [self._rendered(piece, level) for piece in _pieces(escape(text))]
        for line in lines:
            if not self._emit(line):
                self._dropped += 1

    def _rendered(self, text: str, level: int) -> bytes:
        """Return one line; of JSON too, if it is not too long."""
        front = f"<{_PRIORITIES.get(level, 6)}>" if self.form.priorities else ""
        if self.form.is_json:
            said = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "level": _NAMES.get(level, str(level)),
                "process": self.who,
                "message": text.removeprefix(f"{_NAMES.get(level)}: "),
            }
            # In ASCII; json leaves DEL as it is.
            return (front + json.dumps(said).replace("\x7f", "\\u007f") + "\n").encode()
        stamp = time.strftime("%Y-%m-%d %H:%M:%SZ ", time.gmtime()) if self.form.timestamps else ""
        return f"{front}{stamp}[{self.who}] {text}\n".encode("utf-8", "backslashreplace")

    def _objects(self, text: str, level: int) -> list[bytes]:
        """Return as many objects as it takes for each to be short enough."""
        line = self._rendered(text, level)
        if len(line) <= LINE_LIMIT_BYTES:
            return [line]
        middle = len(text) // 2
        return [*self._objects(text[:middle], level), *self._objects(text[middle:], level)]

    def _emit(self, data: bytes) -> bool:
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
