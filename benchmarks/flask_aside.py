"""WSGI hello that calls the Flask route as well and throws its answer away.

Runs as: the user of the server that is being measured. So this costs what the route's own Python
costs, where a server's requests come in, and what hello costs. The two measured apart add up to
less: in one process each finds the processor's caches as the other left them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hello import app as hello
from loop import flask_call

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

call = flask_call()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Call the route, which knows nothing of the request, and answer hello."""
    call()
    return hello(environ, start_response)
