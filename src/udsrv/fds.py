"""The descriptors that a supervisor starts with.

Runs as: root (whoever fills them) and the app's user. Imports the standard library only, and little
of it: the entrance of the sandbox waits for it.
"""

from __future__ import annotations

import os

# Beside the standard streams; /dev/null where there is no access log, or no credential.
CONTROL_FD, PAYLOAD_FD, LISTENER_FD, ACCESS_FD, CREDENTIALS_FD = range(3, 8)


def content(fd: int) -> bytes:
    """Return what a memfd holds, whatever has been read of it.

    All generations share one position in it. Source: open(2), "open file descriptions".
    """
    return os.pread(fd, os.fstat(fd).st_size, 0)
