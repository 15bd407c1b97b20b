"""What the master told this process before it was exec'd.

Runs as: the application's user, in a fresh interpreter.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import udsrv
from udsrv.config.model import Settings
from udsrv.errors import ConfigError
from udsrv.ipc import PAYLOAD_FD
from udsrv.log import LEVELS, Form, Log
from udsrv.sandbox.proof import Identity
from udsrv.worker.spec import WorkerSpec


@dataclass(frozen=True)
class Payload:
    """The generation's number and what its workers have in common."""

    generation: int
    spec: WorkerSpec


def read_payload() -> Payload:
    """Read the sealed memfd at PAYLOAD_FD, and the generation's number, the last argument.

    All generations have one memfd, and with it one position in it.

    Raises:
        ConfigError: it comes from another version of udsrv than this environment has.
    """
    data = _peek()
    os.close(PAYLOAD_FD)
    if data["version"] != udsrv.__version__:
        raise ConfigError(
            f"{sys.executable} has udsrv {udsrv.__version__}, but the master is"
            f" {data['version']}: install the same version in both environments"
        )
    settings = Settings.from_json(data["settings"].encode())
    log = Log("supervisor", level=LEVELS[settings.log_level], form=Form(**data["form"]))
    uids, gids = tuple(data["trusted_uids"]), tuple(data["trusted_gids"])
    identity = None
    if data["identity"] is not None:
        uid, gid, groups = data["identity"]
        identity = Identity(uid, gid, tuple(groups))
    spec = WorkerSpec(settings, identity, uids, gids, log)
    return Payload(int(sys.argv[-1]), spec)


def peek() -> tuple[Settings, Log]:
    """Return the settings and the log, and leave the descriptor to who comes next."""
    return _settings_and_log(_peek())


def _settings_and_log(data: dict[str, Any]) -> tuple[Settings, Log]:
    settings = Settings.from_json(data["settings"].encode())
    log = Log("supervisor", level=LEVELS[settings.log_level], form=Form(**data["form"]))
    return settings, log


def _peek() -> dict[str, Any]:
    return json.loads(  # type: ignore[no-any-return]
        os.pread(PAYLOAD_FD, os.fstat(PAYLOAD_FD).st_size, 0)
    )


def require_native() -> None:
    """See that the compiled module loads in this environment.

    Raises:
        ConfigError: it is missing, or was built for another Python.
    """
    try:
        from udsrv import _native  # noqa: F401 - loading it is the check
    except ImportError as error:
        raise ConfigError(
            f"{sys.executable} can't load udsrv's compiled module ({error}): install"
            f" udsrv {udsrv.__version__} in that environment, or name another with --python"
        ) from error
