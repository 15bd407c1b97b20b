"""Wait, in one thread, for descriptors, signals and a point in time.

Runs as: root (the master) and the app's user (the supervisor). Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection

_READ_BYTES = 4096


class EventLoop:
    """Calls a descriptor's handler when there is something to read, or it has hung up."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._wakeup_fd = -1

    def add(self, fd: int, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call ``handler`` at ``events`` of ``fd``. A hang-up is always one of them: epoll_ctl(2).

        Raises:
            OSError: the descriptor can't be waited for, or is already.
        """
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def remove(self, fd: int) -> None:
        """Forget ``fd``, whether it was added or not."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        self._handlers.pop(fd, None)

    def on_signals(self, numbers: Collection[int], handler: Callable[[bytes], None]) -> None:
        """Call ``handler`` with the numbers of the signals that have come, a byte each.

        Python writes them to a pipe, so that none is lost between a look and a wait. Those that
        were blocked may come from now on.
        """
        read_fd, self._wakeup_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup_fd, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        self.add(read_fd, lambda: handler(os.read(read_fd, _READ_BYTES)))

    def wait(self, until_s: float | None) -> None:
        """Handle what happens next; return at the monotonic time ``until_s`` at the latest."""
        timeout = -1.0 if until_s is None else max(0.0, until_s - time.monotonic())
        for fd, _ in self._epoll.poll(timeout):
            handler = self._handlers.get(fd)  # an earlier handler may have removed it
            if handler is not None:
                handler()

    def fds(self) -> set[int]:
        """Return every descriptor that is waited for, and the loop's own."""
        return {*self._handlers, self._epoll.fileno(), self._wakeup_fd}
