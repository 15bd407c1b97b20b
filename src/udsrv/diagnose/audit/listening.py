"""Which socket of the kernel is behind a path. Source: sock_diag(7).

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 20, 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_TCP_LISTEN = 10
_UDIAG_SHOW_VFS, _UNIX_DIAG_VFS = 0x2, 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBHIIIII")  # family, protocol, pad, states, inode, show, cookie
_SOCKET = struct.Struct("=BBBBIII")  # family, type, state, pad, inode, cookie
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_VFS = struct.Struct("=II")  # inode, device
_REPLY_BYTES = 1 << 16


def listener_of(path: str) -> int | None:
    """Return the inode of the listening socket that is bound to the file at ``path``.

    The path's own device and inode are what the kernel is asked for, since names can be shared.

    Raises:
        OSError: the kernel has no sock_diag for Unix sockets, or there is no such file.
    """
    facts = os.stat(path, follow_symlinks=False)
    # The kernel's own packing of a device's number. Source: linux/kdev_t.h.
    device = os.major(facts.st_dev) << 20 | os.minor(facts.st_dev)
    wanted = _VFS.pack(facts.st_ino & 0xFFFFFFFF, device)
    for inode, file in _listeners():
        if file == wanted:
            return inode
    return None


def _listeners() -> Iterator[tuple[int, bytes]]:
    """Yield each listening Unix socket of this network namespace: its inode, and its file's."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as diag:
        request = _REQUEST.pack(
            socket.AF_UNIX, 0, 0, 1 << _TCP_LISTEN, 0, _UDIAG_SHOW_VFS, 0xFFFFFFFF, 0xFFFFFFFF
        )
        size = _HEADER.size + len(request)
        diag.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
        while True:
            reply = diag.recv(_REPLY_BYTES)
            start = 0
            while start < len(reply):
                length, kind, *_ = _HEADER.unpack_from(reply, start)
                if kind == _NLMSG_DONE:
                    return
                body = reply[start + _HEADER.size : start + length]
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number), "sock_diag")
                yield _SOCKET.unpack_from(body)[4], _file(body)
                start += _aligned(length)


def _file(body: bytes) -> bytes:
    start = _SOCKET.size
    while start < len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if kind == _UNIX_DIAG_VFS:
            return body[start + _ATTRIBUTE.size : start + length]
        start += _aligned(length)
    return b""


def _aligned(length: int) -> int:
    return (length + 3) & ~3
