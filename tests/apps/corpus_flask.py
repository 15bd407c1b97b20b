"""A Flask site: templates, sessions, uploads, files with ranges, streams, redirects, errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from flask import (
    Flask,
    Response,
    abort,
    flash,
    get_flashed_messages,
    jsonify,
    redirect,
    render_template_string,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

HERE = Path(__file__).parent

app = Flask(__name__, static_folder=str(HERE / "corpus_files"), static_url_path="/static")
app.secret_key = "the same under both servers"  # noqa: S105 - no secret

_PAGE = """<!doctype html><title>{{ title }}</title>
{% for message in messages %}<p>{{ message }}</p>{% endfor %}
<a href="{{ url_for('item', number=7, _external=True) }}">{{ request.path }}</a>
"""


@app.get("/")
def index() -> str:
    """Render a page with an absolute link of its own."""
    return render_template_string(_PAGE, title="W\xf6rld <&>", messages=get_flashed_messages())


@app.get("/item/<int:number>")
def item(number: int) -> Response:
    """Answer with JSON and a header of its own."""
    answer = jsonify(number=number, args=request.args.to_dict(flat=False))
    answer.headers["X-Item"] = str(number)
    return answer


@app.get("/folder/")
def folder() -> str:
    """Have Flask redirect who leaves the slash out."""
    return "folder"


@app.post("/login")
def login() -> Response:
    """Remember a name in the session and go elsewhere."""
    session["name"] = request.form["name"]
    flash(f"hello {session['name']}")
    return redirect(url_for("index"), 303)  # type: ignore[return-value]


@app.get("/who")
def who() -> dict[str, object]:
    """Tell what the session holds."""
    return {"name": session.get("name")}


@app.post("/upload")
def upload() -> Response:
    """Take a multipart form with a file."""
    file = request.files["file"]
    digest = hashlib.sha256(file.read()).hexdigest()
    return jsonify(name=file.filename, sha256=digest, note=request.form["note"])


@app.get("/download")
def download() -> Response:
    """Send a file by its path, with an ETag, and ranges of it."""
    path = HERE / "corpus_files" / "lines.txt"
    return send_file(path, as_attachment=True, download_name="L\xefnes.txt", conditional=True)


@app.get("/stream")
def stream() -> Response:
    """Send a body whose length nobody knows beforehand, with the request at hand."""

    def lines() -> Iterator[str]:
        for number in range(2000):
            yield f"{request.path} {number}\n"

    return Response(stream_with_context(lines()), mimetype="text/plain")


@app.route("/any", methods=["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def anything() -> Response:
    """Answer many methods, with nothing to some."""
    if request.method == "DELETE":
        return Response(status=204)
    return Response(request.method.encode() + b" " + request.get_data())


@app.get("/teapot")
def teapot() -> Response:
    """Refuse with an unusual status."""
    abort(418)


@app.get("/mistake")
def mistake() -> Response:
    """Fail."""
    raise RuntimeError("secret of the application")
