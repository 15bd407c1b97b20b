"""What a worker does on signals, and that what its application forks doesn't do it too.

Runs as: the application's user, in a worker.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


def catch(handlers: Mapping[signal.Signals, Handler]) -> None:
    """Have ``handlers`` called; in a fork of the application's these signals end the process.

    ``multiprocessing.Pool`` ends its processes by SIGTERM and waits for their end. They would take
    it for the worker's and stay. Only exec resets a caught signal: signal(7).
    """
    for number, handler in handlers.items():
        signal.signal(number, handler)
    before = threading.local()  # the mask, of each thread that forks

    # Blocked while it forks: of a signal that comes sooner than ``in_child`` the interpreter would
    # only make a note, which it throws away in a fork.
    def before_fork() -> None:
        before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)

    def in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before.mask)

    def in_child() -> None:
        for number, handler in handlers.items():
            if signal.getsignal(number) is handler:  # not the application's own
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before.mask)

    os.register_at_fork(before=before_fork, after_in_parent=in_parent, after_in_child=in_child)
