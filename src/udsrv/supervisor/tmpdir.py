"""Directories that belong to one generation, and the end of those whose generation was killed.

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
_TRIES = 10


@contextlib.contextmanager
def private_tmpdir() -> Iterator[str | None]:
    """Yield a temporary directory of the process's own, unless the operator named one."""
    if "TMPDIR" in os.environ:
        yield None
        return
    with private_directory(tempfile.gettempdir(), PREFIX) as path:
        os.environ["TMPDIR"] = path
        tempfile.tempdir = None
        yield path


@contextlib.contextmanager
def private_directory(parent: str, prefix: str) -> Iterator[str]:
    """Yield a new 0700 directory in ``parent`` that goes at the end.

    Those that killed generations of this user left there, by their ``prefix``, are removed.
    """
    _remove_unused(parent, prefix)
    path, lock_fd = _make_locked(parent, prefix)
    try:
        yield path
    finally:
        _remove(path)
        if lock_fd is not None:
            os.close(lock_fd)


def _make_locked(parent: str, prefix: str) -> tuple[str, int | None]:
    """Make a directory; another generation may take it for unused before it is locked."""
    for _ in range(_TRIES):
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        lock_fd = _lock(path)
        if lock_fd is not None and os.path.isdir(path):
            break
    return path, lock_fd


def _remove_unused(parent: str, prefix: str) -> None:
    for entry in os.scandir(parent):
        if not entry.name.startswith(prefix) or not entry.is_dir(follow_symlinks=False):
            continue
        with contextlib.suppress(FileNotFoundError):  # its generation has just ended
            if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
        lock_fd = _lock(entry.path)
        if lock_fd is not None:
            _remove(entry.path)
            os.close(lock_fd)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.chmod(path, 0o700)
    shutil.rmtree(path, ignore_errors=True)


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
