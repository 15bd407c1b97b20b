"""What the client gets of an answer: heads, framing, streams, and close() on every way out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support import raw_http
from support.directories import open_to_applications
from support.servers import Udsrv


def head(target: str, *, method: str = "GET", version: str = "1.1", fields: tuple = ()) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: a", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def wire_of(server: Udsrv, raw: bytes) -> tuple[list[str], bytes]:
    """Return the lines of the only answer's head, and all that follows it."""
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        client.end_sending()
        lines, end, body = client.read_to_end().partition(b"\r\n\r\n")
    assert end
    return lines.decode("latin-1").split("\r\n"), body


def names_of(lines: list[str]) -> list[str]:
    return [line.partition(":")[0].lower() for line in lines[1:]]


def test_a_head_is_what_the_application_said(server: Udsrv):
    lines, body = wire_of(server, head("/headers"))
    assert lines[0] == "HTTP/1.1 299 As I Like"
    for line in ("x-lower: 1", "X-Latin: caf\xe9", "X-Empty: ", "X-Tab: a\tb"):
        assert line in lines
    assert [line for line in lines if line.startswith("Set-Cookie")] == [
        *("Set-Cookie: a=1", "Set-Cookie: b=2")
    ]
    assert body == b""


def test_date_and_server_are_added_once(server: Udsrv):
    lines, _ = wire_of(server, head("/plain"))
    assert names_of(lines).count("date") == names_of(lines).count("server") == 1
    lines, _ = wire_of(server, head("/own-date"))
    assert "Date: never" in lines
    assert "Server: me" in lines
    assert names_of(lines).count("date") == names_of(lines).count("server") == 1


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/plain", b"plain"),
        ("/no-length", b"whole"),
        ("/parts", b"abcdef"),
        ("/nothing", b""),
        ("/late-start", b"late"),
        ("/writes", b"one,two,three"),
        ("/replaced", b"later"),
        ("/sized?size=5000", b"x" * 5000),
        ("/sized?size=4000000", b"x" * 4_000_000),
    ],
)
def test_every_kind_of_body_leaves_the_connection_usable(server: Udsrv, target, body):
    with raw_http.Connection(server.socket) as client:
        for _ in range(2):
            client.send(head(target))
            answer = client.read_response()
            assert answer.body == body
            assert answer.headers["Connection"] is None
            framing = (answer.headers["Content-Length"], answer.headers["Transfer-Encoding"])
            assert framing in ((str(len(body)), None), (None, "chunked"))


@pytest.mark.parametrize("target", ["/parts", "/writes", "/late-start", "/nothing"])
def test_http_1_0_gets_no_chunks(server: Udsrv, target: str):
    expected = {"/parts": b"abcdef", "/writes": b"one,two,three", "/late-start": b"late"}
    lines, body = wire_of(server, head(target, version="1.0"))
    assert body == expected.get(target, b"")
    assert "transfer-encoding" not in names_of(lines)
    assert "Connection: close" in lines


def test_http_1_0_can_ask_to_be_kept(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        for _ in range(3):
            client.send(head("/plain", version="1.0", fields=("Connection: Keep-Alive",)))
            answer = client.read_response()
            assert (answer.body, answer.headers["Connection"]) == (b"plain", "keep-alive")
        client.send(head("/parts", version="1.0", fields=("Connection: keep-alive",)))
        answer = client.read_response()
        assert (answer.body, answer.headers["Connection"]) == (b"abcdef", "close")
        assert client.read_to_end() == b""


@pytest.mark.parametrize("connection", ["close", "Close", "x, close", "keep-alive, close"])
def test_who_asks_to_close_is_answered_and_closed(server: Udsrv, connection: str):
    with raw_http.Connection(server.socket) as client:
        client.send(head("/plain", fields=(f"Connection: {connection}",)) + head("/plain"))
        answer = client.read_response()
        assert (answer.body, answer.headers["Connection"]) == (b"plain", "close")
        assert client.read_to_end() == b""


@pytest.mark.parametrize(
    ("target", "length"),
    [("/plain", "5"), ("/sized?size=3000000", "3000000"), ("/parts", None), ("/writes", None)],
)
def test_an_answer_to_head_is_its_head_alone(server: Udsrv, target: str, length: str | None):
    with raw_http.Connection(server.socket) as client:
        for _ in range(2):
            client.send(head(target, method="HEAD"))
            answer = client.read_response(method="HEAD")
            assert (answer.status, answer.headers["Content-Length"]) == (200, length)
        client.send(head("/plain", fields=("Connection: close",)))
        assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""


@pytest.mark.parametrize(("status", "length"), [("204", None), ("304", "7")])
def test_an_answer_that_has_no_body_gets_none(server: Udsrv, status: str, length: str | None):
    with raw_http.Connection(server.socket) as client:
        client.send(head(f"/sized?status={status}&size=7"))
        answer = client.read_response()
        assert (answer.status, answer.headers["Content-Length"]) == (int(status), length)
        assert answer.headers["Transfer-Encoding"] is None
        client.send(head("/plain", fields=("Connection: close",)))
        assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_each_chunk_arrives_before_the_next_is_made(
    server: Udsrv, module_directory: Path, token: str, version: str
):
    pipe = open_to_applications(module_directory) / f"pipe-{token}"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    with raw_http.Connection(server.socket) as client:
        client.send(head("/waits", version=version, fields=(f"X-Pipe: {pipe}",)))
        seen = b""
        while not seen.endswith((b"1\r\n0\r\n", b"\r\n\r\n0")):
            seen += client.read_some()
        with pipe.open("wb", buffering=0) as tell:
            for number in range(1, 6):
                tell.write(b"x")
                chunk = b"%d" % number if version == "1.0" else b"1\r\n%d\r\n" % number
                assert client.read_exactly(len(chunk)) == chunk
        end = b"" if version == "1.0" else b"0\r\n\r\n"
        assert client.read_exactly(len(end)) == end


def test_an_early_mistake_replaces_the_head(server: Udsrv):
    lines, body = wire_of(server, head("/replaced"))
    assert lines[0] == "HTTP/1.1 503 Later"
    assert "x-first" not in names_of(lines)
    assert body == b"later"


def test_a_late_mistake_cuts_the_answer_off(server: Udsrv, token: str):
    _, body = wire_of(server, head(f"/replaced-too-late?token={token}"))
    assert body == b"4\r\nsent\r\n"
    server.log.wait_for(f"ValueError: too late {token}$")
    assert server.log.count(f"went on {token}") == 0


@pytest.mark.parametrize(
    "target",
    [
        *("/parts", "/writes", "/sized?size=5", "/raises-first", "/raises-midway", "/too-short"),
        *("/too-long", "/text-part", "/text-part-midway", "/sized?status=204&size=3"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_iterable_is_closed_once_on_every_way_out(
    server: Udsrv, token: str, target: str, method: str
):
    separator = "&" if "?" in target else "?"
    wire_of(server, head(f"{target}{separator}token={token}", method=method))
    server.log.wait_for(f"closed {token}$")
    # The next answer comes after anything else that the first request could still do.
    wire_of(server, head(f"/parts?token=after-{token}"))
    server.log.wait_for(f"closed after-{token}$")
    assert server.log.count(f"closed {token}$") == 1


def test_the_iterable_is_closed_when_the_client_is_gone(server: Udsrv, token: str):
    with raw_http.Connection(server.socket) as client:
        client.send(head(f"/endless?token={token}"))
        client.read_exactly(500_000)
    server.log.wait_for(f"closed {token}$")
    assert raw_http.get(server.socket, "/plain").body == b"plain"
    assert server.log.count("BrokenPipe|ConnectionReset|Traceback.*endless") == 0


def test_what_an_application_keeps_reaches_no_other_request(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        seen = []
        for _ in range(4):
            client.send(head("/keeps-callables"))
            answer = client.read_response()
            assert answer.headers["X-Intruder"] is None
            seen.append(json.loads(answer.body))
    for said in seen[-3:]:
        assert "worked" not in said[:2]


def test_wsgiref_validate_finds_nothing(start_udsrv):
    server = start_udsrv("validated:app")
    body = b"line\n" * 40_000
    requests = [
        head("/"),
        head("/a%20b?c=d", method="HEAD"),
        head("/?status=204"),
        head("/?status=304"),
        head("/", version="1.0"),
        head("/?how=parts"),
        head("/?how=write"),
        head("/", method="POST", fields=("Content-Length: 5", "Content-Type: a/b")) + b"hello",
        head("/", method="POST", fields=("Transfer-Encoding: chunked",))
        + b"5\r\nhello\r\n0\r\n\r\n",
        head("/", method="POST", fields=(f"Content-Length: {len(body)}",)) + body,
        b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for raw in requests:
        lines, _ = wire_of(server, raw)
        assert lines[0].split()[1] in ("200", "204", "304"), raw[:60]
    assert server.log.count("AssertionError|Traceback|Warning") == 0
