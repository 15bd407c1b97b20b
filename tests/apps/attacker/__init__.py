"""An application that has been taken over: it tries the attacks that a request names.

A ``POST`` of ``{"attacks": [...], "facts": {...}}`` answers with ``{name: outcome}`` from
a worker. With ``ATTACKS_AT_IMPORT`` naming a file of such a text they are tried while the module is
imported, and ``GET`` answers with what came of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import descriptors, files, ids, kernel, network, processes, sockets  # fill the table
from .registry import ATTACKS
from .run import run

__all__ = ["ATTACKS", "app", "run"]
_TABLE = (descriptors, files, ids, kernel, network, processes, sockets)

_named = os.environ.get("ATTACKS_AT_IMPORT")
_order = json.loads(Path(_named).read_text()) if _named else None
print("loaded", flush=True)
_at_import = _order and {"pid": os.getpid(), "outcomes": run(_order["attacks"], _order["facts"])}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Try what the request names, or show what was tried before and what the request says."""
    if environ["REQUEST_METHOD"] == "POST":
        order = json.load(environ["wsgi.input"])
        answer = {"pid": os.getpid(), "outcomes": run(order["attacks"], order["facts"])}
    else:
        said = {name: value for name, value in environ.items() if isinstance(value, str)}
        answer = {"at_import": _at_import, "environ": said}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
