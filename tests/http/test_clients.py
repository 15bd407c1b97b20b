"""A client that other people wrote, straight on the socket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests_unixsocket

from support.servers import Udsrv


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("cases:app", "--threads", str(threads))


@pytest.fixture
def session() -> Iterator[requests_unixsocket.Session]:
    with requests_unixsocket.Session() as session:
        yield session


def url(server: Udsrv, target: str) -> str:
    return f"http+unix://{quote(str(server.socket), safe='')}{target}"


def test_get_and_head(server: Udsrv, session):
    for _ in range(20):
        assert session.get(url(server, "/plain"), timeout=30).text == "plain"
        answer = session.head(url(server, "/plain"), timeout=30)
        assert (answer.headers["Content-Length"], answer.content) == ("5", b"")


@pytest.mark.parametrize("size", [0, 5, 65536, 65537, 5_000_000])
def test_uploads(server: Udsrv, session, size: int):
    body = b"0123456789" * (size // 10) + b"x" * (size % 10)
    expected = [size, hashlib.sha256(body).hexdigest()]
    assert session.post(url(server, "/digest"), data=body, timeout=30).json() == expected
    chunks = (body[at : at + 7001] for at in range(0, size, 7001))
    assert session.put(url(server, "/digest"), data=chunks, timeout=30).json() == expected


def test_a_stream(server: Udsrv, session):
    with session.get(url(server, "/parts"), stream=True, timeout=30) as answer:
        assert b"".join(answer.iter_content(2)) == b"abcdef"


def test_an_exception(server: Udsrv, session):
    answer = session.get(url(server, "/raises?token=by-requests"), timeout=30)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error\n")
    server.log.wait_for(r"cases\.OopsError: secret by-requests$")
    assert session.get(url(server, "/plain"), timeout=30).text == "plain"


def test_many_at_once(server: Udsrv):
    def ask(number: int) -> bool:
        body = str(number).encode() * 1000
        with requests_unixsocket.Session() as session:
            got = [
                session.post(url(server, "/digest"), data=body, timeout=30).text for _ in "12345"
            ]
        return {tuple(json.loads(text)) for text in got} == {
            (len(body), hashlib.sha256(body).hexdigest())
        }

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(80)))
