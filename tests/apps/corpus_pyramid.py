"""A Pyramid site: traversal of what is not ASCII, WebOb's responses, static views, ranges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPConflict, HTTPFound
from pyramid.request import Request
from pyramid.response import FileResponse, Response

_FILES = Path(__file__).parent / "corpus_files"


def _hello(request: Request) -> dict[str, object]:
    return {
        "hello": request.matchdict["name"],
        "url": request.url,
        "client": request.params.mixed(),
    }


def _download(request: Request) -> Response:
    return FileResponse(_FILES / "lines.txt", request=request, content_type="text/plain")


def _ranges(_request: Request) -> Response:
    answer = Response(body=bytes(range(256)), content_type="application/octet-stream")
    answer.conditional_response = True
    answer.accept_ranges = "bytes"
    answer.md5_etag()
    return answer


def _stream(_request: Request) -> Response:
    def lines() -> Iterator[bytes]:
        yield from (b"line %d\n" % number for number in range(2000))

    return Response(app_iter=lines(), content_type="text/plain")


def _upload(request: Request) -> dict[str, object]:
    field = request.POST["file"]
    return {"name": field.filename, "size": len(field.file.read()), "note": request.POST["note"]}


def _cookies(request: Request) -> Response:
    answer = Response(f"had {sorted(request.cookies)}", charset="utf-8")
    answer.set_cookie("a", "1", samesite="Lax")
    answer.set_cookie("b", "2", httponly=True)
    return answer


def _conflict(_request: Request) -> Response:
    raise HTTPConflict("not now")


def _elsewhere(request: Request) -> Response:
    return HTTPFound(location=request.route_url("hello", name="w\xf6rld"))


def _mistake(_request: Request) -> Response:
    raise RuntimeError("secret of the application")


with Configurator() as config:
    config.add_static_view("static", str(_FILES), cache_max_age=0)
    for name, view, pattern in [
        ("hello", _hello, "/hello/{name}"),
        ("download", _download, "/download"),
        ("ranges", _ranges, "/ranges"),
        ("stream", _stream, "/stream"),
        ("upload", _upload, "/upload"),
        ("cookies", _cookies, "/cookies"),
        ("conflict", _conflict, "/conflict"),
        ("elsewhere", _elsewhere, "/elsewhere"),
        ("mistake", _mistake, "/mistake"),
    ]:
        config.add_route(name, pattern)
        config.add_view(view, route_name=name, renderer="json")
    app = config.make_wsgi_app()
