"""A Flask application: a page, a form, an upload, a stream and a mistake.

udsrv --socket /run/app.sock flask_app:app
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request

app = Flask(__name__)

PAGE = """\
<!doctype html>
<title>udsrv</title>
<h1>Hello from worker process {pid}</h1>
<p>It runs as user {uid} and knows you as {client} over {scheme}.</p>
<form method="post" action="/greet"><input name="name"> <button>Greet me</button></form>
"""


@app.get("/")
def page() -> str:
    """Show who serves and who asks."""
    return PAGE.format(
        pid=os.getpid(), uid=os.getuid(), client=request.remote_addr, scheme=request.scheme
    )


@app.post("/greet")
def greet() -> Response:
    """Answer a form."""
    return jsonify(greeting=f"Hello, {request.form.get('name') or 'nobody'}!")


@app.post("/upload")
def upload() -> Response:
    """Read a body of any size piece by piece."""
    digest, size = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        digest.update(piece)
        size += len(piece)
    return jsonify(bytes=size, sha256=digest.hexdigest())


@app.get("/stream")
def stream() -> Response:
    """Send a body whose length is not known beforehand."""

    def lines() -> Iterator[str]:
        for number in range(1, 11):
            yield f"line {number}\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/mistake")
def mistake() -> str:
    """Fail: the client gets a 500 without details, the log gets the traceback."""
    raise RuntimeError("the application made a mistake")
