"""Become the running master: read the plan, keep no capability but what that takes, and serve.

Runs as: root (or the operator's own uid), in a fresh image of the process that made the plan, with
its pid and its descriptors. Imports the standard library only, and nothing that reads settings.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from udsrv.errors import UdsrvError
from udsrv.log import Log
from udsrv.master.loop import Master
from udsrv.master.plan import Plan
from udsrv.privileged import kernel
from udsrv.privileged.drop import confine_master
from udsrv.privileged.listener import SocketPath
from udsrv.title import set_title


def main() -> NoReturn:
    """Serve as the plan says until a signal ends that; exit with the code for it."""
    code = UdsrvError.exit_code
    try:
        code = run(Plan.read(int(sys.argv[-1])))
    except UdsrvError as error:
        print(f"udsrv: {error}", file=sys.stderr)
        code = error.exit_code
    except Exception:  # the edge of the process
        sys.excepthook(*sys.exc_info())
        print("udsrv: that is a mistake in udsrv; please report it", file=sys.stderr)
    sys.exit(code)


def run(plan: Plan) -> int:
    """Serve until a signal ends that; return the exit code. Nothing is left behind.

    Raises:
        PrivilegeError: the socket can't be made, or a capability is missing.
    """
    path = SocketPath(plan.listener)
    try:
        for fd in plan.fds():
            os.set_inheritable(fd, False)
        if plan.supervisor.identity is not None:
            confine_master(may_chown=plan.listener.uid != os.geteuid())
        os.umask(0o077)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        set_title(f"udsrv: master [{plan.listener.path}]")
        log = Log("master", level=plan.log_level, form=plan.form)
        return Master(plan, path, log).run()
    finally:
        path.withdraw()
