"""A temporary directory for each generation, and the end of those whose generation was killed.

Runs as: the application's user. A directory is in use as long as its lock is held, and the kernel
gives up the lock of a process that was killed. Source: flock(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator

PREFIX = "udsrv-tmpdir-"


@contextlib.contextmanager
def private_tmpdir() -> Iterator[str | None]:
    """Yield a temporary directory of the process's own, unless the operator named one."""
    if "TMPDIR" in os.environ:
        yield None
        return
    _remove_unused(tempfile.gettempdir())
    path = tempfile.mkdtemp(prefix=PREFIX)
    lock_fd = _lock(path)
    os.environ["TMPDIR"] = path
    tempfile.tempdir = None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock_fd is not None:
            os.close(lock_fd)


def _remove_unused(parent: str) -> None:
    for entry in os.scandir(parent):
        if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            owner = entry.stat(follow_symlinks=False).st_uid
        except FileNotFoundError:  # it has just gone
            continue
        if owner != os.geteuid():
            continue
        lock_fd = _lock(entry.path)
        if lock_fd is not None:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(lock_fd)


def _lock(path: str) -> int | None:
    """Lock a directory until the descriptor is closed; None when it is in use, or gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
