"""Use what a worker holds: the access log, its channel, its pipe, the connection to nginx."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import socket
from collections.abc import Iterator

from .calls import call
from .registry import Facts, Means, RefusedError, add, attack


def _held(prefix: str) -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith(prefix):
                yield int(name)
        except FileNotFoundError:
            continue


def _access_log(facts: Facts) -> int:
    return next(_held(facts["access_log"]))


def _connection() -> socket.socket:
    """Return the connection that nginx has sent this request on."""
    for fd in _held("socket:"):
        one = socket.socket(fileno=os.dup(fd))
        try:
            if one.type == socket.SOCK_STREAM and one.getpeername() is not None:
                return one
        except OSError:
            continue
    raise RefusedError("no connection")


add(
    "reopen-log-to-read",
    Means.IDS,
    lambda f: os.open(f"/proc/self/fd/{_access_log(f)}", os.O_RDONLY),
)
add(
    "reopen-log-to-write",
    Means.IDS,
    lambda f: os.open(f"/proc/self/fd/{_access_log(f)}", os.O_WRONLY),
)
add("read-log", Means.IDS, lambda f: os.read(_access_log(f), 1), "EBADF")
add("map-log", Means.IDS, lambda f: _map(_access_log(f)))
add("change-logs-mode", Means.IDS, lambda f: os.fchmod(_access_log(f), 0o666))
add("change-logs-owner", Means.IDS, lambda f: os.fchown(_access_log(f), os.getuid(), -1))
add("forge-log-line", Means.NOTHING, lambda f: os.write(_access_log(f), b"forged\n") and None)
add("truncate-log", Means.NOTHING, lambda f: os.ftruncate(_access_log(f), 0))


def _map(fd: int) -> None:
    # Not by the module, which looks at the file's size first.
    call("mmap", 0, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)


@attack("rewrite-log", Means.NOTHING)
def _rewrite_log(facts: Facts) -> None:
    fd = _access_log(facts)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)
    try:
        os.pwrite(fd, b"?", 0)
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)


_SO_PEERPIDFD = 77  # source: unix(7), Linux 6.5


def _peer_descriptor() -> int:
    return _connection().getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)


add(
    "signal-peer",
    Means.IDS,
    lambda _: signal.pidfd_send_signal(_peer_descriptor(), 0),
    "ENOPROTOOPT",
)
