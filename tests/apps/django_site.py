"""The routes of `tests/nginx`, with Django in one file."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path
from site_rules import LINES, MistakeError, told

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "ERROR"},
    },
)


def _tell(request: HttpRequest, **_: str) -> HttpResponse:
    # Django has decoded it in place: PEP 3333's form is that of the bytes.
    path_info = request.META["PATH_INFO"].encode().decode("latin-1")
    return JsonResponse(told({**request.META, "PATH_INFO": path_info}))


def _form(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.POST.dict())


def _json(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b'{"got": ' + request.body + b"}", content_type="application/json")


def _upload(request: HttpRequest) -> HttpResponse:
    digest, size = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        size += len(piece)
    return JsonResponse({"size": size, "sha256": digest.hexdigest()})


def _stream(_request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(LINES), content_type="text/plain")


def _mistake(_request: HttpRequest) -> HttpResponse:
    raise MistakeError


urlpatterns = [
    re_path("^told", _tell),
    path("form", _form),
    path("json", _json),
    path("upload", _upload),
    path("stream", _stream),
    path("mistake", _mistake),
]

app = get_wsgi_application()
