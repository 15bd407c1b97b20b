"""Where the processes of a generation live.

Runs as: the application's user, also before the environment's start-up files run.
"""

from __future__ import annotations

import os
import sys

import udsrv


class Place:
    """What of the machine is theirs: real paths."""

    def __init__(
        self,
        package: str,
        interpreters: tuple[str, ...],
        python_path: tuple[str, ...],
        temporary: str,
        *,
        temporary_is_ours: bool,
        credentials: str | None = None,
    ) -> None:
        self.package = package  # udsrv's own
        self.interpreters = interpreters  # the environment's prefix, that of the Python below it
        self.python_path = python_path  # $PYTHONPATH, which only the operator can have set
        self.temporary = temporary
        self.temporary_is_ours = temporary_is_ours  # made by the supervisor, which removes it
        self.credentials = credentials
        self.abi = 0  # Landlock's, once the supervisor is in the sandbox


def place_here(temporary: str, *, is_ours: bool) -> Place:
    """Return where this process lives, with the temporary directory that it has.

    Without the module site, which has not run yet when the sandbox is entered, the prefix is that
    of the Python below the environment. Source: PEP 405, pyvenv.cfg.
    """
    environment = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    if not os.path.exists(os.path.join(environment, "pyvenv.cfg")):
        environment = sys.prefix
    prefixes = (environment, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    real = dict.fromkeys(os.path.realpath(prefix) for prefix in prefixes)
    return Place(
        package=os.path.dirname(os.path.abspath(udsrv.__file__)),
        interpreters=tuple(path for path in real if path not in ("/", "/usr")),
        python_path=tuple(filter(os.path.isabs, os.environ.get("PYTHONPATH", "").split(":"))),
        temporary=os.path.realpath(temporary),
        temporary_is_ours=is_ours,
        credentials=os.environ.get("CREDENTIALS_DIRECTORY"),
    )
