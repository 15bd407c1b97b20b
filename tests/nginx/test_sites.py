"""Flask, Django and a plain application behind a real nginx with the configuration we print."""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from support import nginx
from support.accounts import IS_ROOT
from support.directories import open_to_applications
from support.processes import children_of, status_of
from support.servers import UDSRV, Udsrv

# Neither root nor nginx's, and on every Debian.
APP_USER = "games"
LIMIT = ("--limit-request-body", "64m")
TIMEOUT_S = 60


@dataclass(frozen=True)
class Site:
    url: str
    port: int
    server: Udsrv
    front: nginx.Nginx


def printed_config(socket_path: Path, port: int, *options: str) -> str:
    """Return what gen-nginx prints."""
    where = ["--server-name", "localhost", "--listen", f"127.0.0.1:{port}"]
    command = [UDSRV, "gen-nginx", "--socket", socket_path, *options, *where]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


Open = Callable[..., Site]


@pytest.fixture(scope="module")
def open_site(start_module_udsrv, start_module_nginx, module_directory: Path) -> Open:
    """Start an application and the nginx in front of it."""
    user = ("--user", APP_USER) if IS_ROOT else ()
    names: list[str] = []

    def start(
        app: str,
        *options: str,
        nginx_options: tuple[str, ...] = LIMIT,
        change: Callable[[str], str] = str,
    ) -> Site:
        names.append(app)
        socket_path = module_directory / "run" / f"{len(names)}.sock"
        server = start_module_udsrv(app, *user, *(options or LIMIT), socket=socket_path)
        port = nginx.free_port()
        front = start_module_nginx(change(printed_config(socket_path, port, *nginx_options)))
        return Site(f"http://127.0.0.1:{port}", port, server, front)

    return start


@pytest.fixture(scope="module", params=["plain_site", "flask_site", "django_site"])
def site(open_site: Open, request: pytest.FixtureRequest) -> Site:
    return open_site(f"{request.param}:app", "--threads", "2", *LIMIT)


def unbuffered(config: str) -> str:
    """Let nginx pass a body on while it arrives."""
    assert "\n        proxy_pass " in config
    return config.replace(
        "\n        proxy_pass ", "\n        proxy_request_buffering off;\n        proxy_pass "
    )


@pytest.fixture(scope="module")
def unbuffered_site(open_site: Open) -> Site:
    return open_site("plain_site:app", change=unbuffered)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


# ---- what every site does -----------------------------------------------------------------------


def test_get_and_head(site: Site, session: requests.Session):
    got = session.get(f"{site.url}/told", timeout=TIMEOUT_S)
    assert (got.status_code, got.json()["REQUEST_METHOD"]) == (200, "GET")
    head = session.head(f"{site.url}/told", timeout=TIMEOUT_S)
    assert (head.status_code, head.content) == (200, b"")


def test_the_environ_is_what_pep_3333_and_nginx_make_it(site: Site, session: requests.Session):
    told = session.get(
        f"{site.url}/told/caf%C3%A9/a%20b?c=%20d&e",
        headers={
            "Host": f"LocalHost:{site.port}",
            "X-Forwarded-For": "6.6.6.6",
            "X-Forwarded-Proto": "https",
            "X-Real-IP": "6.6.6.6",
            "Forwarded": "for=6.6.6.6",
            "X-Request-ID": "0123456789abcdef",
        },
        timeout=TIMEOUT_S,
    ).json()
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/told/caf\xc3\xa9/a b",
        "QUERY_STRING": "c=%20d&e",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "localhost",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_X_FORWARDED_PROTO": "http",
        "HTTP_X_FORWARDED_HOST": "localhost",
        "HTTP_X_FORWARDED_PORT": str(site.port),
        "HTTP_X_REAL_IP": "127.0.0.1",
        "HTTP_X_REQUEST_ID": "0123456789abcdef",
    }
    assert {name: told.get(name) for name in expected} == expected
    assert "HTTP_FORWARDED" not in told


def test_a_form(site: Site, session: requests.Session):
    fields = {"name": "W\xf6rld", "b": "1&2=3"}
    assert session.post(f"{site.url}/form", data=fields, timeout=TIMEOUT_S).json() == fields


def test_json(site: Site, session: requests.Session):
    value = {"a": [1, None, "\u20ac"]}
    answer = session.post(f"{site.url}/json", json=value, timeout=TIMEOUT_S)
    assert answer.json() == {"got": value}


@pytest.fixture(scope="module")
def fifty_mebibytes(module_directory: Path) -> Path:
    path = module_directory / "upload"
    path.write_bytes(os.urandom(1 << 20) * 50)
    return path


def digest_of(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_an_upload_of_fifty_mebibytes(site: Site, session, fifty_mebibytes: Path):
    with fifty_mebibytes.open("rb") as body:
        answer = session.post(f"{site.url}/upload", data=body, timeout=TIMEOUT_S)
    assert answer.json() == digest_of(fifty_mebibytes)


def test_a_chunked_upload(site: Site, session: requests.Session):
    chunks = [bytes([number]) * 1000 for number in range(200)]
    answer = session.post(f"{site.url}/upload", data=iter(chunks), timeout=TIMEOUT_S)
    body = b"".join(chunks)
    assert answer.json() == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_a_streamed_response(site: Site, session: requests.Session):
    with session.get(f"{site.url}/stream", stream=True, timeout=TIMEOUT_S) as answer:
        lines = list(answer.iter_lines(decode_unicode=True))
    assert lines == [f"line {number}" for number in range(1, 1001)]


def test_what_does_not_exist_is_a_404(site: Site, session: requests.Session):
    assert session.get(f"{site.url}/missing", timeout=TIMEOUT_S).status_code == 404


def test_an_exception_is_a_500_whose_traceback_is_in_the_log_alone(site: Site, session):
    before = site.server.log.count("MistakeError: secret of the application$")
    answer = session.get(f"{site.url}/mistake", timeout=TIMEOUT_S)
    assert answer.status_code == 500
    for secret in ("secret", "Traceback", "MistakeError", "_site.py"):
        assert secret not in answer.text
    site.server.log.wait_for("MistakeError: secret of the application$", times=before + 1)
    assert site.server.log.count("Traceback") >= before + 1
    assert site.server.log.count("raise MistakeError$") >= before + 1


def accepted(site: Site) -> set[str]:
    """Return the inodes of the sockets that the server has accepted. Source: proc(5).

    They have the name that the listener got when it was bound, before it was published.
    """
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    connected, bound = "03", f"{site.server.socket}.d/"
    return {row[6] for row in rows if row[5] == connected and row[-1].startswith(bound)}


def test_nginx_uses_one_connection_for_request_after_request(site: Site, session):
    session.get(f"{site.url}/told", timeout=TIMEOUT_S)
    before = accepted(site)
    assert before
    for number in range(50):
        session.get(f"{site.url}/told", timeout=TIMEOUT_S)
        session.post(f"{site.url}/form", data={"n": number}, timeout=TIMEOUT_S)
        session.get(f"{site.url}/missing", timeout=TIMEOUT_S)
    assert accepted(site) == before


@pytest.mark.root
def test_each_of_the_three_has_a_user_of_its_own(site: Site):
    found = site.server.socket.stat()
    owner, group = pwd.getpwuid(found.st_uid).pw_name, found.st_gid
    assert (owner, group) == ("root", pwd.getpwnam("www-data").pw_gid)
    assert found.st_mode & 0o7777 == 0o660
    (worker,) = site.server.workers
    app_uid, nginx_uid = (str(pwd.getpwnam(name).pw_uid) for name in (APP_USER, "www-data"))
    assert status_of(worker)["Uid"].split() == [app_uid] * 4
    for pid in children_of(site.front.process.pid):
        assert status_of(pid)["Uid"].split() == [nginx_uid] * 4


# ---- without buffering --------------------------------------------------------------------------


def test_a_chunked_upload_that_nginx_passes_on_as_it_comes(unbuffered_site: Site, session):
    for size in (0, 1, 1000, 70_000, 3_000_000):
        body = os.urandom(size)
        chunks = (body[at : at + 5000] for at in range(0, size, 5000))
        answer = session.post(f"{unbuffered_site.url}/upload", data=chunks, timeout=TIMEOUT_S)
        assert answer.json() == {"size": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_an_upload_that_nginx_passes_on_as_it_comes(
    unbuffered_site: Site, session, fifty_mebibytes
):
    with fifty_mebibytes.open("rb") as body:
        answer = session.post(f"{unbuffered_site.url}/upload", data=body, timeout=TIMEOUT_S)
    assert answer.json() == digest_of(fifty_mebibytes)


def test_each_line_arrives_before_the_next_is_made(unbuffered_site: Site, module_directory: Path):
    pipe = open_to_applications(module_directory) / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    with socket.create_connection(("127.0.0.1", unbuffered_site.port), timeout=TIMEOUT_S) as client:
        client.sendall(f"GET /live HTTP/1.0\r\nHost: localhost\r\nX-Pipe: {pipe}\r\n\r\n".encode())
        stream = client.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        assert stream.readline() == b"0\n"
        with pipe.open("wb", buffering=0) as tell:
            for number in range(1, 6):
                tell.write(b"x")
                assert stream.readline() == f"{number}\n".encode()
        assert stream.read() == b""


# ---- refusals -----------------------------------------------------------------------------------

BODY = b"x" * 900 * 1024


def statuses(site: Site, *paths: str) -> list[int]:
    """Return what uploads get, each on a connection of its own.

    An unbuffered nginx that got an early answer promises keep-alive to its client, and closes.
    """
    urls = [f"{site.url}/{path}" for path in paths]
    return [requests.post(url, data=BODY, timeout=TIMEOUT_S).status_code for url in urls]


@pytest.mark.parametrize("change", [str, unbuffered])
def test_a_refusal_by_the_server_passes_through_nginx(open_site: Open, change):
    """Our nginx allows more than the server: the 413 comes while the body is on its way."""
    site = open_site("plain_site:app", "--limit-request-body", "100k", change=change)
    assert statuses(site, *["upload"] * 200) == [413] * 200


@pytest.mark.parametrize("change", [str, unbuffered])
def test_an_answer_before_the_body_was_read_passes_through_nginx(open_site: Open, change):
    site = open_site("plain_site:app", change=change)
    assert statuses(site, *["mistake", "missing"] * 100) == [500, 404] * 100


def test_a_body_over_the_limit_is_refused_by_nginx(site: Site):
    with socket.create_connection(("127.0.0.1", site.port), timeout=TIMEOUT_S) as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 67108865\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


# ---- wsgiref.validate ---------------------------------------------------------------------------


def test_wsgiref_validate_finds_nothing_behind_nginx(open_site: Open, session: requests.Session):
    site = open_site("validated:app")
    lines = b"line\n" * 40_000
    for target in ("/", "/a%20b?c=d", "/?how=parts", "/?how=write", "/?status=204"):
        assert session.get(f"{site.url}{target}", timeout=TIMEOUT_S).ok
        assert session.head(f"{site.url}{target}", timeout=TIMEOUT_S).ok
        for body in (b"", b"hello", lines, iter([lines, lines])):
            answer = session.post(f"{site.url}{target}", data=body, timeout=TIMEOUT_S)
            assert answer.ok, answer.text
    assert site.server.log.count("AssertionError|Traceback|Warning") == 0
