"""Credentials: files that nobody but root can read, on their way to the application's processes.

Runs as: root, while the master starts. Imports the standard library only. What was read stays in a
sealed memfd, whose memory the running master has not mapped: every generation gets the same.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence

from udsrv.errors import ConfigError
from udsrv.start.files import read_secret
from udsrv.start.memory import sealed_memfd

# Of all together, as systemd's. Source: systemd.exec(5), LoadCredential=.
LIMIT_BYTES = 1 << 20
VARIABLE = "CREDENTIALS_DIRECTORY"


def load_credentials(items: Sequence[str], environ: Mapping[str, str]) -> int:
    """Return a descriptor for ``ipc.CREDENTIALS_FD`` with the files of ``items``: NAME[:PATH] each.

    Raises:
        ConfigError: a file is missing, open to others or too large, or it isn't said where it is.
        PrivilegeError: the way to a file could be redirected.
    """
    contents: dict[str, bytes] = {}
    for name, path in (locate(item, environ) for item in items):
        contents[name] = read_secret(path)
        if sum(map(len, contents.values())) > LIMIT_BYTES:
            raise ConfigError(
                f"credential: with {path} they are larger than {LIMIT_BYTES} bytes together:"
                " name a directory that only the application reads for what is large"
            )
    return sealed_memfd("udsrv-credentials", encode(contents))


def encode(contents: Mapping[str, bytes]) -> bytes:
    """Return what ``supervisor.credentials`` reads: names and, in base64, contents."""
    texts = {name: base64.b64encode(data).decode() for name, data in contents.items()}
    return json.dumps(texts).encode()


def locate(item: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the path that ``item`` says, or that the service manager does. Pure.

    Source: systemd.exec(5), CREDENTIALS_DIRECTORY.

    Raises:
        ConfigError: the path is left out, and there is no service manager's directory.
    """
    name, colon, path = item.partition(":")
    if colon:
        return name, path
    directory = environ.get(VARIABLE, "")
    if not directory.startswith("/"):
        raise ConfigError(
            f"credential: '{name}' has no path, and ${VARIABLE} is not set: write {name}:PATH,"
            f" or LoadCredential={name}:PATH in the unit"
        )
    return name, os.path.join(directory, name)
