"""The applications of the scenarios other than hello.

Runs as: the user of the server that is being measured. Each sets Content-Length, so that no server
has to chunk.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
TEN_KIB = (ALPHABET * 394)[: 10 * 1024]
ONE_MIB = (ALPHABET * 40330)[: 1024 * 1024]
FILE = Path(__file__).with_name("one-mib.txt")
PIECE_BYTES = 64 * 1024


def ten_kib(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 10 KiB."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10240")])
    return [TEN_KIB]


def one_mib(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 1 MiB from memory, in one piece."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1048576")])
    return [ONE_MIB]


def file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 1 MiB from a file, which the server may send as it likes; 501 when it offers nothing.

    A server has the choice between sendfile(2) and reading, and owes closing the file either way.
    """
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper is None:
        start_response("501 Not Implemented", [("Content-Length", "0")])
        return []
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1048576")])
    wrapped: Iterable[bytes] = wrapper(FILE.open("rb"), PIECE_BYTES)
    return wrapped


def post(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body in pieces and answer how long it was, in 13 digits."""
    left = int(environ["CONTENT_LENGTH"])
    body = environ["wsgi.input"]
    read = 0
    while left > 0:
        piece = body.read(min(left, PIECE_BYTES))
        if not piece:
            break
        left -= len(piece)
        read += len(piece)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"%013d" % read]


def sleepy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Say hello, at /sleep after 100 ms."""
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(0.1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]
