"""Do things as other local users."""

from __future__ import annotations

import subprocess

from support.accounts import PYTHON
from support.servers import credentials_of

_CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect(sys.argv[1])
    except OSError as error:
        print(error.strerror)
    else:
        print("connected")
"""


def run_as(user: str, source: str, *arguments: object) -> str:
    """Run Python as ``user``; return what it printed."""
    result = subprocess.run(
        [PYTHON, "-I", "-c", source, *map(str, arguments)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **credentials_of(user),  # type: ignore[call-overload]
    )
    assert result.returncode == 0, result.stderr
    return str(result.stdout.strip())


def connect_as(user: str, socket: object) -> str:
    """Return "connected", or why not."""
    return run_as(user, _CONNECT, socket)
