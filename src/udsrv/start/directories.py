"""Walk to a directory and refuse a way that somebody else can redirect.

Runs as: root (or the master's own uid). Imports the standard library and ``udsrv.errors`` only.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from udsrv.errors import PrivilegeError

OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_SYMLINKS = 40  # as the kernel. Source: path_resolution(7)


@dataclass(frozen=True)
class Directory:
    """A pinned directory: what it is called without symbolic links, and its descriptor."""

    path: str
    fd: int


def who_may_write(facts: os.stat_result, uid: int, gid: int) -> str | None:
    """Say who besides root and ``uid`` may write a file with these facts; None when nobody. Pure.

    ``gid`` is a group that counts as the caller's own.
    """
    if facts.st_uid not in (0, uid):
        return f"uid {facts.st_uid}, its owner"
    if facts.st_mode & stat.S_IWOTH:
        return "everybody"
    if facts.st_mode & stat.S_IWGRP and facts.st_gid not in (0, gid):
        return f"group {facts.st_gid}"
    return None


def open_directory(path: str) -> Directory:
    """Open the absolute ``path``, having checked every directory and symbolic link on the way.

    A sticky directory may be writable by others: what is ours in it stays ours.
    Source: path_resolution(7), unlink(2) EPERM.

    Raises:
        PrivilegeError: a component is missing, can't be entered, or could be replaced by others.
    """
    pending = path.split("/")[::-1]
    links = 0
    here = Directory("/", os.open("/", OPEN_DIRECTORY))
    try:
        _check(here)
        while pending:
            there = _step(here, pending.pop(), path)
            if isinstance(there, Directory):
                os.close(here.fd)
                here = there
                _check(here)
                continue
            links += 1
            if links > _MOST_SYMLINKS:
                raise PrivilegeError(f"{path}: too many symbolic links")
            # What the link says begins where it is, or at the root.
            pending += there.split("/")[::-1]
            if there.startswith("/"):
                os.close(here.fd)
                here = Directory("/", os.open("/", OPEN_DIRECTORY))
    except BaseException:
        os.close(here.fd)
        raise
    return here


def _step(here: Directory, name: str, wanted: str) -> Directory | str:
    """Return what ``name`` (empty: the same) is in ``here``: a directory, or where a link leads."""
    full = os.path.normpath(os.path.join(here.path, name))
    try:
        fd = os.open(name or ".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here.fd)
        facts = os.fstat(fd)
        if stat.S_ISDIR(facts.st_mode):
            return Directory(full, fd)
        # The descriptor is the link's own, so nobody can have put another in its place.
        target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(facts.st_mode) else None
        os.close(fd)
    except FileNotFoundError as error:
        in_run = full.startswith(("/run/", "/var/run/"))
        hint = ", or at each start by RuntimeDirectory= (see udsrv gen-systemd)" if in_run else ""
        raise PrivilegeError(
            f"{full} doesn't exist: make it with 'mkdir -p -m 0755 {wanted}'{hint}"
        ) from error
    except OSError as error:
        raise PrivilegeError(f"{full}: {error.strerror}") from error
    if target is None:
        raise PrivilegeError(f"{full}: {os.strerror(errno.ENOTDIR)}")
    if facts.st_uid not in (0, os.geteuid()):
        raise PrivilegeError(f"{full} is a symbolic link of uid {facts.st_uid}, who can move it")
    return target


def _has_access_list(fd: int) -> bool:
    # Not by the descriptor: it is one of O_PATH. Source: open(2).
    try:
        return "system.posix_acl_access" in os.listxattr(f"/proc/self/fd/{fd}")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return False
        raise


def who_else_may_write(fd: int) -> str | None:
    """Say who besides root and us may write what ``fd`` is; None when nobody."""
    facts = os.fstat(fd)
    writer = who_may_write(facts, os.geteuid(), os.getegid())
    if writer is None and facts.st_mode & stat.S_IWGRP and _has_access_list(fd):
        # The group's bits are then the most that anybody in the list gets. Source: acl(5).
        return "somebody in its access control list"
    return writer


def _check(directory: Directory) -> None:
    facts = os.fstat(directory.fd)
    writer = who_else_may_write(directory.fd)
    if writer is None or (facts.st_mode & stat.S_ISVTX and facts.st_uid in (0, os.geteuid())):
        return
    mode = stat.S_IMODE(facts.st_mode)
    raise PrivilegeError(
        f"{directory.path} (uid {facts.st_uid}, gid {facts.st_gid}, mode {mode:04o}) is writable"
        f" by {writer}, who could replace what is in it:"
        f" make it root's with 'chown root:root {directory.path}; chmod 0755 {directory.path}',"
        " or choose another directory"
    )
