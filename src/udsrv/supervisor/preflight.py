"""Load the application once, for ``udsrv check``, and end.

Runs as: the application's user, in a fresh interpreter that is sealed like a supervisor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from udsrv.errors import UdsrvError
from udsrv.fds import ACCESS_FD, CONTROL_FD, CREDENTIALS_FD, LISTENER_FD
from udsrv.supervisor.payload import read_payload, require_native
from udsrv.worker.target import extend_path, load

if TYPE_CHECKING:  # it needs the compiled module, whose absence is reported first
    from udsrv.sandbox.apply import Report


def main() -> None:
    """Print what the sandbox holds, and exit with the code that a start would give, or 0."""
    try:
        spec = read_payload().spec
        settings = spec.settings
        require_native()
        from udsrv.sandbox.policy import writable
        from udsrv.supervisor.sealed import sealed

        for fd in (CONTROL_FD, LISTENER_FD, ACCESS_FD):
            os.close(fd)  # only their places are taken
        os.set_inheritable(CREDENTIALS_FD, False)
        with sealed(spec, {0, 1, 2, CREDENTIALS_FD}) as (place, report):
            _say(report)
            if settings.sandbox != "off":
                _say_what_it_writes(report, writable(settings, place))
            sys.stdout.flush()
            os.dup2(2, 1)  # what follows is the application's
            extend_path(settings.chdir, settings.pythonpath)
            assert settings.app is not None
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


def _say(report: Report) -> None:
    if report.headline:
        print(f"ok  sandbox      {report.headline}")
    for text in report.warnings:
        print(f"--  sandbox      {text}")


def _say_what_it_writes(report: Report, opened: Iterable[str]) -> None:
    if not report.abi:
        print("--  writes       whatever its user may: there is no Landlock here")
        return
    # access(2) asks for the modes alone, which close some of what the sandbox opens.
    places = (path for path in opened if os.access(path, os.W_OK))
    print(f"ok  writes       {', '.join(places)}; no other place")
