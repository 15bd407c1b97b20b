"""What may cross between master, supervisor and worker.

Runs as: root (the master's end) and the app's user (the others). Imports the standard library only.

A channel is one SOCK_SEQPACKET pair. A record is always ``RECORD.size`` bytes: a kind and one
unsigned number. Descriptors travel downwards only. Sends never block; what the reader may expect is
a set of kinds, and anything else (an empty, short or unknown record) ends the sender, not the
reader. Source: unix(7), seqpacket; ``SCM_RIGHTS``.
"""

from __future__ import annotations

import enum
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RECORD = struct.Struct("<B7xQ")
_FD = struct.Struct("i")

# One wake-up of a reader takes at most this many records, so that a flood can't starve its loop.
RECORDS_PER_READ = 32


class Kind(enum.IntEnum):
    """The records, with the meaning of their number."""

    # upwards
    READY = 1  # the sender can answer; 0
    DRAINED = 2  # every worker has finished; 0
    FAILED = 3  # the generation can't start; the exit code that says why
    RELOAD = 4  # a file of the application has changed; 0; only with the setting `reload`
    RETIRE = 5  # a worker wants a successor, then DRAIN; requests served, 0: it got a signal
    # downwards
    STOP = 16  # finish and exit, idle connections at once; milliseconds until the deadline
    DRAIN = 17  # finish and exit, idle connections last; milliseconds until the deadline
    LISTENER = 18  # serve this listener from now on; 0, with its descriptor


UPWARDS = frozenset({Kind.READY, Kind.DRAINED, Kind.FAILED, Kind.RELOAD})
FROM_WORKERS = frozenset({Kind.READY, Kind.RETIRE})
DOWNWARDS = frozenset({Kind.STOP, Kind.DRAIN, Kind.LISTENER})


class ChannelError(Exception):
    """The other end has broken the channel's rules."""


class ChannelClosedError(ChannelError):
    """The other end is gone."""


@dataclass(frozen=True)
class Record:
    """One message, with the descriptor that came with it (owned by the receiver)."""

    kind: Kind
    value: int = 0
    fd: int | None = None


def encode(record: Record) -> bytes:
    """Return the record's bytes, without its descriptor."""
    return RECORD.pack(record.kind, record.value)


def decode(data: bytes, allowed: frozenset[Kind]) -> Record:
    """Return the record in ``data``.

    Raises:
        ChannelClosedError: it is empty: the peer is gone.
        ChannelError: it has another size, or a kind not ``allowed``.
    """
    if not data:
        raise ChannelClosedError("the channel is closed")
    if len(data) != RECORD.size:
        raise ChannelError(f"a record of {len(data)} bytes")
    number, value = RECORD.unpack(data)
    try:
        kind = Kind(number)
    except ValueError as error:
        raise ChannelError(f"a record of unknown kind {number}") from error
    if kind not in allowed:
        raise ChannelError(f"a {kind.name} record in the wrong direction")
    return Record(kind, value)


class Channel:
    """One end of a pair, non-blocking and close-on-exec."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return the upper and the lower end."""
        upper, lower = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(upper), cls(lower)

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over an inherited descriptor."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor, for epoll."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end."""
        self._sock.close()

    def send(self, record: Record) -> bool:
        """Send without waiting; False when the other end is gone or doesn't read."""
        try:
            if record.fd is None:
                self._sock.send(encode(record))
            else:
                socket.send_fds(self._sock, [encode(record)], [record.fd])
        except OSError:
            return False
        return True

    def receive_up(self, allowed: frozenset[Kind] = UPWARDS) -> Iterator[Record]:
        """Yield what the lower end has sent, at most ``RECORDS_PER_READ`` records.

        No room is given to descriptors, so the kernel discards any that come along.

        Raises:
            ChannelClosedError, ChannelError: see ``decode``.
        """
        for _ in range(RECORDS_PER_READ):
            try:
                data = self._sock.recv(RECORD.size + 1)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            yield decode(data, allowed)

    def receive_down(self) -> Iterator[Record]:
        """Yield what the upper end has sent, with descriptors.

        Raises:
            ChannelClosedError, ChannelError: see ``decode``; or a record's descriptor is missing.
        """
        for _ in range(RECORDS_PER_READ):
            try:
                # Not recv_fds(): Python 3.11's leaves the flags out, and the listener would be
                # inherited by every program that the application runs.
                data, ancillary, _, _ = self._sock.recvmsg(
                    RECORD.size + 1, socket.CMSG_LEN(_FD.size), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
            fds = [_FD.unpack(raw)[0] for _, _, raw in ancillary]
            try:
                record = decode(data, DOWNWARDS)
                if len(fds) != (record.kind is Kind.LISTENER):
                    raise ChannelError(f"a {record.kind.name} record with {len(fds)} descriptors")
            except ChannelError:
                for fd in fds:
                    os.close(fd)
                raise
            yield Record(record.kind, record.value, *fds)
