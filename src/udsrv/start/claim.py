"""Claim the socket's path: check the way, take the lock, and see that nobody else serves it.

Runs as: root (or the master's own uid). Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct

from udsrv.errors import PrivilegeError
from udsrv.privileged.listener import KEPT, LOCK, ListenerSpec, SocketPath, address
from udsrv.start.directories import OPEN_DIRECTORY, open_directory

_PEERCRED = struct.Struct("iII")
_KINDS = {
    stat.S_IFREG: "regular file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def claim_path(path: str, *, uid: int, gid: int, mode: int, backlog: int) -> ListenerSpec:
    """Make ``path`` ours until the lock is given up; nothing is at it then.

    Raises:
        PrivilegeError: somebody else could redirect the path, serves it, or has put there
            something that is not a stale socket. Nothing has been changed then.
    """
    name = os.path.basename(path)
    with contextlib.ExitStack() as undo:
        parent = open_directory(os.path.dirname(path))
        undo.callback(os.close, parent.fd)
        path = os.path.join(parent.path, name)
        _refuse_foreign_file(path, parent.fd)
        private_fd = _open_private(path, parent.fd)
        undo.callback(os.close, private_fd)
        lock_fd = _take_lock(path, private_fd)
        undo.pop_all()
    spec = ListenerSpec(path, uid, gid, mode, backlog, parent.fd, private_fd, lock_fd)
    try:
        _remove_stale_socket(spec)
    except BaseException:
        SocketPath(spec).withdraw()
        raise
    return spec


def _stat(name: str, directory_fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refuse_foreign_file(path: str, parent_fd: int) -> None:
    facts = _stat(os.path.basename(path), parent_fd)
    if facts is not None and not stat.S_ISSOCK(facts.st_mode):
        raise PrivilegeError(
            f"{path} is a {_KINDS[stat.S_IFMT(facts.st_mode)]}, not a socket, and is left alone:"
            " move it away or choose another --socket"
        )


def _open_private(path: str, parent_fd: int) -> int:
    """Return the descriptor of the directory that only the master can enter."""
    name = f"{os.path.basename(path)}.d"
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        facts = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        mode = stat.S_IMODE(facts.st_mode)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or mode & 0o077:
            raise PrivilegeError(
                f"{path}.d must be a directory of uid {os.geteuid()} with mode 0700, but it is a"
                f" {_KINDS[stat.S_IFMT(facts.st_mode)]} of uid {facts.st_uid} with mode {mode:04o}:"
                " move it away or choose another --socket"
            )
        # It is ours, so nobody who may write its parent can have put another in its place.
        return os.open(name, OPEN_DIRECTORY, dir_fd=parent_fd)
    except OSError as error:
        raise PrivilegeError(f"{path}.d: {error.strerror}") from error


def _take_lock(path: str, private_fd: int) -> int:
    """Lock the private directory's lock file and write our pid into it.

    The lock goes with the last process that holds its descriptor, so a crash leaves no stale one.
    A file that was unlinked between our open and our lock is not the lock.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            fd = os.open(LOCK, flags, 0o600, dir_fd=private_fd)
        except OSError as error:
            raise PrivilegeError(f"{path}.d/{LOCK}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise PrivilegeError(
                f"{path} is served by another udsrv, pid {owner}:"
                " stop it first or choose another --socket"
            ) from None
        there = _stat(LOCK, private_fd)
        if there is not None and os.path.samestat(there, os.fstat(fd)):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return fd
        os.close(fd)


def _remove_stale_socket(spec: ListenerSpec) -> None:
    """Remove a socket that nobody serves: what a crash has left."""
    name = os.path.basename(spec.path)
    facts = _stat(name, spec.parent_fd)
    if facts is None:
        return
    kept = _stat(KEPT, spec.private_fd)
    # The kept one was a killed master's; what escaped it may still hold the listener.
    if kept is None or not os.path.samestat(kept, facts):
        _refuse_live_socket(spec, name)
    try:
        os.unlink(name, dir_fd=spec.parent_fd)
    except OSError as error:
        raise PrivilegeError(f"{spec.path}: {error.strerror}") from error


def _refuse_live_socket(spec: ListenerSpec, name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(address(spec.parent_fd, name))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            served_by = "a process whose queue is full"
        except OSError as error:
            served_by = f"another process ({error.strerror})"
        else:
            raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
            served_by = f"pid {_PEERCRED.unpack(raw)[0]}"
    raise PrivilegeError(
        f"{spec.path} is served by {served_by}: stop it first or choose another --socket"
    )
