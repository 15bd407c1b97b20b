"""The body of a request, as the application reads it."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest

from support import raw_http
from support.servers import Udsrv

BUFFER = 65536  # --body-buffer: up to here a body is complete before the application is called


def head(target: str, framing: str, *fields: str) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: a", framing, *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def chunked(body: bytes, size: int = 10_000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def whole(target: str, body: bytes, *, in_chunks: bool, fields: tuple[str, ...] = ()) -> bytes:
    if in_chunks:
        return head(target, "Transfer-Encoding: chunked", *fields) + chunked(body)
    return head(target, f"Content-Length: {len(body)}", *fields) + body


def patterned(size: int) -> bytes:
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


IN_CHUNKS = pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunked"])


@IN_CHUNKS
@pytest.mark.parametrize("piece", [1000, 65536, 1_000_000])
@pytest.mark.parametrize("size", [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 300_000, 3_000_000])
def test_a_body_of_any_size_arrives_whole(server: Udsrv, size: int, piece: int, in_chunks: bool):
    body = patterned(size)
    with raw_http.Connection(server.socket) as client:
        for _ in range(2):  # the second shows that the first was consumed exactly
            client.send(whole(f"/digest?piece={piece}", body, in_chunks=in_chunks))
            answer = json.loads(client.read_response().body)
            assert answer == [size, hashlib.sha256(body).hexdigest()]


LINES = b"one\ntwo two\n\n\r\nfour"

CALLS = [
    ([["read", []], ["read", []]], [LINES.decode(), ""]),
    ([["read", [-1]], ["read", [5]]], [LINES.decode(), ""]),
    ([["read", [None]]], [LINES.decode()]),
    ([["read", [0]], ["read", [3]], ["read", [1000]]], ["", "one", LINES[3:].decode()]),
    ([["readline", []]] * 6, ["one\n", "two two\n", "\n", "\r\n", "four", ""]),
    ([["readline", [2]], ["readline", [50]], ["readline", [0]]], ["on", "e\n", ""]),
    ([["readline", [-1]], ["read", [3]]], ["one\n", "two"]),
    ([["readlines", []]], [["one\n", "two two\n", "\n", "\r\n", "four"]]),
    ([["readlines", [5]], ["read", []]], [["one\n", "two two\n"], "\n\r\nfour"]),
    ([["readlines", [0]]], [["one\n", "two two\n", "\n", "\r\n", "four"]]),
    ([["iter", []], ["readline", []]], [["one\n", "two two\n", "\n", "\r\n", "four"], ""]),
]


@IN_CHUNKS
@pytest.mark.parametrize(("calls", "results"), CALLS)
def test_the_input_is_a_file_as_pep_3333_wants_it(server: Udsrv, calls, results, in_chunks: bool):
    fields = (f"X-Calls: {json.dumps(calls)}",)
    raw = whole("/calls", LINES, in_chunks=in_chunks, fields=fields)
    assert json.loads(raw_http.request(server.socket, raw).body) == results


@IN_CHUNKS
def test_lines_are_the_same_where_the_body_is_read_from_the_socket(server: Udsrv, in_chunks: bool):
    lines = [b"x" * size + b"\n" for size in range(600)] + [b"end"]
    assert len(b"".join(lines)) > 2 * BUFFER
    fields = (f"X-Calls: {json.dumps([['readline', []], ['iter', []], ['read', []]])}",)
    raw = whole("/calls", b"".join(lines), in_chunks=in_chunks, fields=fields)
    first, rest, end = json.loads(raw_http.request(server.socket, raw).body)
    assert [first, *rest] == [line.decode() for line in lines]
    assert end == ""


def test_a_request_without_a_body_reads_as_empty(server: Udsrv):
    calls = [["read", []], ["readline", []], ["readlines", []], ["iter", []], ["read", [10]]]
    raw = f"GET /calls HTTP/1.1\r\nHost: a\r\nX-Calls: {json.dumps(calls)}\r\n\r\n".encode()
    assert json.loads(raw_http.request(server.socket, raw).body) == ["", "", [], [], ""]


@IN_CHUNKS
def test_a_larger_body_is_read_on_demand(server: Udsrv, in_chunks: bool):
    body = patterned(1_000_000)
    raw = whole("/asks-on", body, in_chunks=in_chunks)
    with raw_http.Connection(server.socket) as client:
        client.send(raw[:200_000])
        seen = b""
        while b"called\n" not in seen:  # the rest is not sent before this arrived
            seen += client.read_some()
        client.send(raw[200_000:])
        while b"1000000\n" not in seen:
            seen += client.read_some()


@IN_CHUNKS
def test_a_small_body_is_complete_before_the_application_is_called(
    server: Udsrv, token: str, in_chunks: bool
):
    raw = whole(f"/unread?token={token}", patterned(BUFFER), in_chunks=in_chunks)
    with raw_http.Connection(server.socket) as client:
        client.send(raw[:-1])
        client.wait_until_read()
        client.end_sending()
        assert client.read_to_end()[:13] in (b"", b"HTTP/1.1 400 ")
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        assert client.read_response().body == b'"unread"'
    server.log.wait_for(f"unread {token}$")
    assert server.log.count(f"unread {token}$") == 1


def truncated(token: str, in_chunks: bool) -> bytes:
    raw = whole(f"/catches?token={token}", patterned(BUFFER * 2), in_chunks=in_chunks)
    return raw[: BUFFER + 20_000]


@IN_CHUNKS
def test_a_larger_body_cut_short_raises_and_is_never_an_end(
    server: Udsrv, token: str, in_chunks: bool
):
    with raw_http.Connection(server.socket) as client:
        client.send(truncated(token, in_chunks))
        client.end_sending()
        wire = client.read_to_end()
    server.log.wait_for(f"raised again {token}$")
    assert server.log.count(rf"raised {token} \w*Error after \d+: ") == 1
    assert server.log.count(f"end {token}") == 0
    assert b" 200 " not in wire
    assert raw_http.get(server.socket, "/plain").status == 200


@IN_CHUNKS
def test_a_client_that_dies_within_its_body_raises_too(server: Udsrv, token: str, in_chunks: bool):
    with raw_http.Connection(server.socket) as client:
        client.send(truncated(token, in_chunks))
    server.log.wait_for(f"raised again {token}$")
    assert server.log.count(f"end {token}") == 0


@pytest.mark.parametrize("broken", [b"XX", b"10\n", b"-1\r\n", b"5\r\nhelloXX"])
def test_a_larger_body_that_breaks_its_coding_raises(server: Udsrv, token: str, broken: bytes):
    sound = chunked(patterned(BUFFER * 2)).removesuffix(b"0\r\n\r\n")
    raw = head(f"/catches?token={token}", "Transfer-Encoding: chunked") + sound + broken
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        assert client.read_response().status == 400
        assert client.read_to_end() == b""
    server.log.wait_for(f"raised again {token}$")
    assert server.log.count(f"end {token}") == 0


def test_a_larger_chunked_body_over_the_limit_raises(start_udsrv, token: str):
    server = start_udsrv("cases:app", "--limit-request-body", "200k")
    raw = whole(f"/catches?token={token}", patterned(300_000), in_chunks=True)
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        assert client.read_response().status == 413
        assert client.read_to_end() == b""
    server.log.wait_for(f"raised again {token}$")
    assert server.log.count(f"end {token}") == 0


@IN_CHUNKS
@pytest.mark.parametrize("size", [1000, BUFFER, BUFFER + 1000])
def test_a_body_that_nobody_reads_is_not_a_request(server: Udsrv, size: int, in_chunks: bool):
    body = (b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * size)[:size]
    with raw_http.Connection(server.socket) as client:
        client.send(whole("/first-byte", body, in_chunks=in_chunks))
        answer = client.read_response()
        assert answer.body == b'"G"'
        if answer.headers["Connection"] != "close":
            client.send(b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""


def test_a_much_larger_body_that_nobody_reads_ends_the_connection(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        client.send(head("/first-byte", "Content-Length: 9000000") + b"G" * BUFFER * 2)
        answer = client.read_response()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert client.read_to_end() == b""


# ---- Expect: 100-continue ------------------------------------------------------------------------

EXPECT = "Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@IN_CHUNKS
def test_who_waits_to_be_told_is_told(server: Udsrv, in_chunks: bool):
    raw = whole("/digest", b"hello", in_chunks=in_chunks, fields=(EXPECT,))
    end = raw.index(b"\r\n\r\n") + 4
    with raw_http.Connection(server.socket) as client:
        client.send(raw[:end])
        assert client.read_exactly(len(CONTINUE)) == CONTINUE
        client.send(raw[end:])
        answer = json.loads(client.read_response().body)
        assert answer == [5, hashlib.sha256(b"hello").hexdigest()]
        client.send(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().body == b"plain"


@IN_CHUNKS
def test_who_waits_with_a_larger_body_is_told_when_the_application_reads(
    server: Udsrv, in_chunks: bool
):
    body = patterned(BUFFER * 3)
    raw = whole("/digest", body, in_chunks=in_chunks, fields=(EXPECT,))
    end = raw.index(b"\r\n\r\n") + 4
    with raw_http.Connection(server.socket) as client:
        client.send(raw[:end])
        assert client.read_exactly(len(CONTINUE)) == CONTINUE
        client.send(raw[end:])
        assert json.loads(client.read_response().body)[0] == len(body)


def test_who_is_answered_without_being_read_is_not_told(server: Udsrv, token: str):
    with raw_http.Connection(server.socket) as client:
        client.send(head(f"/unread?token={token}", f"Content-Length: {BUFFER * 3}", EXPECT))
        wire = client.read_to_end()
    assert wire.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in wire


def test_who_wants_to_send_too_much_is_refused_at_once(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        client.send(head("/unread", "Content-Length: 100000000", EXPECT))
        assert client.read_to_end().startswith(b"HTTP/1.1 413 ")


def test_who_does_not_wait_gets_one_final_answer(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        client.send(whole("/digest", b"hello", in_chunks=False, fields=(EXPECT,)))
        client.end_sending()
        wire = client.read_to_end()
    assert wire.removeprefix(CONTINUE).startswith(b"HTTP/1.1 200 ")
    assert wire.count(b"HTTP/1.1 200 ") == 1
