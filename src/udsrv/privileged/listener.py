"""The socket's path: stage, publish by rename, keep, restore and withdraw.

Runs as: root (or the master's own uid). Imports the standard library and ``udsrv.errors`` only.

Everything happens in the private directory ``PATH.d``, which only the master can enter, until one
``rename`` puts the finished, listening socket onto the path. So nobody can connect whom the
settings don't name, a live socket is replaced without a gap, and no path exists that somebody
could redirect. Reasons and measurements: docs/adr/0003-publication-by-rename.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from udsrv.errors import PrivilegeError
from udsrv.privileged.directories import Directory, open_directory

_PEERCRED = struct.Struct("iII")
_LONGEST_PATH_BYTES = 107  # sun_path with its NUL. Source: unix(7)
_STAGED, _KEPT, _LOCK = "staged", "kept", "lock"


@dataclass(frozen=True)
class ListenerSpec:
    """The socket to publish: where, whose, how open, and how long its queue is."""

    path: str
    uid: int
    gid: int
    mode: int
    backlog: int


class SocketPath:
    """Owns ``spec.path`` from its lock to its last unlink."""

    def __init__(self, spec: ListenerSpec) -> None:
        """Check the way, take the lock, and see that the path is free or ours to replace.

        Raises:
            PrivilegeError: somebody else could redirect the path, serves it, or has put there
                something that is not a stale socket. Nothing has been changed then.
        """
        self.spec = spec
        self.name = os.path.basename(spec.path)
        # Device and inode: what stays the same over rename and link.
        self._identity: tuple[int, int] | None = None
        with contextlib.ExitStack() as undo:
            self.parent = open_directory(os.path.dirname(spec.path))
            undo.callback(os.close, self.parent.fd)
            self.path = os.path.join(self.parent.path, self.name)
            self._refuse_foreign_file()
            self._private = self._open_private()
            undo.callback(os.close, self._private.fd)
            undo.callback(os.close, self._take_lock())
            undo.callback(self._remove_private)
            self._refuse_live_socket()
            self._undo = undo.pop_all()

    def stage(self) -> socket.socket:
        """Return a new listener with its owner, group and mode, which nobody can reach yet.

        Raises:
            PrivilegeError: the kernel didn't give it what the settings say.
        """
        spec = self.spec
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._unlink_private(_STAGED)
        # Born with its mode and, when the kernel lets us, its group. Source: unix(7).
        umask = os.umask(0o777 & ~spec.mode)
        try:
            os.fchmod(listener.fileno(), spec.mode)
            with _effective_group(spec.gid):
                listener.bind(self._bind_address())
        except OSError as error:
            listener.close()
            raise PrivilegeError(f"{self._private.path}/{_STAGED}: {error.strerror}") from error
        finally:
            os.umask(umask)
        try:
            self._own_staged()
            listener.listen(spec.backlog)
        except BaseException:
            listener.close()
            raise
        return listener

    def publish(self) -> None:
        """Put the staged listener onto the path, replacing what was ours or stale.

        Raises:
            PrivilegeError: the system refused, or somebody else's file is at the path by now.
        """
        self._refuse_foreign_file()
        if self._identity is None:
            self._refuse_live_socket()
        elif self.is_ours() is False:
            raise PrivilegeError(f"{self.path} is no longer our socket and is left alone")
        staged = self._stat(_STAGED, self._private)
        if staged is None:
            raise PrivilegeError(f"{self._private.path}/{_STAGED} has disappeared")
        self._unlink_private(_KEPT)
        try:
            # Without CAP_FOWNER no link to a socket of another owner can be made: then a path
            # that disappears is healed by a fresh listener. Source: proc(5), protected_hardlinks.
            with contextlib.suppress(PermissionError):
                os.link(_STAGED, _KEPT, src_dir_fd=self._private.fd, dst_dir_fd=self._private.fd)
            os.rename(_STAGED, self.name, src_dir_fd=self._private.fd, dst_dir_fd=self.parent.fd)
        except OSError as error:
            raise PrivilegeError(f"{self.path}: {error.strerror}") from error
        self._identity = (staged.st_dev, staged.st_ino)

    def is_ours(self) -> bool | None:
        """Tell whether the published socket is at the path; None when nothing is there."""
        facts = self._stat(self.name, self.parent)
        if facts is None:
            return None
        return (facts.st_dev, facts.st_ino) == self._identity

    def restore(self) -> bool:
        """Link the kept socket back to its empty path; False when that can't be done."""
        try:
            os.link(_KEPT, self.name, src_dir_fd=self._private.fd, dst_dir_fd=self.parent.fd)
        except OSError:
            return False
        return True

    def withdraw_path(self) -> None:
        """Unlink the path if our socket is still there."""
        if self._identity is not None and self.is_ours():
            os.unlink(self.name, dir_fd=self.parent.fd)
        self._identity = None

    def withdraw(self) -> None:
        """Unlink the path as above, and remove the private directory. The last thing to call."""
        self.withdraw_path()
        self._undo.close()

    def _refuse_foreign_file(self) -> None:
        facts = self._stat(self.name, self.parent)
        if facts is not None and not stat.S_ISSOCK(facts.st_mode):
            kind = _kind(facts.st_mode)
            raise PrivilegeError(
                f"{self.path} is a {kind}, not a socket, and is left alone:"
                " move it away or choose another --socket"
            )

    def _refuse_live_socket(self) -> None:
        facts = self._stat(self.name, self.parent)
        if facts is None:
            return
        kept = self._stat(_KEPT, self._private)
        if kept is not None and os.path.samestat(kept, facts):
            return  # left by a master that was killed; what escaped it may still hold the listener
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(_address(self.parent, self.name))
            except ConnectionRefusedError:
                return  # nobody listens: left over from a crash
            except BlockingIOError:
                served_by = "a process whose queue is full"
            except OSError as error:
                served_by = f"another process ({error.strerror})"
            else:
                raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
                served_by = f"pid {_PEERCRED.unpack(raw)[0]}"
        raise PrivilegeError(
            f"{self.path} is served by {served_by}: stop it first or choose another --socket"
        )

    def _open_private(self) -> Directory:
        name = f"{self.name}.d"
        path = os.path.join(self.parent.path, name)
        try:
            os.mkdir(name, 0o700, dir_fd=self.parent.fd)
        except FileExistsError:
            pass
        except OSError as error:
            raise PrivilegeError(f"{path}: {error.strerror}") from error
        facts = os.stat(name, dir_fd=self.parent.fd, follow_symlinks=False)
        mode = stat.S_IMODE(facts.st_mode)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or mode & 0o077:
            raise PrivilegeError(
                f"{path} must be a directory of uid {os.geteuid()} with mode 0700, but it is a"
                f" {_kind(facts.st_mode)} of uid {facts.st_uid} with mode {mode:04o}:"
                " move it away or choose another --socket"
            )
        return open_directory(path)

    def _take_lock(self) -> int:
        """Lock the private directory's lock file.

        The lock goes with the last process that holds its descriptor, so a crash leaves no
        stale one. A file that was unlinked between our open and our lock is not the lock.
        """
        path = f"{self._private.path}/{_LOCK}"
        while True:
            try:
                fd = os.open(
                    _LOCK,
                    os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                    0o600,
                    dir_fd=self._private.fd,
                )
            except OSError as error:
                raise PrivilegeError(f"{path}: {error.strerror}") from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
                os.close(fd)
                raise PrivilegeError(
                    f"{self.path} is served by another udsrv, pid {owner}:"
                    " stop it first or choose another --socket"
                ) from None
            there = self._stat(_LOCK, self._private)
            if there is not None and there.st_ino == os.fstat(fd).st_ino:
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
            os.close(fd)

    def _bind_address(self) -> str:
        """Return the absolute name, or one through the pinned directory when that is too long."""
        path = os.path.join(self._private.path, _STAGED)
        return (
            path
            if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES
            else _address(self._private, _STAGED)
        )

    def _own_staged(self) -> None:
        spec = self.spec
        facts = self._stat(_STAGED, self._private)
        if facts is None:
            raise PrivilegeError(f"{self._private.path}/{_STAGED} has disappeared")
        try:
            if (facts.st_uid, facts.st_gid) != (spec.uid, spec.gid):
                os.chown(
                    _STAGED, spec.uid, spec.gid, dir_fd=self._private.fd, follow_symlinks=False
                )
        except OSError as error:
            raise PrivilegeError(
                f"{self.path}: uid {os.geteuid()} may not give it to"
                f" uid {spec.uid}, gid {spec.gid}: {error.strerror}"
            ) from error
        facts = self._stat(_STAGED, self._private) or facts
        got = (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))
        if got != (spec.uid, spec.gid, spec.mode):
            raise PrivilegeError(
                f"{self.path}: the kernel made it uid {got[0]}, gid {got[1]}, mode {got[2]:04o}"
                f" instead of uid {spec.uid}, gid {spec.gid}, mode {spec.mode:04o}"
            )

    def _remove_private(self) -> None:
        for name in (_STAGED, _KEPT, _LOCK):
            self._unlink_private(name)
        with contextlib.suppress(OSError):
            os.rmdir(f"{self.name}.d", dir_fd=self.parent.fd)

    def _unlink_private(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._private.fd)

    def _stat(self, name: str, directory: Directory) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _effective_group(gid: int) -> Iterator[None]:
    before = os.getegid()
    if os.geteuid() != 0 or gid == before:
        yield
        return
    os.setegid(gid)
    try:
        yield
    finally:
        os.setegid(before)


def _address(directory: Directory, name: str) -> str:
    return f"/proc/self/fd/{directory.fd}/{name}"


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "regular file",
        stat.S_IFDIR: "directory",
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds[stat.S_IFMT(mode)]
