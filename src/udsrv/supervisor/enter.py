"""Enter the sandbox, then become what starts a supervisor in the application's environment.

Runs as: the application's user, in an isolated interpreter that has read nothing of its
environment but the standard library. ``.pth`` files, ``sitecustomize`` and what ``PYTHON*``
variables name run after the exec, inside. Source: site, "This module is automatically imported".

Every start waits for this. So it, and what it imports, goes without ``dataclasses``, ``typing`` and
the table of settings, which would take longer than all that it does.
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

from udsrv.errors import PrivilegeError
from udsrv.fds import PAYLOAD_FD, content

TYPE_CHECKING = False  # without the module typing
if TYPE_CHECKING:
    from udsrv.config.model import Settings


def main() -> None:
    """Become the command that the arguments hold, in the sandbox."""
    following = sys.argv[3:]
    try:
        from udsrv.sandbox.entrance import enter
    except ImportError:
        pass  # another Python than the master's: the environment's own udsrv seals itself, later
    else:
        try:
            enter(_settings())
        except PrivilegeError as error:
            from udsrv.supervisor.payload import peek

            peek().log.error(str(error))
            sys.exit(error.exit_code)
    os.execv(following[0], following)  # noqa: S606 - exec is the point


def _settings() -> Settings:
    """Return what reads like the settings, all that the policy asks of them."""
    settings: Settings = json.loads(
        json.loads(content(PAYLOAD_FD))["settings"],
        object_hook=lambda read: SimpleNamespace(**read),
    )
    return settings
