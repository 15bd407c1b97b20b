"""Notice at once when something happens to the socket's path. Source: inotify(7).

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct

from udsrv.errors import PrivilegeError

_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_EVENT = struct.Struct("iIII")
_READ_BYTES = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class PathWatch:
    """Reports changes of one name in one directory."""

    def __init__(self, directory_fd: int, name: str) -> None:
        """Watch ``name`` in the directory.

        Raises:
            PrivilegeError: the kernel has no watch to give.
        """
        self._name = os.fsencode(name)
        self._fd: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        mask = _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
        path = f"/proc/self/fd/{directory_fd}".encode()
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, path, mask) < 0:
            reason = os.strerror(ctypes.get_errno())
            raise PrivilegeError(f"inotify: {reason}; see sysctl fs.inotify.max_user_watches")

    def fileno(self) -> int:
        """Return the descriptor, for epoll."""
        return self._fd

    def changed(self) -> bool:
        """Tell whether the name was touched since the last call, or events were lost."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        found = False
        offset = 0
        while offset < len(data):
            watch, _, _, length = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size :][:length].rstrip(b"\0")
            found = found or watch == -1 or name == self._name
            offset += _EVENT.size + length
        return found

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
