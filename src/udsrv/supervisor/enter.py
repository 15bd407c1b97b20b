"""Enter the sandbox, then become what starts a supervisor in the application's environment.

Runs as: the application's user, in an isolated interpreter that has read nothing of its
environment but the standard library. ``.pth`` files, ``sitecustomize`` and what ``PYTHON*``
variables name run after the exec, inside. Source: site, "This module is automatically imported".
"""

from __future__ import annotations

import os
import sys

from udsrv.errors import PrivilegeError
from udsrv.supervisor.payload import peek


def main() -> None:
    """Become the command that the arguments hold, in the sandbox."""
    following = sys.argv[3:]
    try:
        from udsrv.sandbox.apply import enter
    except ImportError:
        pass  # another Python than the master's: the environment's own udsrv seals itself, later
    else:
        settings, log = peek()
        try:
            enter(settings)
        except PrivilegeError as error:
            log.error(str(error))
            sys.exit(error.exit_code)
    os.execv(following[0], following)  # noqa: S606 - exec is the point
