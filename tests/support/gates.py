"""A place where application code waits until the test lets it go on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from support.directories import open_to_applications
from support.waiting import PATIENCE_S, wait_readable


class Gate:
    """Two FIFOs: one on which code says that it has come, one on which it waits."""

    def __init__(self, path: Path) -> None:
        path = open_to_applications(path.parent) / path.name
        self._paths = (path.with_name(f"{path.name}.came"), path.with_name(f"{path.name}.go"))
        for fifo in self._paths:
            os.mkfifo(fifo)
            fifo.chmod(0o666)  # the code may run as another user
        # Both ends of each, so that opening never waits and nobody sees an end.
        self._came_fd, self._go_fd = (os.open(fifo, os.O_RDWR) for fifo in self._paths)

    @property
    def code(self) -> str:
        """Python that stops at the gate."""
        came, go = map(str, self._paths)
        return f"open({came!r}, 'w').write('.'); open({go!r}, 'rb', buffering=0).read(1)"

    def wait_reached(self) -> None:
        """Return when somebody has stopped at the gate."""
        wait_readable(self._came_fd, until_s=time.monotonic() + PATIENCE_S)
        os.read(self._came_fd, 1)

    def open(self) -> None:
        """Let one go on."""
        os.write(self._go_fd, b".")

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._came_fd)
        os.close(self._go_fd)
