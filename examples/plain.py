"""A WSGI application without any framework.

udsrv --socket /run/app.sock plain:app
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Tell the client who it is, and which process of which user answered."""
    text = (
        f"Hello {environ['REMOTE_ADDR'] or 'you on the socket'}, "
        f"process {os.getpid()} of user {os.getuid()} answers "
        f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}.\n"
    )
    body = text.encode()
    start_response(
        "200 OK",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]
