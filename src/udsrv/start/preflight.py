"""Find out, as the application's user, whether the application can start at all.

Runs as: the application's user, in a child of the master before the socket is touched. Imports the
standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from udsrv.errors import PrivilegeError


def require_readable(paths: Sequence[str], *, user: str) -> None:
    """See that ``user``, whom this process already is, can read each of ``paths``.

    Raises:
        PrivilegeError: a path is missing or blocked; its first such component is named.
    """
    for path in paths:
        at = blocking_component(path)
        if at is None:
            continue
        if not os.path.lexists(at) and os.access(os.path.dirname(at), os.X_OK):
            raise PrivilegeError(f"{path} doesn't exist (there is no {at})")
        raise PrivilegeError(
            f"user '{user}' can't read {path}: {at} is closed to it;"
            f" open it (chmod o+rx {at}) or move the application out of it"
        )


def blocking_component(path: str) -> str | None:
    """Return the first component of an absolute path that this process can't pass, if any."""
    parts = [name for name in path.split("/") if name]
    at = "/"
    for name in parts:
        at = os.path.join(at, name)
        need = os.R_OK | os.X_OK if at == path and os.path.isdir(at) else os.X_OK
        if not os.path.isdir(at):
            need = os.R_OK
        if not os.access(at, need):
            # What blocks may be behind a symbolic link, as a virtual environment's python is.
            real = os.path.realpath(at)
            return at if real == at else blocking_component(real) or at
    return None
