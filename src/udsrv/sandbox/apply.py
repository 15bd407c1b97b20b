"""Seal a process before it imports anything of the application's.

Runs as: the application's user, in the supervisor and in each worker.
"""

from __future__ import annotations

import os

from udsrv import _native
from udsrv.errors import PrivilegeError


def seal_supervisor() -> None:
    """Give up what no process of the application needs.

    After exec, which makes a process dumpable again. Source: prctl(2).

    Raises:
        PrivilegeError: the kernel refused.
    """
    try:
        _native.no_new_privileges()
        _native.not_dumpable()
        _native.child_subreaper()
    except OSError as error:
        raise PrivilegeError(f"the process can't be sealed: {error}") from error


def seal_worker(supervisor_pid: int) -> None:
    """Bind a fork of the supervisor to the supervisor's life.

    Raises:
        PrivilegeError: the kernel refused, or the supervisor is gone already.
    """
    try:
        _native.die_with_parent()
    except OSError as error:
        raise PrivilegeError(f"the process can't be sealed: {error}") from error
    if os.getppid() != supervisor_pid:
        raise PrivilegeError("the supervisor is gone")
