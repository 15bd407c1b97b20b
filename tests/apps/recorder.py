"""Tells exactly what it was called with, and how often it was called."""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_TOLD = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "REMOTE_ADDR")

_calls: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with what was seen; ``/calls`` answers with the calls since it was last asked."""
    if environ["PATH_INFO"] == "/calls":
        with _lock:
            answer = json.dumps(_calls).encode()
            _calls.clear()
    else:
        with _lock:
            _calls[f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"] += 1
        seen = {name: environ[name] for name in _TOLD}
        seen |= {name: value for name, value in environ.items() if name.startswith("HTTP_")}
        for name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            if environ.get(name):
                seen[name] = environ[name]
        seen["body"] = environ["wsgi.input"].read().decode("latin-1")
        answer = json.dumps(seen, sort_keys=True).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    )
    return [answer]
