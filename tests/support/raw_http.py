"""Speak HTTP byte by byte on a Unix socket."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import os
import pwd
import select
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from support.waiting import PATIENCE_S, WaitError

# Bytes in the send queue that the other side has not read. Source: unix(7); Linux's number.
_SIOCOUTQ = 0x5411


def wait_until_read(sender: socket.socket) -> None:
    """Return when the other side has taken everything that was sent out of the socket."""
    unread = bytearray(4)
    while True:
        fcntl.ioctl(sender, _SIOCOUTQ, unread)
        if not any(unread):
            return
        # The kernel has no event for this; giving up the processor lets the other side read.
        os.sched_yield()


@dataclass(frozen=True)
class Response:
    """A complete response."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


def _parse(reader: io.BufferedReader, method: str) -> Response:
    source = SimpleNamespace(makefile=lambda _mode: reader)
    response = http.client.HTTPResponse(source, method=method)  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return Response(response.status, response.reason, response.msg, body)


class _Reader(io.BufferedReader):
    """A reader that outlives the responses read from it, so that pipelined ones stay in order."""

    def close(self) -> None:
        """Do nothing: ``HTTPResponse`` closes what it has read to the end."""


class Connection:
    """A connection whose every single read and write ends within ``PATIENCE_S``."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._reader = _Reader(self.socket.makefile("rb", buffering=0))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, raw: bytes) -> None:
        """Send all of ``raw``."""
        self.socket.sendall(raw)

    def send_while_wanted(self, raw: bytes) -> None:
        """Send ``raw``, or as much of it as the server takes before it hangs up."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(raw)

    def send_in_parts(self, parts: Iterable[bytes]) -> None:
        """Send each part when the one before has been read.

        A server that refuses early closes early: what it no longer wants is dropped silently.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                self.socket.sendall(part)
                self.wait_until_read()

    def wait_until_read(self) -> None:
        """Return when the server has taken everything that was sent out of the socket."""
        wait_until_read(self.socket)

    def end_sending(self) -> None:
        """Let the server see the end of what we send; it can still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_response(self, *, method: str = "GET") -> Response:
        """Read one response by its own framing."""
        return _parse(self._reader, method)

    def read_exactly(self, count: int) -> bytes:
        """Return ``count`` bytes, or fewer if the server closes before."""
        return self._reader.read(count)

    def read_some(self) -> bytes:
        """Return what has come, at least a byte.

        Raises:
            EOFError: the server has closed.
        """
        if chunk := self._reader.read1(65536):
            return chunk
        raise EOFError("the server has closed")

    def wait_for_hangup(self) -> None:
        """Wait until the server has closed its end; what it sent before stays readable."""
        poll = select.poll()
        poll.register(self.socket, 0)  # POLLHUP is always reported (poll(2))
        if not poll.poll(PATIENCE_S * 1000):
            raise WaitError(f"the server hasn't closed the connection in {PATIENCE_S} s")

    def read_to_end(self) -> bytes:
        """Return every byte until the server closes; a reset is an end too."""
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while chunk := self._reader.read1(65536):
                received += chunk
        return bytes(received)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
        # The reader's own half of the descriptor; without this it stays open until it is collected.
        self._reader.raw.close()


_AS_OTHER_USER = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(float(sys.argv[2]))
client.connect(sys.argv[1])
client.sendall(sys.stdin.buffer.read())
client.shutdown(socket.SHUT_WR)
while chunk := client.recv(65536):
    sys.stdout.buffer.write(chunk)
"""


def request_as(
    user: str, path: Path, raw: bytes, *, group: str | None = None, groups: Iterable[str] = ()
) -> Response:
    """Send ``raw`` from a process of ``user``; needs root.

    ``group`` is its group instead of the user's primary one, ``groups`` its supplementary ones.
    """
    who = pwd.getpwnam(user)
    result = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", _AS_OTHER_USER, path, str(PATIENCE_S)],
        input=raw,
        capture_output=True,
        check=True,
        user=who.pw_uid,
        group=group or who.pw_gid,
        extra_groups=list(groups),
    )
    return _parse(io.BufferedReader(io.BytesIO(result.stdout)), "GET")


def request(path: Path, raw: bytes, *, method: str = "GET") -> Response:
    """Send ``raw`` on a connection of its own and return the answer."""
    with Connection(path) as connection:
        connection.send(raw)
        return connection.read_response(method=method)


def get(path: Path, target: str = "/") -> Response:
    """GET ``target``."""
    return request(path, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
