"""The cases, in a worker whose application has a signal handler of its own that takes its time."""

from __future__ import annotations

import _thread
import os
import signal
from types import FrameType

from cases import app

__all__ = ["app"]

_PIPE = os.environ["SIGNALLED_PIPE"]
_handled: list[int] = []


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """Let a second signal come at the very end of the first call; the second waits for the pipe."""
    _handled.append(number)
    if len(_handled) == 1:
        again = map(_thread.interrupt_main, [number])
        # Unlike a call of its own, this is no place where the interpreter looks for signals.
        (_,) = again
    else:
        with open(_PIPE, "rb") as pipe:
            pipe.read()


signal.signal(signal.SIGUSR1, _on_signal)
