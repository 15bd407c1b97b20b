"""Open a file that only root (or the master's own uid) can have written.

Runs as: root. Imports the standard library and ``udsrv.errors`` only.
"""

from __future__ import annotations

import os
import stat

from udsrv.errors import ConfigError
from udsrv.privileged.directories import open_directory

LIMIT_BYTES = 1 << 20


def read_secret(path: str) -> bytes:
    """Return the contents of a file that nobody but its owner, root or us, can read or write.

    Raises:
        ConfigError: it is missing, no plain file, too large, or open to others.
        PrivilegeError: its directory could be replaced by others.
    """
    directory = open_directory(os.path.dirname(path))
    try:
        fd = os.open(
            os.path.basename(path),
            os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK,
            dir_fd=directory.fd,
        )
    except PermissionError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; it must belong to uid {os.geteuid()} with mode 0600"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    finally:
        os.close(directory.fd)
    facts = os.fstat(fd)
    mode = stat.S_IMODE(facts.st_mode)
    if not stat.S_ISREG(facts.st_mode):
        os.close(fd)
        raise ConfigError(f"{path} is not a plain file")
    with os.fdopen(fd, "rb") as file:
        if facts.st_uid not in (0, os.geteuid()) or mode & 0o077:
            raise ConfigError(
                f"{path} (uid {facts.st_uid}, mode {mode:04o}) must belong to"
                f" uid {os.geteuid()} with mode 0600: it may hold secrets"
            )
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"{path} is larger than {LIMIT_BYTES} bytes")
    return data
