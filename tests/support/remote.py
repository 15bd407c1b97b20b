"""Run Python inside a worker that serves ``remote:app`` (see ``tests/apps/remote.py``)."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from support.raw_http import Connection, request


def _post(source: str) -> bytes:
    body = textwrap.dedent(source).encode()
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def run_in_worker(socket: Path, source: str) -> Any:
    """Run ``source`` in whichever worker takes the request; return its ``result``."""
    response = request(socket, _post(source), method="POST")
    assert response.status == 200, f"{response.status}: see the log"
    return json.loads(response.body)


def start_in_worker(socket: Path, source: str) -> Connection:
    """Send ``source`` and return before there is an answer."""
    connection = Connection(socket)
    connection.send(_post(source))
    return connection


# Finds the shared listener among the worker's descriptors, as an attacker would.
FIND_LISTENER = """
import os, socket
def find_listener():
    for fd in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return found
"""
