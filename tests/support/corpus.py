"""What is asked of each application of the corpus, as tables: a row is one request.

A client sends the rows of a table in their order, so that later ones find what earlier ones left:
cookies, rows of a database, files.
"""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.waiting import PATIENCE_S

Headers = tuple[tuple[str, str], ...]

FORM = "application/x-www-form-urlencoded"
_BOUNDARY = "4d1c0f6f8a9b"
_MULTIPART = f"multipart/form-data; boundary={_BOUNDARY}"

_COOKIE = re.compile(r"([^=]+)=([^;]*)")
_FORM_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass(frozen=True, eq=False)
class Ask:
    """One request, with the status that proves that it does what it is in the table for."""

    status: int
    method: str
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    in_chunks: bool = False  # how the body is framed
    #: An exception that the application lets through: the page is the server's, the status equal.
    is_servers_own: bool = False
    #: The token of the last form goes in front of the body, as Django wants it.
    with_token: bool = False

    def __repr__(self) -> str:
        """Return what a failure calls the row."""
        return f"<{self.method} {self.target}>"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    headers: Headers
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Connect, as http.client asks for it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


class Client:
    """Asks an nginx, or a server itself, and keeps cookies and form tokens as a browser does."""

    def __init__(self, port: int = 0, *, path: Path | None = None) -> None:
        self.port = port
        self._path = path
        self._cookies: dict[str, str] = {}
        self._token = b""

    def ask(self, row: Ask) -> Answer:
        """Send one request on a connection of its own."""
        headers = {"Host": "localhost", "X-Request-ID": "corpus-0123456789abcdef", **row.headers}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self._cookies.items())
        body = row.body
        if row.with_token:
            body = b"csrfmiddlewaretoken=" + self._token + b"&" + (body or b"")
        if self._path:
            connection: http.client.HTTPConnection = _UnixConnection(self._path)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            sent = iter([body[:7], body[7:]]) if row.in_chunks and body else body
            connection.request(row.method, row.target, sent, headers, encode_chunked=row.in_chunks)
            response = connection.getresponse()
            answer = Answer(
                response.status, response.reason, tuple(response.getheaders()), response.read()
            )
        finally:
            connection.close()
        self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        for name, value in answer.headers:
            if name.lower() == "set-cookie" and (found := _COOKIE.match(value)):
                self._cookies[found[1]] = found[2]
        if found := _FORM_TOKEN.search(answer.body):
            self._token = found[1]


def _multipart(fields: Mapping[str, str], file: tuple[str, bytes]) -> bytes:
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    name, content = file
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return b"".join([*parts, head.encode(), content, f"\r\n--{_BOUNDARY}--\r\n".encode()])


def _upload(target: str, size: int) -> Ask:
    content = bytes(range(256)) * (size // 256)
    body = _multipart({"note": "W\xf6rld"}, ("n\xe4me.bin", content))
    return Ask(200, "POST", target, body, {"Content-Type": _MULTIPART})


def _ranges(target: str) -> list[Ask]:
    return [
        Ask(200, "GET", target),
        Ask(200, "HEAD", target),
        Ask(206, "GET", target, headers={"Range": "bytes=10-19"}),
        Ask(206, "GET", target, headers={"Range": "bytes=-7"}),
        Ask(416, "GET", target, headers={"Range": "bytes=9999999-"}),
    ]


_FAR_FUTURE = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
_SMALL_UPLOAD, _SPOOLED_UPLOAD = 1024, 512 * 1024

_FLASK = [
    Ask(200, "GET", "/"),
    Ask(200, "HEAD", "/"),
    Ask(200, "OPTIONS", "/"),
    Ask(405, "POST", "/", b"x"),
    Ask(200, "GET", "/item/7?a=1&a=2&b=%C3%BC"),
    Ask(404, "GET", "/item/seven"),
    Ask(308, "GET", "/folder"),
    Ask(303, "POST", "/login", b"name=W%C3%B6rld", {"Content-Type": FORM}),
    Ask(200, "GET", "/who"),
    Ask(200, "GET", "/"),
    Ask(400, "POST", "/login", b"other=1", {"Content-Type": FORM}),
    _upload("/upload", _SMALL_UPLOAD),
    _upload("/upload", _SPOOLED_UPLOAD),
    *_ranges("/download"),
    Ask(200, "GET", "/static/style.css"),
    Ask(304, "GET", "/static/style.css", headers=_FAR_FUTURE),
    Ask(404, "GET", "/static/../corpus_flask.py"),
    Ask(200, "GET", "/stream"),
    Ask(200, "HEAD", "/stream"),
    Ask(200, "PUT", "/any", b"content"),
    Ask(200, "PATCH", "/any", b"in more than one chunk", in_chunks=True),
    Ask(204, "DELETE", "/any"),
    Ask(200, "OPTIONS", "/any"),
    Ask(418, "GET", "/teapot"),
    Ask(500, "GET", "/mistake"),
    Ask(404, "GET", "/missing"),
]

_LOGIN = b"username=ada&password=lovelace&next=/admin/"
_GROUP = b"name=W%C3%B6rld&_save=Save"
_STYLE = "/static/admin/css/base.css"

_DJANGO = [
    Ask(302, "GET", "/admin/"),
    Ask(301, "GET", "/lines"),
    Ask(200, "GET", "/admin/login/?next=/admin/"),
    Ask(403, "POST", "/admin/login/?next=/admin/", _LOGIN, {"Content-Type": FORM}),
    Ask(
        200,
        "POST",
        "/admin/login/",
        b"username=ada&password=wrong",
        {"Content-Type": FORM},
        with_token=True,
    ),
    Ask(302, "POST", "/admin/login/", _LOGIN, {"Content-Type": FORM}, with_token=True),
    Ask(200, "GET", "/admin/"),
    Ask(200, "GET", "/admin/auth/group/add/"),
    Ask(302, "POST", "/admin/auth/group/add/", _GROUP, {"Content-Type": FORM}, with_token=True),
    Ask(200, "GET", "/admin/auth/group/"),
    Ask(200, "GET", "/admin/auth/group/1/change/"),
    Ask(200, "GET", "/admin/auth/user/?q=ada"),
    Ask(200, "GET", "/admin/jsi18n/"),
    Ask(200, "GET", _STYLE),
    Ask(200, "HEAD", _STYLE),
    Ask(304, "GET", _STYLE, headers=_FAR_FUTURE),
    Ask(404, "GET", "/static/none.css"),
    _upload("/upload", _SMALL_UPLOAD),
    Ask(200, "GET", "/kept"),
    Ask(200, "HEAD", "/kept"),
    # Above 2.5 MiB Django keeps an upload in a file of its temporary directory.
    _upload("/upload", 3 * 1024 * 1024),
    Ask(200, "GET", "/stream"),
    Ask(200, "GET", "/lines/"),
    Ask(304, "GET", "/lines/", headers={"If-None-Match": '"constant"'}),
    Ask(412, "GET", "/lines/", headers={"If-Match": '"another"'}),
    Ask(403, "PUT", "/lines/", b"x"),
    Ask(404, "GET", "/missing"),
    Ask(500, "GET", "/mistake"),
    Ask(200, "POST", "/admin/logout/", b"", {"Content-Type": FORM}, with_token=True),
    Ask(302, "GET", "/admin/"),
]

_BOTTLE = [
    Ask(200, "GET", "/"),
    Ask(200, "HEAD", "/"),
    Ask(405, "POST", "/", b"x"),
    Ask(200, "GET", "/number/17?a=1&b=%C3%BC"),
    Ask(404, "GET", "/number/x"),
    *_ranges("/files/lines.txt"),
    Ask(200, "GET", "/files/style.css?download"),
    Ask(304, "GET", "/files/style.css", headers=_FAR_FUTURE),
    Ask(403, "GET", "/files/%2e%2e/corpus_bottle.py"),
    Ask(404, "GET", "/files/none"),
    Ask(200, "POST", "/count", b""),
    Ask(200, "POST", "/count", b""),
    Ask(200, "POST", "/form", b"name=W%C3%B6rld&b=1%262", {"Content-Type": FORM}),
    _upload("/form", _SMALL_UPLOAD),
    _upload("/form", _SPOOLED_UPLOAD),
    Ask(200, "POST", "/form", b"name=in+chunks", {"Content-Type": FORM}, in_chunks=True),
    Ask(200, "GET", "/generator"),
    Ask(200, "HEAD", "/generator"),
    Ask(202, "PURGE", "/purge"),
    Ask(202, "REPORT", "/purge", b"<report/>"),
    Ask(410, "GET", "/gone"),
    Ask(303, "GET", "/elsewhere"),
    Ask(500, "GET", "/mistake"),
    Ask(404, "GET", "/missing"),
]

_JSON = {"Content-Type": "application/json"}

_FALCON = [
    Ask(200, "GET", "/things"),
    Ask(201, "PUT", "/things/a", b'{"n": [1, null, "\\u20ac"]}', _JSON),
    Ask(200, "PUT", "/things/a", b'{"n": 2}', _JSON),
    Ask(201, "PUT", "/things/b", b'{"in": "chunks"}', _JSON, in_chunks=True),
    Ask(400, "PUT", "/things/c", b"{not json", _JSON),
    Ask(415, "PUT", "/things/c", b"text", {"Content-Type": "text/plain"}),
    Ask(200, "GET", "/things/a"),
    Ask(405, "HEAD", "/things/a"),
    Ask(200, "OPTIONS", "/things/a"),
    Ask(404, "GET", "/things/none"),
    Ask(204, "DELETE", "/things/a"),
    Ask(405, "REPORT", "/things"),
    Ask(200, "GET", "/file"),
    Ask(200, "GET", "/file?sized=true"),
    Ask(200, "POST", "/file", b"x" * 200_000, {"Content-Type": "text/plain"}),
    Ask(200, "POST", "/file", b"", {"Content-Type": "text/plain"}),
    _upload("/form", _SMALL_UPLOAD),
    _upload("/form", _SPOOLED_UPLOAD),
    Ask(500, "GET", "/mistake"),
    Ask(404, "GET", "/missing"),
]

_PYRAMID = [
    Ask(200, "GET", "/hello/W%C3%B6rld%20all?a=1&b=%20"),
    Ask(200, "HEAD", "/hello/you"),
    Ask(200, "GET", "/download"),
    Ask(200, "HEAD", "/download"),
    Ask(304, "GET", "/download", headers=_FAR_FUTURE),
    *_ranges("/ranges"),
    Ask(200, "GET", "/stream"),
    _upload("/upload", _SMALL_UPLOAD),
    _upload("/upload", _SPOOLED_UPLOAD),
    Ask(200, "GET", "/cookies"),
    Ask(200, "GET", "/cookies"),
    Ask(200, "GET", "/static/lines.txt"),
    Ask(304, "GET", "/static/style.css", headers=_FAR_FUTURE),
    Ask(404, "GET", "/static/none"),
    Ask(409, "GET", "/conflict"),
    Ask(302, "GET", "/elsewhere"),
    Ask(500, "GET", "/mistake", is_servers_own=True),
    Ask(404, "GET", "/missing"),
]

_LOCK = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>ada</D:owner></D:lockinfo>"
)
_PROPERTY = (
    b'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x"><D:set><D:prop>'
    b"<x:colour>blue</x:colour></D:prop></D:set></D:propertyupdate>"
)
_XML = {"Content-Type": "application/xml"}


def _to(target: str) -> dict[str, str]:
    return {"Destination": f"http://localhost{target}"}


_WEBDAV = [
    Ask(200, "OPTIONS", "/"),
    Ask(201, "MKCOL", "/folder"),
    Ask(405, "MKCOL", "/folder"),
    Ask(409, "MKCOL", "/none/folder"),
    Ask(201, "PUT", "/folder/a.txt", b"content of a\n" * 1000),
    Ask(204, "PUT", "/folder/a.txt", b"shorter, and in chunks", in_chunks=True),
    Ask(201, "PUT", "/folder/%C3%BC%20%26.bin", bytes(range(256)) * 2000),
    Ask(200, "GET", "/folder/a.txt"),
    Ask(200, "HEAD", "/folder/a.txt"),
    Ask(206, "GET", "/folder/a.txt", headers={"Range": "bytes=3-9"}),
    Ask(200, "GET", "/folder/%C3%BC%20%26.bin"),
    Ask(207, "PROPFIND", "/", headers={"Depth": "0"}),
    Ask(207, "PROPFIND", "/folder", headers={"Depth": "1"}),
    Ask(207, "PROPPATCH", "/folder/a.txt", _PROPERTY, _XML),
    Ask(207, "PROPFIND", "/folder/a.txt", headers={"Depth": "0"}),
    Ask(201, "COPY", "/folder/a.txt", headers=_to("/folder/b.txt")),
    Ask(412, "COPY", "/folder/a.txt", headers={**_to("/folder/b.txt"), "Overwrite": "F"}),
    Ask(201, "MOVE", "/folder/b.txt", headers=_to("/c.txt")),
    Ask(404, "GET", "/folder/b.txt"),
    Ask(200, "LOCK", "/c.txt", _LOCK, {**_XML, "Timeout": "Second-600"}),
    Ask(423, "PUT", "/c.txt", b"while it is locked"),
    Ask(423, "DELETE", "/c.txt"),
    Ask(400, "UNLOCK", "/c.txt"),
    Ask(204, "DELETE", "/folder"),
    Ask(404, "PROPFIND", "/folder", headers={"Depth": "0"}),
]

TABLES: Mapping[str, list[Ask]] = {
    "corpus_flask": _FLASK,
    "corpus_django": _DJANGO,
    "corpus_bottle": _BOTTLE,
    "corpus_falcon": _FALCON,
    "corpus_pyramid": _PYRAMID,
    "corpus_webdav": _WEBDAV,
}
