"""Server-Sent Events: the next one is made when the one before was acknowledged."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_acknowledged: queue.SimpleQueue[str] = queue.SimpleQueue()
_ended: queue.SimpleQueue[str] = queue.SimpleQueue()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """GET /events, POST /acknowledge after each event, and ask /ended whether it was closed."""
    if environ["PATH_INFO"] == "/events":
        headers = [
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-cache"),
            ("X-Accel-Buffering", "no"),
        ]
        start_response("200 OK", headers)
        return _events(int(environ["QUERY_STRING"] or 5))
    if environ["PATH_INFO"] == "/acknowledge":
        _acknowledged.put(environ["wsgi.input"].read().decode())
        start_response("204 No Content", [])
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [_ended.get(timeout=30).encode()]


def _events(count: int) -> Iterator[bytes]:
    number = 0
    try:
        for number in range(1, count + 1):
            yield f"id: {number}\ndata: event {number}\n\n".encode()
            assert _acknowledged.get(timeout=30) == str(number)
    finally:
        _ended.put(f"closed after {number}")
