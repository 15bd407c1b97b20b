"""What each signal to the master means: one table (also printed in docs/signals.md).

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import enum
import signal


class Meaning(enum.Enum):
    """What the master does about a signal."""

    STOP_GRACEFULLY = "finish the requests in progress, for at most graceful_timeout, and exit 0"
    STOP_QUICKLY = "end the requests in progress and exit 0"
    REAP = "take note of children that have ended"
    IGNORE = "nothing yet; logged"


MEANINGS = {
    signal.SIGTERM: Meaning.STOP_GRACEFULLY,
    signal.SIGINT: Meaning.STOP_QUICKLY,
    signal.SIGQUIT: Meaning.STOP_QUICKLY,
    signal.SIGCHLD: Meaning.REAP,
    # Names that Gunicorn's users send: they must not end the service before they have a meaning.
    signal.SIGHUP: Meaning.IGNORE,
    signal.SIGUSR1: Meaning.IGNORE,
    signal.SIGUSR2: Meaning.IGNORE,
    signal.SIGTTIN: Meaning.IGNORE,
    signal.SIGTTOU: Meaning.IGNORE,
}
