"""Ends the servers of a test run that was killed before it could end them itself.

The kernel's parent-death signal is no help: it is forgotten when a process changes its effective
group, as the master does while it binds the socket. Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

# By the name that has nothing of ours in it: tests look for children that do.
_PYTHON = os.path.realpath(sys.executable)

# Its input ends with the test run, however that ends.
_SCRIPT = """
import contextlib, os, signal, sys
servers = []
for line in sys.stdin:
    with contextlib.suppress(ProcessLookupError):
        servers.append(os.pidfd_open(int(line)))
for server in servers:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(server, signal.SIGQUIT)
"""


@functools.cache
def _guardian() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [_PYTHON, "-c", _SCRIPT], stdin=subprocess.PIPE, text=True, start_new_session=True
    )


def end_with_us(pid: int) -> None:
    """Stop process ``pid`` if it is still there when this process is not."""
    print(pid, file=_guardian().stdin, flush=True)
