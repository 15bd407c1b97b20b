"""The routes of `tests/nginx`, without a framework."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from site_rules import LINES, MistakeError, told

StartResponse = Callable[..., Callable[[bytes], object]]


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer the route that ``PATH_INFO`` names; everything else is a 404 but for ``/told``."""
    path, stream = environ["PATH_INFO"], environ["wsgi.input"]
    if path.startswith("/told"):
        return _json(start_response, told(environ))
    if path == "/form":
        return _json(start_response, dict(parse_qsl(stream.read().decode())))
    if path == "/json":
        return _json(start_response, {"got": json.loads(stream.read())})
    if path == "/upload":
        digest, size = hashlib.sha256(), 0
        while piece := stream.read(65536):
            digest.update(piece)
            size += len(piece)
        return _json(start_response, {"size": size, "sha256": digest.hexdigest()})
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (line.encode() for line in LINES)
    if path == "/live":
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")])
        return _live(environ["HTTP_X_PIPE"])
    if path == "/mistake":
        raise MistakeError
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    return [b"no such\n"]


def _live(pipe_path: str) -> Iterator[bytes]:
    """Yield a line, and another for each byte from the pipe."""
    yield b"0\n"
    with open(pipe_path, "rb", buffering=0) as pipe:
        number = 0
        while pipe.read(1):
            number += 1
            yield f"{number}\n".encode()


def _json(start_response: StartResponse, answer: object) -> Iterable[bytes]:
    body = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
