"""Open files that only root (or the master's own uid) can have put where they are.

Runs as: root. Imports the standard library and ``udsrv.errors`` only.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Callable

from udsrv.errors import ConfigError, PrivilegeError
from udsrv.start.directories import open_directory, who_else_may_write

LIMIT_BYTES = 1 << 20


def read_secret(path: str) -> bytes:
    """Return the contents of a file that nobody but its owner, root or us, can read or write.

    Raises:
        ConfigError: it is missing, no plain file, too large, or open to others.
        PrivilegeError: its directory could be replaced by others.
    """
    return _read(path, _who_may_know, mode="0600")


def read_configuration(path: str) -> bytes:
    """Return the contents of a file that nobody but its owner, root or us, can write.

    Raises:
        ConfigError: it is missing, no plain file, too large, or others could write it.
        PrivilegeError: its directory could be replaced by others.
    """
    return _read(path, _who_may_decide, mode="0644")


def _who_may_know(fd: int) -> str | None:
    facts, uid = os.fstat(fd), os.geteuid()
    # To a master that isn't root's, systemd opens root's file by an access control list, whose
    # mask shows as the mode of root's group. Source: systemd.exec(5), LoadCredential=; acl(5).
    others = 0o037 if uid and facts.st_uid == facts.st_gid == 0 else 0o077
    return "is open to others" if facts.st_uid not in (0, uid) or facts.st_mode & others else None


def _who_may_decide(fd: int) -> str | None:
    writer = who_else_may_write(fd)
    return writer and f"is writable by {writer}, who could decide what is started, and as whom"


def _read(path: str, fault_of: Callable[[int], str | None], *, mode: str) -> bytes:
    uid = os.geteuid()
    word = shlex.quote(path)
    wanted = (
        f"it must belong to uid {uid} with mode {mode}: chown {uid} {word} && chmod {mode} {word}"
    )
    directory = open_directory(os.path.dirname(path))
    try:
        fd = os.open(
            os.path.basename(path),
            os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK,
            dir_fd=directory.fd,
        )
    except PermissionError as error:
        raise ConfigError(f"{path}: {error.strerror}; {wanted}") from error
    except FileNotFoundError as error:
        made = f"make it with 'install -m {mode} /dev/null {word}', or name one that exists"
        raise ConfigError(f"{path}: {error.strerror}: {made}") from error
    except OSError as error:
        hint = f"; name the file itself: {os.path.realpath(path)}" if os.path.islink(path) else ""
        raise ConfigError(f"{path}: {error.strerror}{hint}") from error
    finally:
        os.close(directory.fd)
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        os.close(fd)
        raise ConfigError(f"{path} is not a plain file")
    with os.fdopen(fd, "rb") as file:
        if fault := fault_of(fd):
            whose = (
                f"uid {facts.st_uid}, gid {facts.st_gid}, mode {stat.S_IMODE(facts.st_mode):04o}"
            )
            raise ConfigError(f"{path} ({whose}) {fault}; {wanted}")
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
