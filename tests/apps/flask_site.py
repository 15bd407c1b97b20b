"""The routes of `tests/nginx`, with Flask."""

from __future__ import annotations

import hashlib

from flask import Flask, Response, jsonify, request
from site_rules import LINES, MistakeError, told

app = Flask(__name__)


@app.get("/told")
@app.get("/told/<path:_rest>")
def tell(_rest: str = "") -> Response:
    """Answer with what the request looks like."""
    return jsonify(told(request.environ))


@app.post("/form")
def form() -> Response:
    """Answer a form."""
    return jsonify(request.form.to_dict())


@app.post("/json")
def read_json() -> Response:
    """Answer JSON."""
    return jsonify(got=request.get_json())


@app.post("/upload")
def upload() -> Response:
    """Read a body of any size piece by piece."""
    digest, size = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        digest.update(piece)
        size += len(piece)
    return jsonify(size=size, sha256=digest.hexdigest())


@app.get("/stream")
def stream() -> Response:
    """Send a body whose length is not known beforehand."""
    return Response(iter(LINES), mimetype="text/plain")


@app.route("/mistake", methods=["GET", "POST"])
def mistake() -> Response:
    """Fail."""
    raise MistakeError
