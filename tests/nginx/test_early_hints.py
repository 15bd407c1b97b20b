"""Early hints through an nginx that knows them, with the configuration we print."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

import pytest

from support import nginx
from support.accounts import IS_ROOT, ORDINARY_USER
from support.servers import UDSRV
from support.waiting import PATIENCE_S

# Source: RFC 9113 3.4, 4.1, 6.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _SETTINGS = 1, 4
_END_STREAM, _END_HEADERS = 1, 4
# RFC 7541 6.1 and A: `:status 200` is number 8 of the static table.
_STATUS_200 = b"\x88"


@pytest.fixture(scope="module")
def port(start_module_udsrv, start_module_nginx, module_directory: Path) -> int:
    """The port of an nginx in front of an application that gives hints."""
    user = ("--user", ORDINARY_USER) if IS_ROOT else ()
    server = start_module_udsrv("hints:app", *user, "--early-hints")
    port = nginx.free_port()
    where = ["--server-name", "localhost", "--listen", f"127.0.0.1:{port}"]
    command = [UDSRV, "gen-nginx", "--socket", server.socket, "--early-hints", *where]
    config = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "\n    server_name localhost;" in config
    config = config.replace("\n    server_name", "\n    http2 on;\n    server_name")
    start_module_nginx(config, program=nginx.MAINLINE)
    return port


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def _field(name: bytes, value: bytes) -> bytes:
    """Write a field as RFC 7541 6.2.2 does without tables and without Huffman codes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _heads(port: int, mode: bytes) -> list[bytes]:
    """GET / by HTTP/2; return the heads of the answers until the last one's end."""
    fields = [
        (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"),
        (b":authority", b"localhost"), (b"sec-fetch-mode", mode),
    ]  # fmt: skip
    block = b"".join(_field(*field) for field in fields)
    heads = []
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        request = _frame(_HEADERS, _END_STREAM | _END_HEADERS, 1, block)
        client.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + request)
        stream = client.makefile("rb")
        while True:
            head = stream.read(9)
            length, (kind, flags, number) = (
                int.from_bytes(head[:3]),
                struct.unpack("!BBI", head[3:]),
            )
            payload = stream.read(length)
            if number == 1 and kind == _HEADERS:
                heads.append(payload)
            if number == 1 and flags & _END_STREAM:
                return heads


def test_a_browser_that_loads_a_page_gets_them(port: int):
    hints, answer = _heads(port, b"navigate")
    assert not hints.startswith(_STATUS_200)
    assert answer.startswith(_STATUS_200)


def test_what_a_page_loads_gets_none(port: int):
    (answer,) = _heads(port, b"no-cors")
    assert answer.startswith(_STATUS_200)


def test_a_client_of_http_1_1_gets_the_answer_alone(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: navigate\r\n"
            b"Connection: close\r\n\r\n"
        )
        received = client.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"given")
