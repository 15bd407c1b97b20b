"""Open files that only root (or the master's own uid) can have put where they are.

Runs as: root. Imports the standard library and ``udsrv.errors`` only.
"""

from __future__ import annotations

import contextlib
import os
import stat

from udsrv.errors import ConfigError, PrivilegeError
from udsrv.start.directories import open_directory

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


def open_log(path: str, *, create: bool = True) -> int:
    """Return a descriptor that appends to the file ``path``, made with mode 0640 if it is missing.

    The file belongs to root or us, has no other name and no link leads to it, so nobody can make
    us write into another one. Without ``create`` nothing is made, and -1 stands for a missing file.

    Raises:
        ConfigError: it can't be opened, or is another kind of file.
        PrivilegeError: its directory could be replaced by others, or it is somebody else's.
    """
    directory = open_directory(os.path.dirname(path))
    name = os.path.basename(path)
    # O_NONBLOCK: a FIFO must not stop the start.
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        if create:
            with contextlib.suppress(FileExistsError):
                fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=directory.fd)
                os.fchmod(fd, 0o640)  # whatever the umask
                return fd
        fd = os.open(name, flags, dir_fd=directory.fd)
    except OSError as error:
        if not create and isinstance(error, FileNotFoundError):
            return -1
        raise ConfigError(
            f"{path}: {error.strerror}; a log is a plain file that uid {os.geteuid()} may write"
        ) from error
    finally:
        os.close(directory.fd)
    facts = os.fstat(fd)
    reason = None
    if not stat.S_ISREG(facts.st_mode):
        reason = "is not a plain file"
    elif facts.st_uid not in (0, os.geteuid()):
        reason = f"belongs to uid {facts.st_uid}; make it root's with 'chown root {path}'"
    elif facts.st_nlink != 1:
        reason = "has another name (a hard link), and could be any file; remove it"
    if reason is None:
        return fd
    os.close(fd)
    raise (ConfigError if "plain" in reason else PrivilegeError)(f"{path} {reason}")
