"""Start a supervisor: what it is told, and what it is given.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass

import udsrv
from udsrv.config.model import Settings
from udsrv.errors import AppLoadError, ConfigError
from udsrv.ipc import Channel
from udsrv.log import Form
from udsrv.privileged.drop import Identity
from udsrv.privileged.spawn import SpawnSpec, spawn

PACKAGE = os.path.dirname(os.path.abspath(udsrv.__file__))

# The application's environment may have its own udsrv, or none: then the master's package is
# used, and nothing else of the master's environment can be imported.
_BOOT = """\
import sys
try:
    import udsrv
except ModuleNotFoundError:
    from importlib import util
    spec = util.spec_from_file_location(
        "udsrv", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
    udsrv = sys.modules["udsrv"] = util.module_from_spec(spec)
    spec.loader.exec_module(udsrv)
try:
    from udsrv.{tier} import main
except ImportError as error:
    sys.exit(print("udsrv:", sys.executable, "has another udsrv (%s): install the same version in"
        " both environments" % error, file=sys.stderr) or {code})
main()
"""

# Room for the longest title in the argument area (see udsrv.title).
_TITLE_ROOM = "-" * 256


@dataclass(frozen=True)
class Launch:
    """What all generations of one master have in common."""

    settings: Settings
    python: str
    directory: str
    environment: dict[str, str]
    identity: Identity | None
    trusted_uids: frozenset[int]
    trusted_gids: frozenset[int]
    form: Form
    stderr_fd: int
    access_fd: int | None = None  # where the workers write the access log


def start_supervisor(launch: Launch, number: int, listener: socket.socket) -> tuple[int, Channel]:
    """Start generation ``number`` on ``listener``; return its pid and our end of its channel."""
    ours, theirs = Channel.pair()
    payload_fd = _sealed_memfd(payload(launch, number))
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        pid = spawn(
            SpawnSpec(
                argv=argv(launch, "supervisor.boot"),
                environ=launch.environment,
                directory=launch.directory,
                fds=(  # in the order of udsrv.ipc.CONTROL_FD and what follows it
                    null_fd,
                    launch.stderr_fd,
                    launch.stderr_fd,
                    theirs.fileno(),
                    payload_fd,
                    listener.fileno(),
                    *(() if launch.access_fd is None else (launch.access_fd,)),
                ),
                identity=launch.identity,
            )
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(payload_fd)
        os.close(null_fd)
    return pid, ours


def check_application(launch: Launch) -> int:
    """Load the application as a worker would, in a process that then ends; return its exit code."""
    payload_fd = _sealed_memfd(payload(launch, 0))
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        pid = spawn(
            SpawnSpec(
                argv=argv(launch, "supervisor.preflight"),
                environ=launch.environment,
                directory=launch.directory,
                # Nothing to control and nothing to serve: the places are kept.
                fds=(null_fd, launch.stderr_fd, launch.stderr_fd, null_fd, payload_fd, null_fd),
                identity=launch.identity,
            )
        )
    finally:
        os.close(payload_fd)
        os.close(null_fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else AppLoadError.exit_code


def argv(launch: Launch, tier: str) -> list[str]:
    """Return the command line of a process of ours in the application's environment."""
    # -P: the working directory comes onto the path when the application is loaded, not before.
    return [
        launch.python,
        "-P",
        "-c",
        _BOOT.format(tier=tier, code=ConfigError.exit_code),
        PACKAGE,
        _TITLE_ROOM,
    ]


def payload(launch: Launch, number: int) -> bytes:
    """Return what a supervisor must know, as JSON."""
    return json.dumps(
        {
            "version": udsrv.__version__,
            "generation": number,
            "settings": launch.settings.to_json().decode(),
            "trusted_uids": sorted(launch.trusted_uids),
            "trusted_gids": sorted(launch.trusted_gids),
            "form": asdict(launch.form),
        }
    ).encode()


def _sealed_memfd(data: bytes) -> int:
    fd = os.memfd_create("udsrv-settings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
