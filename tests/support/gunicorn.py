"""Start a real Gunicorn on a Unix socket, beside the server that is compared with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.log_file import LogFile
from support.servers import credentials_of
from support.waiting import ENDS_WITH_US, PATIENCE_S, WaitError

GUNICORN = Path(sysconfig.get_path("scripts")) / "gunicorn"


@dataclass(frozen=True)
class Gunicorn:
    """A running Gunicorn; connections wait from its first line in the log on."""

    process: subprocess.Popen[bytes]
    socket: Path
    log: LogFile

    def wait_ready(self) -> None:
        """Return when its worker has loaded the application."""
        self.log.wait_for(r"Booting worker with pid", unless_ends=self.process.pid)

    def stop(self) -> None:
        """Stop it at once; requests in flight are cut off."""
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise WaitError(f"Gunicorn does not stop\n{self.log.text()}") from None


def start(
    directory: Path,
    app: str,
    socket: Path,
    *,
    run_as: str,
    threads: int,
    environ: Mapping[str, str],
) -> Gunicorn:
    """Start Gunicorn for ``app`` in ``directory`` as ``run_as`` and return at once."""
    log = LogFile(socket.with_suffix(".log"))
    with log.path.open("wb") as output:
        process = subprocess.Popen(
            [
                *ENDS_WITH_US,
                GUNICORN,
                "--bind",
                f"unix:{socket}",
                "--threads",
                str(threads),
                "--no-control-socket",
                app,
            ],
            cwd=directory,
            env={"PATH": os.environ["PATH"], **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **credentials_of(run_as),  # type: ignore[call-overload]
        )
    return Gunicorn(process, socket, log)
