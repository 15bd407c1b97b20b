"""Each limit of a request: what just fits is served, one more gets the status that says so."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support import raw_http
from support.servers import Udsrv

LINE, FIELDS, FIELD, HEAD, BODY = 200, 10, 150, 1000, 5000


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv]) -> Udsrv:
    return serve(
        "recorder:app",
        *("--limit-request-line", str(LINE)),
        *("--limit-request-fields", str(FIELDS)),
        *("--limit-request-field-size", str(FIELD)),
        *("--limit-request-head", str(HEAD)),
        *("--limit-request-body", str(BODY)),
    )


@pytest.fixture(scope="module")
def default(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("recorder:app", "--threads", str(threads))


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def line_of(size: int) -> str:
    """Return a request line of ``size`` bytes, its CRLF not counted."""
    return "GET /" + "a" * (size - len("GET / HTTP/1.1")) + " HTTP/1.1"


def field_of(size: int, name: str = "X-A") -> str:
    return f"{name}: " + "a" * (size - len(name) - 2)


def with_line(size: int) -> bytes:
    return head(line_of(size), "Host: a")


def with_fields(count: int) -> bytes:
    return head("GET / HTTP/1.1", "Host: a", *(f"X-{n}: 1" for n in range(count - 1)))


def with_field(size: int) -> bytes:
    return head("GET / HTTP/1.1", "Host: a", field_of(size))


def with_head(size: int, field: int = FIELD) -> bytes:
    lines = ["GET / HTTP/1.1", "Host: a"]
    while (left := size - len(head(*lines))) > field + 2:
        lines.append(field_of(min(field, left - 22), f"X-{len(lines)}"))
    lines.append(field_of(left - 2, "X-Z"))
    raw = head(*lines)
    assert len(raw) == size
    return raw


def with_length(size: int) -> bytes:
    return head("POST / HTTP/1.1", "Host: a", f"Content-Length: {size}") + b"x" * size


def with_chunks(size: int) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (n, b"x" * n) for n in [1] * 10 + [size - 10])
    return head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"


KINDS: list[tuple[Callable[..., bytes], int, int]] = [
    (with_line, LINE, 414),
    (with_fields, FIELDS, 431),
    (with_field, FIELD, 431),
    (with_head, HEAD, 431),
    (with_length, BODY, 413),
    (with_chunks, BODY, 413),
]

DEFAULTS: list[tuple[Callable[..., bytes], int, int]] = [
    (with_line, 8192, 414),
    (with_fields, 100, 431),
    (with_field, 8192, 431),
    (lambda size: with_head(size, 8000), 65536, 431),
    (with_length, 10 * 1024 * 1024, 413),
    (with_chunks, 10 * 1024 * 1024, 413),
]


def assert_at_and_beyond(server: Udsrv, make: Callable[..., bytes], limit: int, status: int):
    with raw_http.Connection(server.socket) as client:
        client.send(make(limit))
        answer = client.read_response()
        assert answer.status == 200
        client.send_while_wanted(make(limit + 1))
        assert client.read_response().status == status
        assert client.read_to_end() == b""


@pytest.mark.parametrize(("make", "limit", "status"), KINDS)
def test_a_limit_is_the_last_size_that_is_served(server: Udsrv, make, limit: int, status: int):
    assert_at_and_beyond(server, make, limit, status)


@pytest.mark.parametrize(("make", "limit", "status"), DEFAULTS)
def test_the_documented_defaults_hold(default: Udsrv, make, limit: int, status: int):
    assert_at_and_beyond(default, make, limit, status)


@pytest.mark.parametrize(("make", "limit", "status"), KINDS[:4])
def test_what_never_ends_is_refused_at_the_limit_too(server: Udsrv, make, limit, status):
    """Without a line's end to wait for: the bytes so far already decide."""
    raw = make(limit + 100).rstrip(b"\r\n")
    with raw_http.Connection(server.socket) as client:
        client.send_while_wanted(raw)
        assert client.read_response().status == status


def test_dropped_fields_count(server: Udsrv):
    raw = head("GET / HTTP/1.1", "Host: a", *(f"X_{n}: 1" for n in range(FIELDS)))
    assert raw_http.request(server.socket, raw).status == 431


def test_trailers_have_the_limits_of_fields(server: Udsrv):
    start = head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n"
    at_limit = start + head(*(f"X-{n}: 1" for n in range(FIELDS)))
    assert raw_http.request(server.socket, at_limit).status == 200
    for trailers in ([f"X-{n}: 1" for n in range(FIELDS + 1)], [field_of(FIELD + 1)]):
        assert raw_http.request(server.socket, start + head(*trailers)).status in (400, 431)


def test_extensions_of_chunks_have_a_limit_over_all_chunks(default: Udsrv):
    start = head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
    for count, status in ((50, 200), (200, 413)):
        raw = start + b"1;name=value\r\nx\r\n" * count + b"0\r\n\r\n"
        assert raw_http.request(default.socket, raw).status == status


def test_a_length_over_the_limit_is_refused_before_its_body(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        client.send(head("POST / HTTP/1.1", "Host: a", f"Content-Length: {BODY + 1}"))
        assert client.read_response().status == 413
        assert client.read_to_end() == b""


def test_no_body_at_all_can_be_the_limit(serve):
    server = serve("recorder:app", "--limit-request-body", "0")
    assert raw_http.request(server.socket, with_length(0)).status == 200
    assert raw_http.request(server.socket, with_length(1)).status == 413


def test_what_is_refused_reaches_no_application(server: Udsrv):
    raw_http.get(server.socket, "/calls")
    for make, limit, _ in KINDS:
        with raw_http.Connection(server.socket) as client:
            client.send_while_wanted(make(limit + 1))
            client.read_response()
    assert json.loads(raw_http.get(server.socket, "/calls").body) == {}
