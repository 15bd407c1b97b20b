"""The smallest applications: one that answers, and one that tells what it was given."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def app(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer every request the same way."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]


def echo(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the environ, the body and the worker as JSON."""
    body = environ["wsgi.input"].read().decode("latin-1")
    plain = {name: value for name, value in environ.items() if isinstance(value, str | bool | int)}
    answer = json.dumps({"environ": plain, "body": body, "pid": os.getpid()}).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    )
    return [answer]
