"""The corners of PEP 3333: large heads, endless answers, and what comes too late."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from support import raw_http
from support.servers import Udsrv

BUFFER = 65536  # --body-buffer


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("letter:app", "--threads", str(threads))


def head(target: str, *fields: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: a", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


PLAIN = head("/plain", "Connection: close")


def fields_of(wire: bytes) -> list[bytes]:
    return wire.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


@pytest.mark.parametrize(("count", "size"), [(1, 65_536), (64, 1024), (5000, 20), (1, 1_000_000)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_head_of_any_size_arrives_whole(server: Udsrv, method: str, count: int, size: int):
    raw = head(f"/head?count={count}&size={size}", method=method)
    with raw_http.Connection(server.socket) as client:
        client.send(raw * 2 + PLAIN)
        wire = client.read_to_end()
    for _ in range(2):
        fields = fields_of(wire)
        assert fields[:count] == [b"X-%d: %d=%s" % (n, n, b"v" * size) for n in range(count)]
        body = b"body" if method == "GET" else b""
        wire = wire.partition(b"\r\n\r\n")[2]
        assert wire.startswith(body + b"HTTP/1.1 200 ")
        wire = wire.removeprefix(body)
    assert wire.endswith(b"\r\n\r\nplain")


def test_every_cookie_keeps_its_own_line_and_its_place(server: Udsrv):
    raw = head("/head?count=300&size=10&name=Set-Cookie", "Connection: close")
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        fields = fields_of(client.read_to_end())
    assert fields[:300] == [b"Set-Cookie: %d=vvvvvvvvvv" % n for n in range(300)]


def test_both_heads_may_be_large_at_once(server: Udsrv):
    cookies = tuple(f"Cookie: {n}={'c' * 7000}" for n in range(9))
    with raw_http.Connection(server.socket) as client:
        for _ in range(3):
            client.send(head("/head?count=60&size=1000", *cookies))
            assert client.read_response().body == b"body"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_endless_answer_ends_where_it_has_no_body(
    server: Udsrv, token: str, method: str, status: int
):
    with raw_http.Connection(server.socket) as client:
        client.send(head(f"/endless?token={token}&status={status}", method=method))
        assert client.read_response(method=method).status == status
        client.send(PLAIN)
        assert client.read_response().body == b"plain"
    server.log.wait_for(f"closed {token}$")


def test_an_answer_that_waits_for_news_ends_with_its_client(server: Udsrv, token: str):
    with raw_http.Connection(server.socket) as client:
        client.send(head(f"/no-news?token={token}"))
        client.wait_until_read()
    server.log.wait_for(f"closed {token}$")
    assert raw_http.get(server.socket, "/plain").body == b"plain"
    assert server.log.count("Traceback|BrokenPipe") == 0


def test_a_client_that_has_only_stopped_sending_still_gets_the_news(server: Udsrv, token: str):
    with raw_http.Connection(server.socket) as client:
        client.send(head(f"/endless?token={token}"))
        client.end_sending()
        client.read_exactly(100_000)
    server.log.wait_for(f"closed {token}$")


@pytest.mark.parametrize("signal_number", [signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
def test_a_server_that_stops_closes_an_endless_answer(start_udsrv, signal_number, threads: int):
    server = start_udsrv("letter:app", "--threads", str(threads), "--graceful-timeout", "0.5")
    with raw_http.Connection(server.socket) as client:
        client.send(head("/endless?token=stopped"))
        client.read_exactly(10_000)
        server.process.send_signal(signal_number)
        client.read_to_end()
        assert server.wait_end() == 0
    assert server.log.count("closed stopped$") == 1
    assert server.log.count("Traceback") == 0


@pytest.mark.parametrize("kind", ["endless", "endless-file"])
def test_peers_that_read_nothing_do_not_keep_a_server(start_udsrv, kind, threads: int):
    server = start_udsrv("letter:app", "--threads", str(threads), "--graceful-timeout", "0.5")
    with ExitStack() as stack:
        for number in range(threads):
            client = stack.enter_context(raw_http.Connection(server.socket))
            client.send(head(f"/{kind}?token=deaf-{number}"))
            client.read_exactly(10)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_end() == 0
    for number in range(threads):
        assert server.log.count(f"closed deaf-{number}$") == 1
    assert server.log.count("Traceback|is killed") == 0


@pytest.mark.parametrize("kind", ["endless", "endless-file", "no-news"])
def test_endless_answers_in_all_threads_do_not_keep_a_server(start_udsrv, kind, threads: int):
    server = start_udsrv("letter:app", "--threads", str(threads), "--graceful-timeout", "0.5")
    with ExitStack() as stack:
        clients = [stack.enter_context(raw_http.Connection(server.socket)) for _ in range(threads)]
        for number, client in enumerate(clients):
            client.send(head(f"/{kind}?token=kept-{number}"))
            if kind == "no-news":
                server.log.wait_for(f"began kept-{number}$")
            else:
                client.read_exactly(10_000)
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.read_to_end()
        assert server.wait_end() == 0
    for number in range(threads):
        assert server.log.count(f"closed kept-{number}$") == 1
    assert server.log.count("Traceback|is killed") == 0


def test_no_interim_answer_gets_into_a_final_one(server: Udsrv):
    """RFC 9110 10.1.1: who has the final answer's head is not told to continue any more."""
    expects = ("Expect: 100-continue", f"Content-Length: {BUFFER * 3}")
    with raw_http.Connection(server.socket) as client:
        client.send(head("/reads-late", *expects, method="POST"))
        seen = b""
        while b"begun\n" not in seen:
            seen += client.read_some()
        client.send(b"x" * BUFFER * 3)
        seen += client.read_to_end()
    assert seen.startswith(b"HTTP/1.1 200 ")
    assert b"100 Continue" not in seen
    assert b"%d\n" % (BUFFER * 3) in seen


def test_a_late_mistake_is_raised_with_its_own_traceback(server: Udsrv):
    before = server.log.count("in _deep$")
    with raw_http.Connection(server.socket) as client:
        client.send(head("/fails-late"))
        assert client.read_to_end().endswith(b"\r\n\r\n5\r\nbegun\r\n")
    server.log.wait_for("in _deep$", times=before + 1)


@pytest.mark.parametrize(
    ("target", "mistake"),
    [
        ("/returns-bytes", "TypeError: the application returned bytes itself, not an iterable"),
        ("/returns-str", "TypeError: the application returned str itself, not an iterable"),
    ],
)
def test_a_body_that_is_not_in_a_list_is_named(server: Udsrv, target: str, mistake: str):
    before = server.log.count(mistake)
    with raw_http.Connection(server.socket) as client:
        client.send(head(target))
        assert client.read_response().status == 500
    server.log.wait_for(mistake, times=before + 1)


def test_a_second_start_that_the_application_survives_changes_nothing(server: Udsrv):
    answer = raw_http.get(server.socket, "/second-start")
    assert answer.status == 200
    assert answer.body == b"AssertionError: start_response called again without exc_info"


@pytest.mark.parametrize("query", ["piece=65536", "piece=1000000", "piece=10000&lines=1"])
def test_a_body_that_is_read_in_pieces_is_never_kept_whole(server: Udsrv, query: str):
    body = (b"x" * 999 + b"\n") * 9000
    raw = head(f"/memory?{query}", f"Content-Length: {len(body)}", method="POST") + body
    size, grown_kib = map(int, raw_http.request(server.socket, raw).body.split())
    assert size == len(body)
    assert grown_kib < 4096


def test_a_line_of_any_length_is_one_line(server: Udsrv):
    body = b"x" * 9_000_000 + b"\n" + b"y" * 1000
    raw = head("/memory?piece=-1&lines=1", f"Content-Length: {len(body)}", method="POST") + body
    size, _ = map(int, raw_http.request(server.socket, raw).body.split())
    assert size == len(body)
