"""The credentials that root has read, as files of the application's user.

Runs as: the application's user, before anything of the application's is imported.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator

from udsrv.errors import PrivilegeError
from udsrv.fds import CREDENTIALS_FD, content
from udsrv.log import Log
from udsrv.supervisor.tmpdir import private_directory

PREFIX = "udsrv-credentials."
VARIABLE = "CREDENTIALS_DIRECTORY"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a directory of ours is made in it


@contextlib.contextmanager
def credentials_directory(log: Log) -> Iterator[None]:
    """Hold the credentials of CREDENTIALS_FD in ``$CREDENTIALS_DIRECTORY``; close the descriptor.

    Each is a 0400 file in a 0500 directory of this generation's own, which goes with it. The
    directory is not below TMPDIR, so that a sandbox can let workers write there and not here.
    """
    contents = read_credentials(CREDENTIALS_FD)
    if not contents:
        yield
        return
    parent = choose_parent((tempfile.gettempdir(), _SHARED_MEMORY))
    if not in_memory(parent):
        log.warning(
            f"the credentials are written below {parent}, which is on a disk: mount a tmpfs on"
            f" {_SHARED_MEMORY} to keep them in memory"
        )
    with private_directory(parent, PREFIX) as path:
        for name, data in contents.items():
            write_readable(os.path.join(path, name), data)
        os.chmod(path, 0o500)
        os.environ[VARIABLE] = path
        yield


def read_credentials(fd: int) -> dict[str, bytes]:
    """Return what ``start.credentials`` put into ``fd``, and close it; nothing of /dev/null."""
    try:
        text = content(fd) or b"{}"
    finally:
        os.close(fd)
    return {name: base64.b64decode(data) for name, data in json.loads(text).items()}


def write_readable(path: str, data: bytes) -> None:
    """Make the file ``path``, which its owner can read and nobody else.

    Raises:
        PrivilegeError: the system refused, for want of room perhaps.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o400), "wb") as file:
            file.write(data)
    except OSError as error:
        raise PrivilegeError(f"the credential can't be written to {path}: {error}") from error


def choose_parent(candidates: tuple[str, ...]) -> str:
    """Return the first directory in memory where what we make stays ours, else the first."""
    return next((one for one in candidates if is_usable(one) and in_memory(one)), candidates[0])


def is_usable(directory: str) -> bool:
    """Tell whether we can make something in ``directory`` that nobody else can replace."""
    try:
        facts = os.stat(directory)
    except OSError:
        return False
    ours = facts.st_mode & stat.S_ISVTX or not facts.st_mode & 0o022
    return bool(ours) and os.access(directory, os.W_OK | os.X_OK)


def in_memory(directory: str) -> bool:
    """Tell whether a file in ``directory`` is kept in memory and on no disk (but for swap).

    Source: proc(5), mountinfo.
    """
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split(" ")[2] == number:
                return after.split(" ")[0] in ("tmpfs", "ramfs")
    return False
