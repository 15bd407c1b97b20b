"""Start a supervisor: read what the master sent, seal, run.

Runs as: the application's user, in a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from typing import NoReturn

from udsrv.errors import UdsrvError
from udsrv.fds import ACCESS_FD, CONTROL_FD, CREDENTIALS_FD, LISTENER_FD
from udsrv.ipc import Channel, Kind, Record
from udsrv.log import INFO, Form, Log
from udsrv.supervisor.payload import read_payload, require_native
from udsrv.title import set_title


def main() -> NoReturn:
    """Run one generation and exit with the code that the master is to know."""
    for fd in (CONTROL_FD, LISTENER_FD, ACCESS_FD, CREDENTIALS_FD):
        os.set_inheritable(fd, False)
    control = Channel.from_fd(CONTROL_FD)
    try:
        code = _run(control)
    except UdsrvError as error:
        Log("supervisor", level=INFO, form=Form(timestamps=True)).error(str(error))
        control.send(Record(Kind.FAILED, error.exit_code))
        code = error.exit_code
    except BaseException:  # the edge of a process
        sys.excepthook(*sys.exc_info())
        code = UdsrvError.exit_code
    # What a preloaded application left for the end, exit handlers and threads, is its workers'.
    with contextlib.suppress(OSError, ValueError):  # it may have closed them
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run(control: Channel) -> int:
    payload = read_payload()
    app = payload.spec.settings.app
    set_title(f"udsrv: supervisor {app} generation {payload.generation}")
    require_native()
    # After the check, whose message says more than an import that fails here.
    from udsrv.sandbox.descriptors import close_all_but
    from udsrv.supervisor.loop import Supervisor
    from udsrv.supervisor.sealed import sealed

    settings = payload.spec.settings
    agreed = {0, 1, 2, CONTROL_FD, LISTENER_FD, CREDENTIALS_FD}
    access_fd = None if settings.access_logfile is None else ACCESS_FD
    if access_fd is None:
        os.close(ACCESS_FD)
    else:
        agreed.add(access_fd)
    with contextlib.ExitStack() as private:
        place, report = private.enter_context(sealed(payload.spec, agreed))
        report.write(payload.spec.log)
        watcher = None
        if settings.reload:
            # Before anything is imported, so that no change is missed.
            from udsrv.supervisor.changes import start_watcher

            watcher = start_watcher(settings, payload.spec.log, close_all_but)
            watcher.wait_ready(settings.start_timeout)
        preloaded = None
        if settings.preload:
            from udsrv.supervisor.preload import preload

            preloaded = preload(payload.spec, control, private.close)
        # Its forks share what is here, as long as no garbage collection of theirs looks at it.
        gc.freeze()
        listener = socket.socket(fileno=LISTENER_FD)
        supervisor = Supervisor(
            payload.spec,
            control,
            listener,
            access_fd,
            place,
            watcher=watcher,
            preloaded=preloaded,
        )
        try:
            return supervisor.run()
        finally:
            if preloaded is not None:
                preloaded.give_back_output()
