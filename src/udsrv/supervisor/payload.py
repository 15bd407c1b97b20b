"""What the master told this process before it was exec'd.

Runs as: the application's user, in a fresh interpreter.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

import udsrv
from udsrv.config.model import Settings
from udsrv.errors import ConfigError
from udsrv.fds import PAYLOAD_FD, content
from udsrv.log import LEVELS, Form, Log
from udsrv.sandbox.proof import Identity
from udsrv.worker.spec import WorkerSpec


@dataclass(frozen=True)
class Payload:
    """The generation's number and what its workers have in common."""

    generation: int
    spec: WorkerSpec


def read_payload() -> Payload:
    """Read the sealed memfd at PAYLOAD_FD and close it; the last argument is the number.

    Raises:
        ConfigError: it comes from another version of udsrv than this environment has.
    """
    spec = peek()
    os.close(PAYLOAD_FD)
    return Payload(int(sys.argv[-1]), spec)


def peek() -> WorkerSpec:
    """Return what the workers have in common, and leave the descriptor to who comes next.

    Raises:
        ConfigError: it comes from another version of udsrv than this environment has.
    """
    data = json.loads(content(PAYLOAD_FD))
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
    return WorkerSpec(settings, identity, uids, gids, log)


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
