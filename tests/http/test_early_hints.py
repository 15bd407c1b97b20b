"""wsgi.early_hints: a 103 to a trusted peer of which the operator said that it knows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support import raw_http
from support.accounts import ORDINARY_USER
from support.servers import Udsrv

LINKS = (
    b"HTTP/1.1 103 Early Hints\r\n"
    b"Link: </style.css>; rel=preload; as=style\r\n"
    b"Link: </script.js>; rel=preload; as=script\r\n\r\n"
)
ONE = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("hints:app", "--threads", str(threads), "--early-hints")


@pytest.fixture(scope="module")
def silent(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("hints:app", "--threads", str(threads))


def get(target: str, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"GET {target} HTTP/{version}", "Host: a", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def wire_of(server: Udsrv, raw: bytes) -> bytes:
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        client.end_sending()
        return client.read_to_end()


def test_hints_come_before_the_answer_and_do_not_change_it(server: Udsrv):
    wire = wire_of(server, get("/") * 3)
    hints, *answers = wire.split(LINKS)
    assert hints == b""
    assert len(answers) == 3
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nX-Final: 1\r\n")
        assert answer.endswith(b"\r\n\r\ngiven")


def test_hints_may_be_given_again_and_may_be_empty(server: Udsrv):
    assert wire_of(server, get("/?3")).startswith(LINKS * 3 + b"HTTP/1.1 200 ")
    assert wire_of(server, get("/none")).startswith(
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 "
    )


def test_hints_after_start_response_leave_its_head_alone(server: Udsrv):
    wire = wire_of(server, get("/prepared"))
    assert wire.startswith(ONE + b"HTTP/1.1 200 OK\r\nX-Prepared: 1\r\n")
    assert wire.endswith(b"\r\n\r\nprepared")


def test_hints_larger_than_the_sockets_buffer_arrive_whole(server: Udsrv):
    wire = wire_of(server, get("/large"))
    hints, _, answer = wire.partition(b"\r\n\r\n")
    assert hints.count(b"\r\nLink: ") == 2000
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/crlf", b"ValueError: wsgi.early_hints: control character in the value of Link"),
        ("/name", b"ValueError: wsgi.early_hints: a header's name is not a token"),
        ("/hop", b"ValueError: wsgi.early_hints: Connection is the server's"),
        ("/length", b"ValueError: wsgi.early_hints: Content-Length is for the answer"),
        ("/dict", b"TypeError: wsgi.early_hints: the headers are a list, not dict"),
        ("/number", b"TypeError: wsgi.early_hints: a header's value is a str, not int"),
    ],
)
def test_what_an_answer_must_not_say_hints_must_not_say(server: Udsrv, target, reason):
    wire = wire_of(server, get(target))
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reason in wire.partition(b"\r\n\r\n")[2]


def test_hints_after_the_head_are_refused(server: Udsrv):
    wire = wire_of(server, get("/late"))
    assert wire.startswith(ONE + b"HTTP/1.1 200 OK\r\n")
    assert b"AssertionError: wsgi.early_hints: the answer's head is sent already" in wire
    assert wire.count(b"103 Early Hints") == 1


def test_a_peer_that_is_gone_raises_nothing(server: Udsrv):
    before = server.log.count("gone given$")
    with raw_http.Connection(server.socket) as client:
        client.send(get("/large?20", "X-Token: gone"))
    server.log.wait_for("gone given$", times=before + 1)
    assert server.log.count("Traceback|BrokenPipe") == 0


def test_what_an_application_keeps_reaches_no_other_request(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        for _ in range(3):
            client.send(get("/kept"))
            seen = b""
            while b"\r\n\r\n" not in seen or not seen.endswith((b"given", b"over")):
                seen += client.read_some()
            if seen.endswith(b"given"):
                assert seen.startswith(LINKS)
            else:
                assert b"RuntimeError: the request is over" in seen
                assert b"103" not in seen


def test_http_1_0_knows_no_hints(server: Udsrv):
    assert wire_of(server, get("/", version="1.0")).endswith(b"\r\n\r\nabsent")


def test_without_the_setting_there_are_none(silent: Udsrv):
    assert wire_of(silent, get("/")).endswith(b"\r\n\r\nabsent")


@pytest.mark.root
def test_a_peer_that_is_not_trusted_gets_none(start_udsrv):
    server = start_udsrv(
        *("hints:app", "--early-hints", "--user", ORDINARY_USER),
        *("--socket-owner", "games", "--socket-group", "www-data"),
    )
    for user, expected in (("games", b"absent"), ("root", None)):
        answer = raw_http.request_as(user, server.socket, get("/"))
        assert (answer.body == expected) if expected else (answer.status in (103, 200))
