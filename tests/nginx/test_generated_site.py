"""A real nginx with the generated site in front of a socket that shows what nginx sends.

The server behind it is not udsrv, so what is tested is the configuration alone.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support import nginx
from support.directories import make_shared_directory
from support.settings import make_settings
from udsrv.generate.nginx import NginxOptions, nginx_files

ID = "0123456789abcdef.client"


@dataclass
class Behind:
    """A server on a Unix socket that notes each head and says what it was told to say."""

    listener: socket.socket
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    def serve(self) -> None:
        """Serve connections, one after the other in threads, until the listener is shut down."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection:
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
                head, end, body = received.partition(b"\r\n\r\n")
                length = re.search(rb"\r\nContent-Length: (\d+)", head)
                if end and len(body) >= int(length[1] if length else 0):
                    self.heads.append(head.decode("latin-1"))
                    received = b""
                    if not self.answer:
                        return
                    connection.sendall(self.answer)

    def header(self, name: str) -> list[str]:
        """Return the values of one header in the latest request."""
        lines = self.heads[-1].split("\r\n")[1:]
        pairs = [line.partition(": ") for line in lines]
        return [value for key, _, value in pairs if key.lower() == name.lower()]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Site:
    port: int
    behind: Behind

    def ask(
        self, method: str = "GET", path: str = "/", body: bytes | None = None, **headers: str
    ) -> Reply:
        """Send one request through nginx; ``X_Name`` in a keyword stands for ``X-Name``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Host": "example.com", **named})
        response = connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        connection.close()
        return reply


@pytest.fixture
def site() -> Iterator[Site]:
    directory = make_shared_directory("generated")
    path = directory / "app.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(16)
    behind = Behind(listener)
    thread = threading.Thread(target=behind.serve)
    thread.start()
    port = nginx.free_port()
    instance = nginx.start(directory / "nginx", config_for(path, port))
    yield Site(port, behind)
    instance.stop()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    shutil.rmtree(directory)


def config_for(path: Path, port: int) -> str:
    options = NginxOptions(
        command="udsrv gen-nginx", server_names=("example.com",), listen=(f"127.0.0.1:{port}",)
    )
    settings = make_settings(socket=str(path), limit_request_body="1000")
    return nginx_files(settings, options)[0].text


def test_what_a_client_claims_about_itself_is_replaced(site: Site):
    site.ask(
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Proto="https",
        X_Forwarded_Host="evil.example",
        X_Forwarded_Port="443",
        X_Forwarded_Prefix="/admin",
        X_Real_IP="6.6.6.6",
        X_Request_Start="t=0",
        Forwarded="for=6.6.6.6",
        Proxy="http://evil.example",
    )
    names = ("For", "Proto", "Host", "Port", "Prefix")
    assert [site.behind.header(f"X-Forwarded-{name}") for name in names] == [
        *(["127.0.0.1"], ["http"], ["example.com"], [str(site.port)], [])
    ]
    assert site.behind.header("X-Real-IP") == ["127.0.0.1"]
    assert re.fullmatch(r"t=\d{10}\.\d{3}", site.behind.header("X-Request-Start")[0])
    assert site.behind.header("Forwarded") == site.behind.header("Proxy") == []
    assert site.behind.header("Host") == ["example.com"]


@pytest.mark.parametrize(
    ("asked", "upgrade", "connection"),
    [
        ("websocket", ["websocket"], ["upgrade"]),
        ("WebSocket", ["websocket"], ["upgrade"]),
        ("h2c", [], []),
        ("websocket, h2c", [], []),
    ],
)
def test_only_websocket_is_upgraded(site: Site, asked, upgrade, connection):
    site.ask(Upgrade=asked, Connection="Upgrade")
    assert site.behind.header("Upgrade") == upgrade
    assert site.behind.header("Connection") == connection


def test_requests_share_a_connection_to_the_socket(site: Site):
    for _ in range(5):
        assert site.ask().status == 200
    assert (len(site.behind.heads), site.behind.connections) == (5, 1)
    assert site.behind.heads[0].startswith("GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("path", ["/a/%2e%2e%2Fx//y?z=%00", "/a%20b;c"])
def test_the_target_arrives_as_it_was_sent(site: Site, path: str):
    site.ask(path=path)
    assert site.behind.heads[0].startswith(f"GET {path} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("sent", "is_kept"), [(ID, True), ("short", False), ("a" * 65, False), ("x y" * 8, False)]
)
def test_a_request_has_one_id_everywhere(site: Site, sent: str, is_kept: bool):
    site.behind.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-ID: own\r\n\r\n"
    response = site.ask(X_Request_ID=sent)
    (seen,) = site.behind.header("X-Request-ID")
    assert (seen == sent) is is_kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{16,64}", seen)
    assert response.headers.get_all("X-Request-ID") == [seen]


def test_a_body_over_the_limit_costs_the_worker_nothing(site: Site):
    assert site.ask("POST", body=b"x" * 1001).status == 413
    assert site.behind.heads == []
    assert site.ask("POST", body=b"x" * 1000).status == 200


def test_an_application_can_not_choose_another_location(site: Site):
    site.behind.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Accel-Redirect: /elsewhere\r\n\r\nown"
    )
    assert site.ask().body == b"own"
    assert len(site.behind.heads) == 1


def test_a_response_that_says_so_is_streamed(site: Site):
    # The head and the first chunk must reach the client although the response never ends.
    site.behind.answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n"
        b"Content-Type: text/event-stream\r\n\r\n6\r\ndata:\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        received = b""
        while b"data:\n" not in received:
            chunk = client.recv(65536)
            assert chunk, received
            received += chunk


@pytest.mark.parametrize(("method", "runs"), [("GET", 2), ("POST", 1)])
def test_a_post_never_runs_twice(site: Site, method: str, runs: int):
    assert site.ask().status == 200  # leaves a connection that nginx keeps
    site.behind.answer = b""  # and that is now closed in the face of the next request
    assert site.ask(method, body=b"once" if method == "POST" else None).status == 502
    assert len(site.behind.heads) == 1 + runs


def test_a_server_that_went_away_is_used_again_at_once(site: Site):
    site.behind.answer = b""
    for _ in range(3):
        assert site.ask("POST", body=b"x").status == 502
    site.behind.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert site.ask().status == 200


def test_no_version_is_shown(site: Site):
    assert site.ask().headers["Server"] == "nginx"
