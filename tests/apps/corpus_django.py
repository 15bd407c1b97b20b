"""A Django site with its admin, static files, CSRF, uploads, streams and an SQLite database.

The database and what is uploaded lie in ``$DATA``, the one place that the application writes to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition

DATA = Path(os.environ["DATA"])
_LINES = Path(__file__).parent / "corpus_files" / "lines.txt"

settings.configure(
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="the same under both servers",  # noqa: S106 - no secret
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "site.sqlite"}},
    MEDIA_ROOT=DATA / "media",
    STATIC_URL="/static/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)
django.setup()


@csrf_exempt
def _upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    digest = hashlib.sha256(b"".join(file.chunks())).hexdigest()
    default_storage.delete("kept.bin")  # else the next one gets a name by chance
    kept = default_storage.save("kept.bin", file)
    return JsonResponse({"name": file.name, "size": file.size, "kept": kept, "sha256": digest})


def _kept(_request: HttpRequest) -> FileResponse:
    return FileResponse(
        default_storage.open("kept.bin"), as_attachment=True, filename="k\xe9pt.bin"
    )


def _stream(_request: HttpRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        yield from (f"line {number}\n" for number in range(2000))

    return StreamingHttpResponse(lines(), content_type="text/plain")


@condition(etag_func=lambda _request: '"constant"')
def _lines(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(_LINES.read_bytes(), content_type="text/plain")


def _mistake(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret of the application")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("upload", _upload),
    path("kept", _kept),
    path("stream", _stream),
    path("lines/", _lines),
    path("mistake", _mistake),
]


def _make_database() -> None:
    from django.contrib.auth.models import User

    call_command("migrate", verbosity=0)
    User.objects.create_superuser("ada", "ada@example.com", "lovelace")


_make_database()
app = StaticFilesHandler(get_wsgi_application())
