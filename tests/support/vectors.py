"""The table of request vectors, and many short conversations that carry them."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.raw_http import wait_until_read
from support.waiting import PATIENCE_S

_TABLE = Path(__file__).parents[1] / "http" / "vectors.toml"

# Enough for client and server to work side by side, and for the second that a server may take to
# hang up on who has sent far too much to be shared by many.
_IN_FLIGHT = 64

# Room for the longest vector: no send waits for a server that reads no more. Linux doubles it.
_SEND_BUFFER_BYTES = 212_992

# Limits that the server has and a cut should lie beside.
_LIMITS = (1024, 8192, 65536)
_WHOLLY_CUT_BYTES = 4096


@dataclass(frozen=True)
class Vector:
    """One row: all that a client sends before it waits, and the accepted outcomes."""

    id: str
    raw: bytes
    expect: frozenset[str]
    source: str

    @property
    def may_be_accepted(self) -> bool:
        """Whether an outcome exists in which the application is called."""
        return any(outcome.startswith("200") for outcome in self.expect)

    @property
    def ends_sending(self) -> bool:
        """Whether the client must say that no more comes, to get all there is to get."""
        return self.may_be_accepted or "wait" in self.expect

    def cuts(self) -> list[int]:
        """Return where it is cut in two: everywhere, or at the telling places if it is long."""
        size = len(self.raw)
        if size <= _WHOLLY_CUT_BYTES:
            return list(range(1, size))
        ends = [found.end() for found in re.finditer(rb"\r\n", self.raw)]
        # The first lines, those around the hundredth field, the last ones.
        lines = {0, *ends[:4], *ends[96:106], *ends[-4:]}
        places = {*range(1, 513), *range(size - 64, size)}
        for line in lines:
            for beside in (0, *_LIMITS):
                places.update(range(line + beside - 3, line + beside + 4))
        return sorted(place for place in places if 0 < place < size)


def _bytes_of(part: str | dict[str, str | int]) -> bytes:
    if isinstance(part, str):
        return part.encode("latin-1")
    return str(part["repeat"]).encode("latin-1") * int(part["count"])


def read_table() -> list[Vector]:
    """Return all vectors."""
    rows = tomllib.loads(_TABLE.read_text())["vector"]
    return [
        Vector(
            row["id"],
            b"".join(map(_bytes_of, row["bytes"])),
            frozenset(row["expect"].split("|")),
            row["source"],
        )
        for row in rows
    ]


def _send(client: socket.socket, part: bytes) -> None:
    """Send a part; a server that has refused already may have hung up."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(part)


def _receive_all(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            received += chunk
    return received


def _converse(path: str, scripts: list[tuple[bytes, ...]], *, end: bool) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in scripts:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            client.connect(path)
            clients.append(client)
        for turn, parts in enumerate(zip(*scripts, strict=True)):
            for client, part in zip(clients, parts, strict=True):
                if turn > 0:
                    wait_until_read(client)
                _send(client, part)
        if end:
            for client in clients:
                client.shutdown(socket.SHUT_WR)
        for client in clients:
            yield _receive_all(client)


def converse(path: Path, scripts: Iterable[tuple[bytes, ...]], *, end: bool) -> Iterator[bytes]:
    """Yield all that the server answers to each script, on a connection of its own.

    A script is what the client sends; each part goes off when the server has read the one before.
    All scripts have as many parts.
    ``end`` says whether it then shuts its side down; either way it reads until the server hangs up.
    """
    remaining = iter(scripts)
    while batch := list(itertools.islice(remaining, _IN_FLIGHT)):
        yield from _converse(str(path), batch, end=end)
