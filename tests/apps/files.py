"""Answers with files: as wsgi.file_wrapper takes them, and as it can not."""

# The server closes what is returned: that is the point.
# ruff: noqa: SIM115

from __future__ import annotations

import gzip
import io
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]

# Some programs do this so that `program | head` ends quietly; a peer that hangs up must not end us.
if "DEFAULT_SIGPIPE" in os.environ:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class OwnReader(io.BufferedReader):
    """A file that reads other bytes than it holds."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size).upper()


class Delegating:
    """What frameworks put around a file: it has the file's own methods."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class ReadOnly:
    """The least that PEP 3333 wants of a file: ``read``."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read


def _plain(path: str) -> IO[bytes]:
    return open(path, "rb")


def _bytes(path: str) -> IO[bytes]:
    with open(path, "rb") as file:
        return io.BytesIO(file.read())


def _pipe(path: str) -> IO[bytes]:
    with open(path, "rb") as file:
        data = file.read()
    reading_fd, writing_fd = os.pipe()

    def fill() -> None:
        with open(writing_fd, "wb") as pipe:
            pipe.write(data)

    threading.Thread(target=fill).start()
    return open(reading_fd, "rb")


def _temporary(path: str) -> IO[bytes]:
    file = tempfile.TemporaryFile()
    with open(path, "rb") as source:
        file.write(source.read())
    file.seek(0)
    return file


def _closed(path: str) -> IO[bytes]:
    file = open(path, "rb")
    file.close()
    return file


_KINDS: dict[str, Callable[[str], Any]] = {
    "plain": _plain,
    "unbuffered": lambda path: open(path, "rb", buffering=0),
    "delegating": lambda path: Delegating(_plain(path)),
    "temporary": _temporary,
    "bytes": _bytes,
    "gzip": lambda path: gzip.open(path, "rb"),
    "pipe": _pipe,
    "own": lambda path: OwnReader(io.FileIO(path)),
    "read-only": lambda path: ReadOnly(_plain(path)),
    "text": lambda path: open(path, encoding="latin-1"),
    "closed": _closed,
    "write-only": lambda path: open(path, "ab"),
    "none": lambda path: None,
}


def _upper(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield part.upper()


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the file ``path`` from ``offset`` on, in the way that the query describes."""
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if environ["PATH_INFO"] == "/plain":
        start_response("200 OK", [("Content-Length", "5")])
        return [b"plain"]
    if environ["PATH_INFO"] == "/descriptors":
        start_response("200 OK", [])
        return [str(len(os.listdir("/proc/self/fd"))).encode()]
    token = asked.get("token", "")
    file = _KINDS[asked.get("kind", "plain")](asked["path"])
    if "offset" in asked:
        file.seek(int(asked["offset"]))
    if "read" in asked:
        file.read(int(asked["read"]))
    fields = [("Content-Type", "application/octet-stream")]
    if "length" in asked:
        fields.append(("Content-Length", asked["length"]))
    write = start_response(f"{asked.get('status', '200')} Fine", fields)
    if "write" in asked:
        write(asked["write"].encode())
    if token:
        close = file.close

        def closed() -> None:
            _log(f"closed {token}")
            close()

        file.close = closed
    wrapper = environ["wsgi.file_wrapper"]
    block = (int(asked["block"]),) if "block" in asked else ()
    wrapped: Iterable[bytes] = wrapper(file, *block)
    how = asked.get("how", "returned")
    if how == "middleware":
        return _upper(wrapped)
    if how == "raises":
        raise ValueError(f"before {token}")
    return wrapped
