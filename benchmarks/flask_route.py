"""A Flask route.

Runs as: the user of the server that is being measured.
"""

from __future__ import annotations

from flask import Flask, Response

app = Flask("flask_route")


@app.get("/")
def hello() -> Response:
    """Answer 13 bytes; Flask sets Content-Length."""
    return Response("Hello, World!", mimetype="text/plain")
