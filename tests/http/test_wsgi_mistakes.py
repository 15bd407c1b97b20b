"""What an application does wrong is named in the log, and a client sees none of it."""

from __future__ import annotations

import pytest

from support import raw_http
from support.servers import Udsrv


def ask(server: Udsrv, target: str, *, method: str = "GET") -> bytes:
    """Return all that the server sends for two requests, of which the second must be harmless."""
    raw = f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        client.end_sending()
        wire = client.read_to_end()
    assert raw_http.get(server.socket, "/plain").body == b"plain"
    return wire


def assert_is_500(wire: bytes) -> None:
    """Nothing but the server's own words."""
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert body == b"Internal Server Error\n"


def assert_no_secret(wire: bytes) -> None:
    for secret in (b"secret", b"Traceback", b"cases.py", b"Oops", b"INTRUDER", b"X-Intruder"):
        assert secret not in wire


def new_lines(server: Udsrv, pattern: str, before: int) -> None:
    server.log.wait_for(pattern, times=before + 1)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("case", ["raises", "raises-after-start", "raises-first"])
def test_an_exception_is_a_500_and_its_traceback_is_in_the_log(
    server: Udsrv, token: str, case: str, method: str
):
    wire = ask(server, f"/{case}?token={token}", method=method)
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert_no_secret(wire)
    if method == "GET":
        assert_is_500(wire)
    server.log.wait_for(rf"cases\.OopsError: secret {token}$")
    text = server.log.text()
    traceback = text[: text.index(f"secret {token}")].rpartition("Traceback")[2]
    assert "raise _oops(environ)" in traceback
    assert "cases.py" in traceback


def test_an_exception_after_the_head_cuts_the_answer_off(server: Udsrv, token: str):
    wire = ask(server, f"/raises-midway?token={token}")
    assert wire.endswith(b"\r\n\r\n5\r\nfirst\r\n")
    server.log.wait_for(rf"cases\.OopsError: secret {token}$")


def test_an_exception_in_close_spoils_no_answer(server: Udsrv, token: str):
    wire = ask(server, f"/raises-in-close?token={token}")
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.endswith(b"\r\n\r\nfine")
    server.log.wait_for(rf"cases\.OopsError: secret {token}$")


def test_an_application_can_not_end_its_worker(server: Udsrv):
    worker = server.workers
    before = server.log.count("SystemExit: 3$")
    assert_is_500(ask(server, "/exits"))
    new_lines(server, "SystemExit: 3$", before)
    assert server.workers == worker


# What is found before anything is sent: a 500, and a line of the log that names the mistake.
NAMED = {
    "/too-short-list": "Content-Length is 10",
    "/too-long-list": "longer than its Content-Length of 3",
    "/text-part": "bytes, not of str",
    "/not-iterable": "'int' object is not iterable",
    "/returns-none": "'NoneType' object is not iterable",
    "/never-starts": "without calling start_response",
    "/starts-twice": "start_response called again without exc_info",
    "/writes-text": "write takes bytes, not str",
    "/swallows": "start_response",
}


@pytest.mark.parametrize("target", NAMED)
def test_a_mistake_is_a_500_and_named_in_the_log(server: Udsrv, target: str):
    before = server.log.count(NAMED[target])
    wire = ask(server, target)
    assert_is_500(wire)
    assert_no_secret(wire)
    new_lines(server, NAMED[target], before)


BAD_HEADS = {
    "crlf-in-value": "control character in the value of X-A",
    "cr-in-value": "control character in the value of X-A",
    "lf-in-value": "control character in the value of X-A",
    "nul-in-value": "control character in the value of X-A",
    "not-latin": "Latin-1",
    "crlf-in-name": "name is not a token",
    "empty-name": "name is not a token",
    "space-in-name": "name is not a token",
    "crlf-in-status": "status",
    "no-reason": "status",
    "status-100": "status",
    "status-0": "status",
    "status-is-int": "status.* int",
    "status-is-bytes": "status.* bytes",
    "connection": "Connection is the server's",
    "keep-alive": "Keep-Alive is the server's",
    "transfer-encoding": "Transfer-Encoding is the server's",
    "upgrade": "Upgrade is the server's",
    "trailer": "Trailer is the server's",
    "length-not-a-number": "Content-Length is not a decimal number",
    "length-twice": "Content-Length twice",
    "value-is-int": "value is a str.* int",
    "name-is-bytes": "name is a str.* bytes",
    "headers-are-a-dict": "list.* dict",
    "header-is-a-triple": "tuple",
    "no-headers": "list.* NoneType",
}


@pytest.mark.parametrize("what", BAD_HEADS)
def test_a_head_that_would_break_the_framing_is_never_sent(server: Udsrv, what: str):
    pattern = f"start_response: .*{BAD_HEADS[what]}"
    before = server.log.count(pattern)
    wire = ask(server, f"/bad-head?what={what}")
    assert_is_500(wire)
    assert_no_secret(wire)
    new_lines(server, pattern, before)


def test_a_body_shorter_than_declared_is_visibly_cut(server: Udsrv):
    pattern = "ended after 5 bytes, its Content-Length is 10"
    before = server.log.count(pattern)
    wire = ask(server, "/too-short")
    assert b"\r\nContent-Length: 10\r\n" in wire
    assert wire.endswith(b"\r\n\r\nabcde")
    new_lines(server, pattern, before)


def test_a_body_longer_than_declared_is_not_sent(server: Udsrv):
    pattern = "longer than its Content-Length of 4"
    before = server.log.count(pattern)
    wire = ask(server, "/too-long")
    assert b"\r\nContent-Length: 4\r\n" in wire
    assert_no_secret(wire)
    assert len(wire.partition(b"\r\n\r\n")[2]) <= 4
    new_lines(server, pattern, before)


def test_text_after_bytes_cuts_the_answer_off(server: Udsrv):
    pattern = "bytes, not of str"
    before = server.log.count(pattern)
    assert ask(server, "/text-part-midway").endswith(b"\r\n\r\n5\r\nfirst\r\n")
    new_lines(server, pattern, before)


def test_one_request_that_fails_ends_no_other(server: Udsrv, token: str):
    with raw_http.Connection(server.socket) as client:
        client.send(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().body == b"plain"
        client.send(f"GET /raises?token={token} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        failed = client.read_response()
        assert failed.status == 500
        if failed.headers["Connection"] != "close":
            client.send(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_response().body == b"plain"
