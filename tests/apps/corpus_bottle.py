"""A Bottle site: routes with filters, static files, signed cookies, forms, generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bottle
from bottle import HTTPResponse, request, response, static_file

_FILES = Path(__file__).parent / "corpus_files"
_SECRET = "the same under both servers"  # noqa: S105 - no secret

app = bottle.Bottle()


@app.get("/")
def index() -> str:
    """Answer with text, which Bottle encodes."""
    return bottle.template("<p>{{name}}</p>", name="W\xf6rld <&>")


@app.get("/number/<number:int>")
def number(number: int) -> dict[str, object]:
    """Answer with JSON."""
    return {"number": number, "query": dict(request.query)}


@app.get("/files/<name:path>")
def files(name: str) -> HTTPResponse:
    """Send a file, or a range of it."""
    return static_file(name, root=str(_FILES), download="download" in request.query)


@app.post("/count")
def count() -> dict[str, int]:
    """Count in a signed cookie."""
    so_far = int(request.get_cookie("count", default="0", secret=_SECRET))
    response.set_cookie("count", str(so_far + 1), secret=_SECRET, httponly=True, path="/")
    return {"count": so_far}


@app.post("/form")
def form() -> dict[str, object]:
    """Take a form, with a file or without."""
    files = {name: len(file.file.read()) for name, file in request.files.items()}
    return {"fields": {name: request.forms.getunicode(name) for name in request.forms}, **files}


@app.get("/generator")
def generator() -> Iterator[str]:
    """Yield text, some of it empty."""
    yield ""
    for line in range(500):
        yield f"line {line} \u20ac\n"


@app.route("/purge", method=["PURGE", "REPORT"])
def purge() -> HTTPResponse:
    """Answer methods that are not in every list."""
    return HTTPResponse(status=202, body=request.method, headers={"X-Purged": "yes"})


@app.get("/gone")
def gone() -> None:
    """Refuse."""
    bottle.abort(410, "Gone for good.")


@app.get("/elsewhere")
def elsewhere() -> None:
    """Send the client elsewhere, by an absolute URL that Bottle makes from the request."""
    bottle.redirect("/number/1")


@app.get("/mistake")
def mistake() -> None:
    """Fail."""
    raise RuntimeError("secret of the application")
