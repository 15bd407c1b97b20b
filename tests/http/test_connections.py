"""A connection from beginning to end: order, reuse, deadlines, and clients that misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import raw_http
from support.directories import open_to_applications
from support.processes import descendants_of
from support.servers import Udsrv
from support.waiting import PATIENCE_S, WaitError

# Short enough to wait for, long enough that no machine is too slow to send a request within it.
SHORT_S = 0.5

PLAIN = b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("cases:app", "--threads", str(threads))


@pytest.fixture(scope="module")
def impatient(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    deadlines = [
        option
        for name in ("keep-alive", "head-timeout", "body-timeout", "send-timeout")
        for option in (f"--{name}", str(SHORT_S))
    ]
    return serve("cases:app", "--threads", str(threads), *deadlines)


def post(target: str, body: bytes) -> bytes:
    return (
        f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


# ---- order and reuse ----------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(server: Udsrv):
    sizes = [number * 37 % 500 for number in range(300)]
    raw = b"".join(post("/digest", b"x" * size) if size % 2 else PLAIN for size in sizes)
    with raw_http.Connection(server.socket) as client:
        client.send(raw + CLOSING)
        for size in sizes:
            body = client.read_response().body
            assert (json.loads(body)[0] == size) if size % 2 else (body == b"plain")
        assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""


def test_a_connection_serves_many_requests(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        for _ in range(1000):
            client.send(PLAIN)
            assert client.read_response().body == b"plain"


def test_many_idle_connections_cost_no_thread(server: Udsrv):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw_http.Connection(server.socket)) for _ in range(200)]
        for _ in range(2):
            for client in clients:
                client.send(PLAIN)
            for client in clients:
                assert client.read_response().body == b"plain"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_is_sent_between_two_answers(server: Udsrv, method: str):
    one = f"{method} /plain HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with raw_http.Connection(server.socket) as client:
        client.send(one + one + CLOSING)
        wire = client.read_to_end()
    assert wire.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert wire.count(b"plain") == (3 if method == "GET" else 1) + wire.count(b"text/plain")


def make_pipe(directory: Path) -> tuple[Path, bytes]:
    """A pipe, and the request that waits until its other side was opened and closed."""
    pipe = open_to_applications(directory) / f"pipe-{time.monotonic_ns()}"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    return pipe, f"GET /waits HTTP/1.1\r\nHost: a\r\nX-Pipe: {pipe}\r\n\r\n".encode()


@contextlib.contextmanager
def held_up(server: Udsrv, directory: Path) -> Iterator[None]:
    """Keep one thread of the application busy meanwhile."""
    pipe, request = make_pipe(directory)
    with raw_http.Connection(server.socket) as client:
        client.send(request)
        # Opening waits until the application has opened the other side.
        with pipe.open("wb", buffering=0):
            yield


def test_a_busy_thread_holds_no_other_request_up(serve, module_directory: Path):
    server = serve("cases:app", "--threads", "2")
    with held_up(server, module_directory):
        for _ in range(20):
            assert raw_http.get(server.socket, "/plain").body == b"plain"


def test_what_a_busy_thread_has_taken_is_served_by_the_others(serve, module_directory: Path):
    """On one processor one thread takes the events of most requests that come together."""
    server = serve("cases:app", "--threads", "3")
    for pid in descendants_of(server.pid):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {min(os.sched_getaffinity(0))})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw_http.Connection(server.socket)) for _ in range(12)]
        for number in range(200):
            waiting = {clients[number % 12], clients[number * 5 % 12]}
            pipes = {client: make_pipe(module_directory) for client in waiting}
            for client in clients:
                client.send(pipes[client][1] if client in waiting else PLAIN)
            with contextlib.ExitStack() as held:
                for pipe, _ in pipes.values():
                    held.enter_context(pipe.open("wb", buffering=0))
                for client in clients:
                    if client not in waiting:
                        assert client.read_response().body == b"plain"
            for client in waiting:
                assert client.read_response().status == 200


def test_a_deadline_is_kept_while_the_thread_that_knows_it_is_busy(serve, module_directory: Path):
    """Which the others did not know when they began to wait."""
    server = serve("cases:app", "--threads", "4", "--head-timeout", str(SHORT_S))
    # Which thread takes what is the kernel's choice: in most rounds one takes both.
    for _ in range(5):
        pipe, request = make_pipe(module_directory)
        with raw_http.Connection(server.socket) as late, raw_http.Connection(server.socket) as busy:
            for client in (late, busy):
                client.send(PLAIN)
                assert client.read_response().body == b"plain"
            # At its end every thread looks when the next time of another ends, which is far.
            with raw_http.Connection(server.socket) as idle:
                assert idle.read_to_end() == b""
            late.send(b"GET /pla")
            late.wait_until_read()
            busy.send(request)
            with pipe.open("wb", buffering=0):
                assert late.read_response().status == 408
            assert busy.read_response().status == 200


def test_what_is_taken_while_a_signal_is_handled_is_served(serve, module_directory: Path):
    """The thread of signals, just about to wait, must not miss what another one took meanwhile."""
    handler, _ = make_pipe(module_directory)
    # No deadline may end the wait.
    options = ("--threads", "2", "--head-timeout", "600", "--keep-alive", "600")
    server = serve("signalled:app", *options, "--env", f"SIGNALLED_PIPE={handler}")
    with contextlib.ExitStack() as stack:
        first, second, third = (
            stack.enter_context(raw_http.Connection(server.socket)) for _ in range(3)
        )
        for client in (first, second, third):
            client.send(PLAIN)
            assert client.read_response().body == b"plain"
        os.kill(server.workers[0], signal.SIGUSR1)
        (first_pipe, waits), (second_pipe, waits_too) = (make_pipe(module_directory) for _ in "12")
        # Opening waits until the other side is open, and the handler and the other thread are kept.
        with handler.open("wb"):
            first.send(waits)
            with first_pipe.open("wb"):
                second.send(waits_too)
                third.send(PLAIN)
            held = stack.enter_context(second_pipe.open("wb"))
        assert third.read_response().body == b"plain"
        held.close()
        for client in (first, second):
            assert client.read_response().status == 200


def test_each_of_many_that_wait_for_one_thread_gets_its_own_answers(serve, module_directory: Path):
    """All are there at once when it comes back: whole, in parts, several, ended, or gone."""
    server = serve("cases:app", "--threads", "1")
    # The first has more than one read takes.
    sizes = [90_000, *(number * 997 % 20_000 for number in range(1, 150))]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw_http.Connection(server.socket)) for _ in sizes]
        for client in clients:
            client.send(PLAIN)
            assert client.read_response().body == b"plain"
        with held_up(server, module_directory):
            for number, (client, size) in enumerate(zip(clients, sizes, strict=True)):
                request = post("/digest", b"x" * size)
                client.send(request[:30] if number % 5 == 1 else request * (1 + number % 3))
                if number % 5 == 2:
                    client.end_sending()
                if number % 5 == 3:
                    client.close()
        for number, (client, size) in enumerate(zip(clients, sizes, strict=True)):
            if number % 5 == 3:
                continue
            if number % 5 == 1:
                client.send(post("/digest", b"x" * size)[30:])
            for _ in range(1 if number % 5 == 1 else 1 + number % 3):
                assert json.loads(client.read_response().body)[0] == size
            if number % 5 == 2:
                assert client.read_to_end() == b""


# ---- the end of what a client sends -------------------------------------------------------------


def test_a_request_whose_client_only_listens_on_is_answered(server: Udsrv):
    for raw in (PLAIN, post("/digest", b"hello"), post("/digest", b"x" * 300_000), PLAIN * 3):
        with raw_http.Connection(server.socket) as client:
            client.send(raw)
            client.end_sending()
            for _ in range(raw.count(b"HTTP/1.1\r\n")):
                assert client.read_response().status == 200
            assert client.read_to_end() == b""


def test_a_client_that_says_nothing_is_just_gone(server: Udsrv):
    for _ in range(100):
        with raw_http.Connection(server.socket) as client:
            client.end_sending()
            assert client.read_to_end() == b""
    assert raw_http.get(server.socket, "/plain").body == b"plain"


ABORTS = {
    "at once": b"",
    "in the request line": b"GET /pla",
    "in the head": PLAIN[:-2],
    "in a small body": post("/digest", b"x" * 1000)[:-1],
    "in a large body": post("/digest", b"x" * 200_000)[:-1],
    "in a chunk": b"POST /digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
    "before the answer": PLAIN,
    "before many answers": PLAIN * 50,
    "in a large answer": b"GET /sized?size=3000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    "in an endless answer": b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
    "after a refusal": b"NONSENSE\r\n\r\n" + b"x" * 1000,
    "waiting for 100": b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n"
    b"Expect: 100-continue\r\n\r\n",
}


def open_descriptors(server: Udsrv) -> int:
    return int(raw_http.get(server.socket, "/descriptors").body)


def wait_for_descriptors(server: Udsrv, count: int) -> None:
    """Return when no more than ``count`` are open; each question lets the server get on."""
    until_s = time.monotonic() + PATIENCE_S
    while (now := open_descriptors(server)) > count:
        if time.monotonic() > until_s:
            raise WaitError(f"{now} descriptors are open, {count} were before")


@pytest.mark.parametrize("when", ABORTS)
def test_a_thousand_aborted_connections_leave_nothing(server: Udsrv, when: str):
    before = open_descriptors(server)
    for _ in range(1000):
        with raw_http.Connection(server.socket) as client:
            client.send_while_wanted(ABORTS[when])
    wait_for_descriptors(server, before)
    assert raw_http.get(server.socket, "/plain").body == b"plain"


def test_an_abort_is_no_error_of_anybody(server: Udsrv):
    workers = server.workers
    for raw in (ABORTS["before the answer"], ABORTS["in a large answer"], ABORTS["at once"]):
        with raw_http.Connection(server.socket) as client:
            client.send(raw)
    assert raw_http.get(server.socket, "/plain").body == b"plain"
    assert server.workers == workers
    assert server.log.count("Traceback|BrokenPipe|panicked") == 0


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [b"", b"x" * 60_000])
def test_a_refusal_is_read_to_the_end_and_then_closed(server: Udsrv, behind: bytes):
    with raw_http.Connection(server.socket) as client:
        client.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n" + behind)
        answer = client.read_response()
        assert (answer.status, answer.headers["Connection"]) == (400, "close")
        assert answer.body == b"Bad Request\n"
        assert client.read_to_end() == b""


UPLOAD = post("/digest", b"x" * 900 * 1024)


@pytest.fixture(scope="module")
def narrow(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("cases:app", "--threads", str(threads), "--limit-request-body", "100k")


def test_a_refusal_reaches_a_client_that_listens_while_it_sends(narrow: Udsrv):
    def status() -> int:
        left = memoryview(UPLOAD)
        with raw_http.Connection(narrow.socket) as client:
            while left and not select.select([client.socket], [client.socket], [], PATIENCE_S)[0]:
                left = left[client.socket.send(left, socket.MSG_DONTWAIT) :]
            return client.read_response().status

    assert [status() for _ in range(1000)] == [413] * 1000


def test_a_refusal_reaches_a_client_that_sends_on_regardless(narrow: Udsrv):
    def status(_: int) -> int:
        with raw_http.Connection(narrow.socket) as client:
            client.send_while_wanted(UPLOAD)
            return client.read_response().status

    # Each of them is hung up on after a second, so they go in parallel.
    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(status, range(200))) == [413] * 200


def test_a_client_that_never_stops_sending_is_cut_off(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        client.send(b"NONSENSE\r\n\r\n")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 100_000_000:
                client.send(b"x" * 65536)
                sent += 65536
        assert sent < 100_000_000
        assert client.read_response().status == 400


# ---- deadlines ----------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_without_a_word(impatient: Udsrv):
    with raw_http.Connection(impatient.socket) as client:
        client.send(PLAIN)
        assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""
    with raw_http.Connection(impatient.socket) as client:
        assert client.read_to_end() == b""


@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"])
def test_a_head_that_does_not_end_is_a_408(impatient: Udsrv, part: bytes):
    with raw_http.Connection(impatient.socket) as client:
        client.send(PLAIN)
        client.read_response()
        client.send(part)
        wire = client.read_to_end()
    if part.strip():
        assert wire.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nConnection: close\r\n" in wire
    else:
        assert wire[:13] in (b"", b"HTTP/1.1 408 ")


def test_a_head_that_trickles_in_has_one_deadline(impatient: Udsrv):
    trickle = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Slow: 1\r\n" * 90
    with raw_http.Connection(impatient.socket) as client:
        begin_s = time.monotonic()
        for byte in trickle:
            client.send(bytes([byte]))
            # An answer ends the wait; without one the next byte goes off, like a slow client's.
            if select.select([client.socket], [], [], SHORT_S / 10)[0]:
                break
        assert time.monotonic() - begin_s < SHORT_S * 20
        assert client.read_response().status == 408


def test_what_came_while_the_only_thread_was_busy_is_not_late(serve, module_directory: Path):
    deadlines = ("--head-timeout", str(SHORT_S), "--body-timeout", str(SHORT_S))
    server = serve("cases:app", "--threads", "1", *deadlines)
    for request, at in ((PLAIN, 20), (post("/digest", b"hello"), -3), (post("/digest", b"x"), 20)):
        with raw_http.Connection(server.socket) as client:
            client.send(request[:at])
            client.wait_until_read()
            with held_up(server, module_directory):
                client.send(request[at:])
                # Nobody answers, and the deadline passes.
                assert not select.select([client.socket], [], [], SHORT_S * 2)[0]
            assert client.read_response().status == 200


@pytest.mark.parametrize(
    "part",
    [
        b"POST /unread?token=body-deadline HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        b"POST /unread?token=body-deadline HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        b"POST /unread?token=body-deadline HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n5\r\nhello\r\n0\r\nX",
    ],
)
def test_a_small_body_that_does_not_end_is_a_408(impatient: Udsrv, part: bytes):
    with raw_http.Connection(impatient.socket) as client:
        client.send(part)
        assert client.read_response().status == 408
        assert client.read_to_end() == b""
    assert impatient.log.count("unread body-deadline") == 0


def test_a_larger_body_that_does_not_end_is_a_408_and_raises(impatient: Udsrv, threads: int):
    token = f"stalls-{threads}"
    with raw_http.Connection(impatient.socket) as client:
        client.send(post(f"/catches?token={token}", b"x" * 200_000)[:-1])
        assert client.read_response().status == 408
        assert client.read_to_end() == b""
    impatient.log.wait_for(f"raised {token} TimeoutError after ")
    assert impatient.log.count(f"end {token}") == 0


def test_a_client_that_does_not_read_is_cut_off(impatient: Udsrv, threads: int):
    token = f"deaf-{threads}"
    with raw_http.Connection(impatient.socket) as client:
        client.send(f"GET /endless?token={token} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        impatient.log.wait_for(f"closed {token}$")
        assert len(client.read_to_end()) < 10_000_000
    assert raw_http.get(impatient.socket, "/plain").body == b"plain"


def test_a_client_that_does_not_read_a_finished_answer_is_cut_off(impatient: Udsrv):
    with raw_http.Connection(impatient.socket) as client:
        client.send(b"GET /sized?size=9000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.wait_for_hangup()
        assert len(client.read_to_end()) < 9_000_000


def test_deadlines_do_not_touch_who_keeps_to_them(impatient: Udsrv):
    body = b"x" * 400_000
    raw = post("/digest", body)
    with raw_http.Connection(impatient.socket) as client:
        for _ in range(3):
            for at in range(0, len(raw), 50_000):
                client.send(raw[at : at + 50_000])
                client.wait_until_read()
            assert json.loads(client.read_response().body)[0] == len(body)


def test_connections_come_and_go_at_the_same_time(server: Udsrv):
    """More of them than there are threads, each at another point of its request."""
    raw = post("/digest", b"x" * 3000)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw_http.Connection(server.socket)) for _ in range(60)]
        for at in range(0, len(raw), 1000):
            for client in clients:
                client.send(raw[at : at + 1000])
        for client in clients:
            assert json.loads(client.read_response().body)[0] == 3000


def test_the_socket_is_a_stream_only(server: Udsrv):
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client,
        pytest.raises(OSError, match="wrong type"),
    ):
        client.connect(str(server.socket))
