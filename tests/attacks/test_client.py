"""What a client tries through nginx with the site that gen-nginx prints."""

from __future__ import annotations

import itertools
import json
import socket

import pytest


@pytest.fixture(scope="module")
def scene(set_scene):
    return set_scene(workers=1)  # one, so that lines of its log are in the order of the requests


MARKS = itertools.count()


def lines_of(scene, *lines: str, raw: bytes = b"") -> tuple[bytes, list[str]]:
    """Send a request to nginx; return the answer, and its lines in the server's log."""
    before = len(scene.access_log.text().splitlines())
    answer = through(scene, *lines, raw=raw)
    mark = f"/mark-{next(MARKS)}"
    through(scene, f"GET {mark} HTTP/1.1", "Host: localhost")
    scene.access_log.wait_for(f"GET {mark} ")
    *made, last = scene.access_log.text().splitlines()[before:]
    assert mark in last
    return answer, made


def through(scene, *lines: str, raw: bytes = b"") -> bytes:
    """Send a request to nginx; return all that comes until it closes."""
    head = "".join(f"{line}\r\n" for line in (*lines, "Connection: close", ""))
    with socket.create_connection(("127.0.0.1", scene.port), timeout=30) as client:
        client.sendall(head.encode("latin-1") + raw)
        return b"".join(iter(lambda: client.recv(65536), b""))


def environ_of(answer: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(body)["environ"]


def test_no_header_changes_who_a_client_is(scene):
    forged = "6.6.6.6"
    environ = environ_of(
        lines_of(
            scene,
            "GET / HTTP/1.1",
            "Host: localhost",
            f"X-Forwarded-For: {forged}",
            f"X-Forwarded-For: {forged}, 127.0.0.9",
            f"X_Forwarded_For: {forged}",
            f"X-Forwarded_For: {forged}",
            f"X-Real-IP: {forged}",
            f"Forwarded: for={forged};proto=https;host=evil.example",
            f"Client-IP: {forged}",
            f"Remote-Addr: {forged}",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Prefix: /admin",
            "Remote-User: admin",
            "Script-Name: /admin",
            "Proxy: http://evil.example",
            "Request-Method: DELETE",
        )[0]
    )
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert environ["HTTP_X_FORWARDED_HOST"] == "localhost"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["REQUEST_METHOD"] == "GET"
    believed = {name for name, value in environ.items() if forged in value or "evil" in value}
    # These are what the client says of itself, under names that nobody takes for anything else.
    assert believed == {"HTTP_CLIENT_IP", "HTTP_REMOTE_ADDR"}
    assert not {"HTTP_PROXY", "HTTP_FORWARDED", "REMOTE_USER"} & environ.keys()
    assert environ["HTTP_REMOTE_USER"] == "admin"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%0d%0aX-Evil:%201", "/\r\nX-Evil: 1"),
        ("/a%00b", None),
        ("//x/./y/%2e%2e//z", "//x/./y/..//z"),
        ("/%e2%82%ac", "/€"),
        ("/a%2fb%5c", "/a/b\\"),
    ],
)
def test_a_target_is_decoded_once_and_is_one_line_of_the_log(scene, target, path):
    answer, lines = lines_of(scene, f"GET {target} HTTP/1.1", "Host: localhost")
    if path is None:
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert lines == []
        return
    environ = environ_of(answer)
    assert environ["PATH_INFO"].encode("latin-1").decode() == path
    assert not {name for name in environ if "EVIL" in name}
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]
    (line,) = lines
    assert f"GET {target} HTTP/1." in line


@pytest.mark.parametrize("byte", ["\xe4", "#", "\x7f"])
def test_a_byte_that_no_target_may_have_is_refused(scene, byte):
    answer, _ = lines_of(scene, f"GET /a{byte}b HTTP/1.1", "Host: localhost")
    assert answer.startswith(b"HTTP/1.1 400 ")


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Content-Length: 4", "Transfer-Encoding:\tchunked"),
        ("Content-Length: 4", "Transfer-Encoding: x, chunked"),
        ("Content-Length: 4", "Content-Length: 60"),
        ("Content-Length: +4",),
        ("Content-Length: 4 ", "Transfer_Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding : chunked", "Content-Length: 4"),
    ],
)
def test_no_second_request_is_smuggled_past_nginx(scene, framing):
    request = ("POST /first HTTP/1.1", "Host: localhost", *framing)
    _, lines = lines_of(scene, *request, raw=SMUGGLED)
    assert not [line for line in lines if "/smuggled" in line]
