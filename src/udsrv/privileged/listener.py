"""The socket's path: stage, publish by rename, keep, restore and withdraw.

Runs as: root (or the master's own uid). Imports the standard library and ``udsrv.errors`` only.

Everything happens in the private directory ``PATH.d``, which only the master can enter, until one
``rename`` puts the finished, listening socket onto the path. So nobody can connect whom the
settings don't name, a live socket is replaced without a gap, and no path exists that somebody
could redirect. Reasons and measurements: docs/adr/0003-publication-by-rename.md.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from dataclasses import dataclass

from udsrv.errors import PrivilegeError

STAGED, KEPT, LOCK = "staged", "kept", "lock"
_LONGEST_PATH_BYTES = 107  # sun_path with its NUL. Source: unix(7)


@dataclass(frozen=True)
class ListenerSpec:
    """The socket to publish: where, whose, how open, and how long its queue is.

    The descriptors make the path ours: its directory, ``PATH.d``, and the lock held in there.
    """

    path: str  # without symbolic links
    uid: int
    gid: int
    mode: int
    backlog: int
    parent_fd: int
    private_fd: int
    lock_fd: int


class SocketPath:
    """A path that is ours, from its first listener to its last unlink."""

    def __init__(self, spec: ListenerSpec) -> None:
        self.spec = spec
        self.name = os.path.basename(spec.path)
        # Device and inode of what is published: they stay the same over rename and link.
        self._identity: tuple[int, int] | None = None

    def stage(self) -> socket.socket:
        """Return a new listener with its owner, group and mode, which nobody can reach yet.

        Raises:
            PrivilegeError: the kernel didn't give it what the settings say.
        """
        spec = self.spec
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        group = os.getegid()
        try:
            self._unlink_private(STAGED)
            # Born with its group: root may lack CAP_CHOWN, and this takes CAP_SETGID only.
            os.setegid(spec.gid if os.geteuid() == 0 else group)
            try:
                listener.bind(self._bind_address())
            finally:
                os.setegid(group)
            os.chmod(STAGED, spec.mode, dir_fd=spec.private_fd)
            os.chown(STAGED, spec.uid, spec.gid, dir_fd=spec.private_fd, follow_symlinks=False)
            facts = os.stat(STAGED, dir_fd=spec.private_fd, follow_symlinks=False)
            listener.listen(spec.backlog)
        except OSError as error:
            listener.close()
            raise PrivilegeError(
                f"{spec.path}: uid {os.geteuid()} can't make a socket of uid {spec.uid},"
                f" gid {spec.gid}: {error.strerror}"
            ) from error
        got = (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))
        if got != (spec.uid, spec.gid, spec.mode):
            listener.close()
            raise PrivilegeError(f"{spec.path}: the kernel made uid, gid and mode {got} of {spec}")
        return listener

    def publish(self) -> None:
        """Put the staged listener onto the path, which is empty or has our last one.

        Raises:
            PrivilegeError: the system refused, or what is at the path isn't ours.
        """
        spec = self.spec
        if self.is_ours() is False:
            raise PrivilegeError(
                f"{spec.path} is not our socket and is left alone:"
                " move it away or choose another --socket"
            )
        self._unlink_private(KEPT)
        try:
            # Without CAP_FOWNER no link to a socket of another owner can be made: then a path
            # that disappears is healed by a fresh listener. Source: proc(5), protected_hardlinks.
            with contextlib.suppress(PermissionError):
                os.link(STAGED, KEPT, src_dir_fd=spec.private_fd, dst_dir_fd=spec.private_fd)
            facts = os.stat(STAGED, dir_fd=spec.private_fd, follow_symlinks=False)
            os.rename(STAGED, self.name, src_dir_fd=spec.private_fd, dst_dir_fd=spec.parent_fd)
        except OSError as error:
            raise PrivilegeError(f"{spec.path}: {error.strerror}") from error
        self._identity = (facts.st_dev, facts.st_ino)

    def is_ours(self) -> bool | None:
        """Tell whether the published socket is at the path; None when nothing is there."""
        try:
            facts = os.stat(self.name, dir_fd=self.spec.parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return (facts.st_dev, facts.st_ino) == self._identity

    def restore(self) -> bool:
        """Link the kept socket back to its empty path; False when that can't be done."""
        try:
            os.link(
                KEPT,
                self.name,
                src_dir_fd=self.spec.private_fd,
                dst_dir_fd=self.spec.parent_fd,
            )
        except OSError:
            return False
        return True

    def withdraw_path(self) -> None:
        """Unlink the path if our socket is still there."""
        if self.is_ours():
            os.unlink(self.name, dir_fd=self.spec.parent_fd)
        self._identity = None

    def withdraw(self) -> None:
        """Unlink the path as above, and give the claim up. The last thing to call."""
        spec = self.spec
        self.withdraw_path()
        for name in (STAGED, KEPT, LOCK):
            self._unlink_private(name)
        with contextlib.suppress(OSError):
            os.rmdir(f"{self.name}.d", dir_fd=spec.parent_fd)
        for fd in (spec.lock_fd, spec.private_fd, spec.parent_fd):
            os.close(fd)

    def _bind_address(self) -> str:
        """Return the absolute name, or one through the pinned directory when that is too long."""
        path = f"{self.spec.path}.d/{STAGED}"
        fits = len(os.fsencode(path)) <= _LONGEST_PATH_BYTES
        return path if fits else address(self.spec.private_fd, STAGED)

    def _unlink_private(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.spec.private_fd)


def address(directory_fd: int, name: str) -> str:
    """Return a socket's address through a pinned directory: short, and nobody can redirect it."""
    return f"/proc/self/fd/{directory_fd}/{name}"
