"""wsgi.file_wrapper: the bytes that reading would have given, whichever way they are sent."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from support import raw_http
from support.directories import open_to_applications
from support.servers import Udsrv
from support.waiting import PATIENCE_S, WaitError

# More than the buffers of a Unix socket hold, so that a client that doesn't read holds the rest up.
LARGE = 8_000_000
# Beyond what is copied behind the head (16 KiB), and less than one turn.
MEDIUM = 100_000
SMALL = 3000


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("files:app", "--threads", str(threads))


def patterned(size: int) -> bytes:
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


@pytest.fixture(scope="module")
def make_file(module_directory: Path) -> Callable[[bytes], Path]:
    numbers = itertools.count()

    def make(content: bytes) -> Path:
        path = open_to_applications(module_directory) / f"file-{next(numbers)}"
        path.write_bytes(content)
        path.chmod(0o666)
        return path

    return make


@pytest.fixture(scope="module")
def files(make_file) -> dict[int, Path]:
    return {size: make_file(patterned(size)) for size in (0, 1, SMALL, MEDIUM, LARGE)}


def ask(path: Path, *, method: str = "GET", version: str = "1.1", fields=(), **query) -> bytes:
    target = "/?" + urlencode({"path": str(path), **query})
    lines = [f"{method} {target} HTTP/{version}", "Host: a", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


PLAIN = b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def answer_to(server: Udsrv, raw: bytes, method: str = "GET") -> raw_http.Response:
    """Return the answer; the connection must be one that can be used again."""
    with raw_http.Connection(server.socket) as client:
        client.send(raw)
        answer = client.read_response(method=method)
        client.send(PLAIN)
        assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""
    return answer


@pytest.mark.parametrize("size", [0, 1, SMALL, MEDIUM, LARGE])
@pytest.mark.parametrize("kind", ["plain", "unbuffered", "delegating", "temporary"])
def test_a_regular_file_arrives_whole_and_with_its_length(server, files, kind: str, size: int):
    answer = answer_to(server, ask(files[size], kind=kind))
    assert answer.body == files[size].read_bytes()
    assert answer.headers["Content-Length"] == str(size)
    assert answer.headers["Transfer-Encoding"] is None


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
@pytest.mark.parametrize(
    "kind", ["bytes", "pipe", "own", "read-only"], ids="{}-is-no-regular-file".format
)
def test_what_only_looks_like_a_file_is_read(server, files, kind: str, size: int):
    answer = answer_to(server, ask(files[size], kind=kind, block=1000))
    expected = files[size].read_bytes()
    assert answer.body == (expected.upper() if kind == "own" else expected)


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
def test_a_compressed_file_is_sent_as_it_reads_and_not_as_it_lies(server, make_file, size: int):
    path = make_file(gzip.compress(patterned(size)))
    assert answer_to(server, ask(path, kind="gzip")).body == patterned(size)


@pytest.mark.parametrize("path", [Path("/proc/self/status")])
def test_a_file_without_a_size_is_read(server, path: Path):
    assert b"\nPid:" in answer_to(server, ask(path)).body


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
def test_a_wrapped_file_can_be_iterated_by_others(server, make_file, size: int):
    path = make_file(b"abc" * size)
    assert answer_to(server, ask(path, how="middleware", block=4096)).body == b"ABC" * size


@pytest.mark.parametrize("moved", [{"offset": 70_000}, {"read": 70_000}])
@pytest.mark.parametrize("length", [None, 0, 1, 20_000, 30_000])
@pytest.mark.parametrize("kind", ["plain", "bytes"])
def test_a_file_is_sent_from_where_it_stands_to_the_declared_length(
    server, files, kind: str, length: int | None, moved
):
    query = moved if length is None else {**moved, "length": length}
    answer = answer_to(server, ask(files[MEDIUM], kind=kind, **query))
    assert (
        answer.body == files[MEDIUM].read_bytes()[70_000:][: MEDIUM if length is None else length]
    )
    if kind == "plain" or length is not None:
        assert answer.headers["Content-Length"] == str(30_000 if length is None else length)


@pytest.mark.parametrize("offset", [SMALL, SMALL + 1])
def test_a_file_at_its_end_is_an_empty_answer(server, files, offset: int):
    answer = answer_to(server, ask(files[SMALL], offset=offset))
    assert (answer.body, answer.headers["Content-Length"]) == (b"", "0")


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_sends_none_of_the_file(
    server, files, token: str, size: int, method: str, status: int
):
    raw = ask(files[size], method=method, status=status, token=token)
    answer = answer_to(server, raw, method)
    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers["Content-Length"] == (None if status == 204 else str(size))
    server.log.wait_for(f"closed {token}$")


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
def test_http_1_0_gets_the_same_bytes(server, files, size: int):
    with raw_http.Connection(server.socket) as client:
        client.send(ask(files[size], version="1.0"))
        lines, _, body = client.read_to_end().partition(b"\r\n\r\n")
    assert body == files[size].read_bytes()
    assert b"\r\nConnection: close" in lines
    assert b"\r\nContent-Length: %d\r\n" % size in lines


def test_a_file_follows_what_was_written_before(server, files):
    answer = answer_to(server, ask(files[MEDIUM], write="first"))
    assert answer.body == b"first" + files[MEDIUM].read_bytes()


def test_pipelined_files_arrive_in_order(server, files):
    sizes = [0, MEDIUM, SMALL, LARGE, 1, MEDIUM, MEDIUM] * 3
    with raw_http.Connection(server.socket) as client:
        client.send(b"".join(ask(files[size]) for size in sizes) + PLAIN)
        for size in sizes:
            assert client.read_response().body == files[size].read_bytes()
        assert client.read_response().body == b"plain"
        assert client.read_to_end() == b""


def read_head(client: raw_http.Connection) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.read_exactly(1)
    return head


def test_a_file_that_grows_is_cut_at_the_size_that_was_announced(server, make_file):
    path = make_file(patterned(LARGE))
    with raw_http.Connection(server.socket) as client:
        client.send(ask(path))
        head = read_head(client)
        with path.open("ab") as file:
            file.write(b"more" * 1_000_000)
        assert b"\r\nContent-Length: %d\r\n" % LARGE in head
        assert client.read_exactly(LARGE) == patterned(LARGE)
        client.send(PLAIN)
        assert client.read_response().body == b"plain"


def test_a_file_that_shrinks_is_a_cut_answer_and_named_in_the_log(server, make_file, token: str):
    path = make_file(patterned(LARGE))
    with raw_http.Connection(server.socket) as client:
        client.send(ask(path, token=token) + PLAIN)
        read_head(client)
        os.truncate(path, LARGE // 2)
        body = client.read_to_end()
    assert len(body) <= LARGE // 2
    assert body == patterned(LARGE)[: len(body)]
    server.log.wait_for(
        rf"error: GET /: the application's file was made shorter meanwhile; \d+ of {LARGE} bytes"
    )
    server.log.wait_for(f"closed {token}$")


@pytest.mark.parametrize("size", [SMALL, MEDIUM])
@pytest.mark.parametrize("kind", ["plain", "bytes"])
def test_a_file_shorter_than_declared_never_breaks_the_framing(
    server, files, token: str, size: int, kind: str
):
    pattern = f"ended after {size} bytes, its Content-Length is {size + 1}$"
    before = server.log.count(pattern)
    with raw_http.Connection(server.socket) as client:
        client.send(ask(files[size], length=size + 1, token=token, kind=kind))
        client.end_sending()
        wire = client.read_to_end()
    if kind == "plain":
        assert wire.startswith(b"HTTP/1.1 500 ")
    else:
        assert wire.endswith(b"\r\n\r\n" + files[size].read_bytes())
    server.log.wait_for(pattern, times=before + 1)
    server.log.wait_for(f"closed {token}$")


@pytest.mark.parametrize(
    ("kind", "mistake"),
    [
        ("text", "TypeError: the application's body is of bytes, not of str$"),
        ("closed", "ValueError: .*closed file"),
        ("write-only", "UnsupportedOperation: read$"),
        ("none", "TypeError: wsgi.file_wrapper: a file has a read method, NoneType has none$"),
    ],
)
def test_what_can_not_be_read_is_a_500_and_named_in_the_log(server, make_file, kind, mistake):
    path = make_file(patterned(MEDIUM))
    before = server.log.count(mistake)
    answer = answer_to(server, ask(path, kind=kind))
    assert (answer.status, answer.body) == (500, b"Internal Server Error\n")
    server.log.wait_for(mistake, times=before + 1)


@pytest.mark.parametrize("size", [0, SMALL, MEDIUM, LARGE])
@pytest.mark.parametrize("kind", ["plain", "delegating", "own"])
def test_the_file_is_closed_once(server, files, token: str, size: int, kind: str):
    for each in (token, f"after-{token}"):
        answer_to(server, ask(files[size], kind=kind, token=each))
        server.log.wait_for(f"closed {each}$")
    assert server.log.count(f"closed {token}$") == 1


def descriptors(server: Udsrv) -> int:
    return int(raw_http.get(server.socket, "/descriptors").body)


def wait_for_descriptors(server: Udsrv, count: int) -> None:
    """Return when no more than ``count`` are open; each question lets the server get on."""
    until_s = time.monotonic() + PATIENCE_S
    while (now := descriptors(server)) > count:
        if time.monotonic() > until_s:
            raise WaitError(f"{now} descriptors are open, {count} were before")


def test_a_client_that_hangs_up_closes_the_file(server, files, token: str):
    before = descriptors(server)
    for number in range(200):
        with raw_http.Connection(server.socket) as client:
            client.send(ask(files[LARGE], token=f"{token}-{number}"))
            client.read_exactly(number * 1000)
    server.log.wait_for(rf"closed {token}-\d+$", times=200)
    wait_for_descriptors(server, before)
    assert server.log.count("BrokenPipe|Traceback.*" + token) == 0


def test_clients_that_do_not_read_hold_no_thread(server, files):
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(raw_http.Connection(server.socket))
            client.send(ask(files[LARGE]))
            read_head(client)
        for _ in range(10):
            assert raw_http.get(server.socket, "/plain").body == b"plain"


def test_a_client_that_does_not_read_is_cut_off(serve, files, threads: int):
    server = serve("files:app", "--threads", str(threads), "--send-timeout", "0.5")
    with raw_http.Connection(server.socket) as client:
        client.send(ask(files[LARGE]))
        client.wait_for_hangup()
        assert len(client.read_to_end()) < LARGE


def test_a_client_that_hangs_up_ends_no_worker_that_has_the_signal_of_pipes(serve, files):
    server = serve("files:app", "-e", "DEFAULT_SIGPIPE=1")
    workers = server.workers
    for _ in range(50):
        with raw_http.Connection(server.socket) as client:
            client.send(ask(files[LARGE]))
            client.read_exactly(10_000)
    assert raw_http.get(server.socket, "/plain").body == b"plain"
    assert server.workers == workers
