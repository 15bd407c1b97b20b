"""Start a real udsrv, as root or as an ordinary user, and know when it is ready."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support import guardian
from support.accounts import own_name
from support.directories import copy_readable, make_directory_of, open_to_applications
from support.log_file import LogFile
from support.notify import NotifySocket
from support.processes import children_of, descendants_of, title_of
from support.waiting import ENDS_WITH_US, PATIENCE_S, WaitError

# Without links on the way, as the launcher sees itself.
UDSRV = Path(sysconfig.get_path("scripts")).resolve() / "udsrv"
APPLICATIONS = Path(__file__).parents[1] / "apps"


def credentials_of(user: str) -> dict[str, object]:
    """Return what makes ``Popen`` run a child as ``user``, without supplementary groups."""
    if user == own_name():
        return {}
    who = pwd.getpwnam(user)
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@dataclass
class Udsrv:
    """One running server; everything it needs and leaves is in ``directory``."""

    process: subprocess.Popen[bytes]
    directory: Path
    socket: Path
    log: LogFile
    notify: NotifySocket

    @property
    def pid(self) -> int:
        """The master's pid."""
        return self.process.pid

    @property
    def supervisors(self) -> list[int]:
        """The master's children, the oldest generation first."""
        return children_of(self.pid)

    @property
    def workers(self) -> list[int]:
        """The workers of all generations, by their titles."""
        return [pid for pid in descendants_of(self.pid) if "udsrv: worker" in title_of(pid)]

    def wait_ready(self) -> None:
        """Return when the server has said READY=1: the socket is published, a worker can answer."""
        try:
            self.notify.wait_for("READY=1", sender=self.pid)
        except WaitError as error:
            raise type(error)(f"{error}\n{self.log.path} holds:\n{self.log.text()}") from None

    def wait_end(self, patience_s: float = PATIENCE_S) -> int:
        """Return the exit code, negative for a signal, once the master has ended."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise WaitError(f"no end within {patience_s:g} s\n{self.log.text()}") from None

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ask the server to stop; return its exit code."""
        self.process.send_signal(signal_number)
        return self.wait_end()


def start(
    directory: Path,
    app: str,
    *options: str,
    run_as: str | None = None,
    socket: Path | None = None,
    environ: Mapping[str, str] | None = None,
    udsrv: Path = UDSRV,
    stderr_fd: int | None = None,
    stdout_fd: int | None = None,
) -> Udsrv:
    """Start a server for ``app`` and return at once; ``wait_ready`` waits.

    ``directory`` (see ``make_shared_directory``) gets ``run/`` for the socket, owned by ``run_as``
    (default: who runs the tests); the log; ``open/``, which the sandbox leaves open to the
    application; and ``app/``, a copy of ``tests/apps``, which is where the server starts.
    ``stderr_fd`` is where the log goes instead of its file, and ``stdout_fd`` what is standard
    output instead of that file.
    """
    who = run_as or own_name()
    if not (directory / "run").exists():
        make_directory_of(who, directory / "run")
    if not (directory / "app").exists():
        copy_readable(APPLICATIONS, directory).rename(directory / "app")
    socket = socket or directory / "run" / "app.sock"
    options = ("--write-path", str(open_to_applications(directory)), *options)
    number = len(list(directory.glob("udsrv-*.log")))
    log = LogFile(directory / f"udsrv-{number}.log")
    notify = NotifySocket(directory / f"notify-{number}")
    with log.path.open("wb") as stderr:
        process = subprocess.Popen(
            [*ENDS_WITH_US, udsrv, "--socket", socket, *options, app],
            cwd=directory / "app",
            env={
                "PATH": os.environ["PATH"],
                "NOTIFY_SOCKET": str(notify.path),
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=stderr if stdout_fd is None else stdout_fd,
            stderr=stderr if stderr_fd is None else stderr_fd,
            start_new_session=True,
            **credentials_of(who),  # type: ignore[call-overload]
        )
    guardian.end_with_us(process.pid)
    return Udsrv(process, directory, socket, log, notify)
