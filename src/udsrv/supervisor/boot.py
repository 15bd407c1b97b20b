"""Start a supervisor: read what the master sent, seal, run.

Runs as: the application's user, in a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import NoReturn

from udsrv.errors import UdsrvError
from udsrv.ipc import ACCESS_FD, CONTROL_FD, LISTENER_FD, Channel, Kind, Record
from udsrv.log import INFO, Log
from udsrv.supervisor.payload import read_payload, require_native
from udsrv.title import set_title


def main() -> NoReturn:
    """Run one generation and exit with the code that the master is to know."""
    for fd in (CONTROL_FD, LISTENER_FD):
        os.set_inheritable(fd, False)
    control = Channel.from_fd(CONTROL_FD)
    try:
        code = _run(control)
    except UdsrvError as error:
        Log("supervisor", level=INFO, timestamps=True).error(str(error))
        control.send(Record(Kind.FAILED, error.exit_code))
        code = error.exit_code
    sys.exit(code)


def _run(control: Channel) -> int:
    payload = read_payload()
    app = payload.spec.settings.app
    set_title(f"udsrv: supervisor {app} generation {payload.generation}")
    require_native()
    # After the check, whose message says more than an import that fails here.
    from udsrv.sandbox.apply import seal_supervisor
    from udsrv.supervisor.loop import Supervisor

    seal_supervisor()
    access_fd = None
    if payload.spec.settings.access_logfile is not None:
        access_fd = ACCESS_FD
        os.set_inheritable(access_fd, False)
    listener = socket.socket(fileno=LISTENER_FD)
    with private_tmpdir():
        return Supervisor(payload.spec, control, listener, access_fd).run()


@contextlib.contextmanager
def private_tmpdir() -> Iterator[None]:
    """Have a temporary directory of the process's own, unless the operator named one."""
    if "TMPDIR" in os.environ:
        yield
        return
    path = tempfile.mkdtemp(prefix="udsrv-")
    os.environ["TMPDIR"] = path
    tempfile.tempdir = None
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)
