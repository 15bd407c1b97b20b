"""WSGI hello that calls the Flask route as well and throws its answer away.

Runs as: the user of the server that is being measured. The route's own Python and hello in one
process: measured apart they add up to less. No target is held against it; it shows how much of what
a served route takes beyond that sum is due to serving it.
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
