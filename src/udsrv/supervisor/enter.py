"""Enter the sandbox, then become what starts a supervisor in the application's environment.

Runs as: the application's user, in an isolated interpreter that has read nothing of its
environment but the standard library. ``.pth`` files, ``sitecustomize`` and what ``PYTHON*``
variables name run after the exec, inside. Source: site, "This module is automatically imported".
"""

from __future__ import annotations

import contextlib
import os
import sys

from udsrv.errors import PrivilegeError
from udsrv.supervisor.payload import peek_settings


def main() -> None:
    """Become the command that the arguments hold, in the sandbox."""
    following = sys.argv[3:]
    # An environment of another Python than the master's can't load this udsrv; its own seals
    # itself after the exec. So it does when something fails here, and says what.
    with contextlib.suppress(ImportError, PrivilegeError):
        from udsrv.sandbox.apply import enter

        enter(peek_settings())
    os.execv(following[0], following)  # noqa: S606 - exec is the point
