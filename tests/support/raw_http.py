"""Speak HTTP byte by byte on a Unix socket."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from support.waiting import PATIENCE_S

# Bytes in the send queue that the other side has not read. Source: unix(7); Linux's number.
_SIOCOUTQ = 0x5411


@dataclass(frozen=True)
class Response:
    """A complete response."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


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
        unread = bytearray(4)
        while True:
            fcntl.ioctl(self.socket, _SIOCOUTQ, unread)
            if struct.unpack("i", unread) == (0,):
                return
            # The kernel has no event for this; giving up the processor lets the server read.
            os.sched_yield()

    def end_sending(self) -> None:
        """Let the server see the end of what we send; it can still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_response(self, *, method: str = "GET") -> Response:
        """Read one response by its own framing."""
        source = SimpleNamespace(makefile=lambda _mode: self._reader)
        response = http.client.HTTPResponse(source, method=method)  # type: ignore[arg-type]
        response.begin()
        body = response.read()
        return Response(response.status, response.reason, response.msg, body)

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


def request(path: Path, raw: bytes, *, method: str = "GET") -> Response:
    """Send ``raw`` on a connection of its own and return the answer."""
    with Connection(path) as connection:
        connection.send(raw)
        return connection.read_response(method=method)


def get(path: Path, target: str = "/") -> Response:
    """GET ``target``."""
    return request(path, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
