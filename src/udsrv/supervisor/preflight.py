"""Load the application once, for ``udsrv check``, and end.

Runs as: the application's user, in a fresh interpreter that is sealed like a supervisor.
"""

from __future__ import annotations

import os
import sys

from udsrv.errors import UdsrvError
from udsrv.ipc import ACCESS_FD, CONTROL_FD, LISTENER_FD
from udsrv.supervisor.payload import read_payload, require_native
from udsrv.supervisor.tmpdir import private_tmpdir
from udsrv.worker.target import extend_path, load


def main() -> None:
    """Exit with 0 when the application loads, else with the code that a start would give."""
    try:
        spec = read_payload().spec
        settings = spec.settings
        require_native()
        from udsrv.sandbox.apply import seal_supervisor
        from udsrv.sandbox.proof import prove, wanted

        seal_supervisor()
        for fd in (CONTROL_FD, LISTENER_FD, ACCESS_FD):
            os.close(fd)  # only their places are taken
        prove(wanted(spec.identity, session=os.getpid(), fds={0, 1, 2}))
        os.umask(settings.umask)
        extend_path(settings.chdir, settings.pythonpath)
        assert settings.app is not None
        with private_tmpdir():
            load(settings.app)
    except UdsrvError as error:
        print(f"udsrv: {error}", file=sys.stderr)
        code = error.exit_code
    else:
        code = 0
    # Threads that the application started must not keep a check from ending.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
