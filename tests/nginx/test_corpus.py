"""Real applications answer byte for byte what they answer under Gunicorn.

Both servers run the same application, each on a Unix socket of its own behind an nginx of its own
with the configuration that gen-nginx prints; only the path of the socket and the port differ.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from support import gunicorn, nginx
from support.accounts import APP_USER, IS_ROOT, make_accounts, own_name
from support.corpus import TABLES, Answer, Ask, Client
from support.directories import make_directory_of
from support.servers import UDSRV, Udsrv
from support.waiting import PATIENCE_S

DOCS = Path(__file__).parents[2] / "docs"

# What no two runs of an application share: times, and what it draws by chance.
CHANCE = [
    (rb'(name="csrfmiddlewaretoken" value=")\w+', rb"\1TOKEN"),
    (rb"(<ns0:(?:creationdate|getlastmodified|getetag|quota-[a-z-]+)>)[^<]*", rb"\1CHANCE"),
    (rb"(opaquelocktoken:)[0-9a-fx-]+", rb"\1CHANCE"),
    (rb"(WsgiDAV/[\d.]+</a> - )[\d:. -]+", rb"\1CHANCE"),
]
CHANCE_IN_HEADERS = [
    (r"^(csrftoken|sessionid|session|messages)=[^;]+", r"\1=CHANCE"),
    (r"expires=[^;]+", "expires=CHANCE"),
    (r"(opaquelocktoken:)[0-9a-fx-]+", r"\1CHANCE"),
]


def headers_that_may_differ() -> set[str]:
    """Return the headers that the documentation lists."""
    page = (DOCS / "http-support.md").read_text()
    _, _, section = page.partition("## Headers that differ from Gunicorn's\n")
    assert section
    section, _, _ = section.partition("\n## ")
    return {name.lower() for name in re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)}


@dataclass
class Pair:
    """One application under both servers."""

    udsrv: Udsrv
    gunicorn: gunicorn.Gunicorn
    ours: Client
    theirs: Client


def printed_config(path: Path, port: int) -> str:
    """Return what gen-nginx prints."""
    where = ["--server-name", "localhost", "--listen", f"127.0.0.1:{port}"]
    command = [UDSRV, "gen-nginx", "--socket", path, *where]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture
def start_pair(start_udsrv, start_nginx, shared_directory: Path) -> Iterator[Callable[..., Pair]]:
    """Return a function that starts an application under both, and an nginx for each."""
    started: list[gunicorn.Gunicorn] = []
    who = own_name()
    user: tuple[str, ...] = ()
    if IS_ROOT:
        make_accounts()
        who, user = APP_USER, ("--user", APP_USER)

    def start(app: str) -> Pair:
        for name in ("ours", "theirs", "gunicorn"):
            make_directory_of(who, shared_directory / name)
            make_directory_of(who, shared_directory / name / "data")
        name, threads = f"{app}:app", "2"
        data = f"DATA={shared_directory / 'ours' / 'data'}"
        # The seed: what an application makes of a set has the same order under both.
        variables = ("-e", data, "-e", "PYTHONHASHSEED=0")
        options = (*user, "--threads", threads, "--write-path", str(shared_directory / "ours"))
        ours = start_udsrv(name, *options, *variables, ready=False)
        theirs = gunicorn.start(
            ours.directory / "app",
            name,
            shared_directory / "gunicorn" / "app.sock",
            run_as=who,
            threads=int(threads),
            environ={"DATA": str(shared_directory / "theirs" / "data"), "PYTHONHASHSEED": "0"},
        )
        started.append(theirs)
        ours.wait_ready()
        theirs.wait_ready()
        ports = [nginx.free_port(), nginx.free_port()]
        for path, port in zip((ours.socket, theirs.socket), ports, strict=True):
            start_nginx(printed_config(path, port))
        return Pair(ours, theirs, Client(ports[0]), Client(ports[1]))

    yield start
    for server in started:
        server.stop()


def without_chance(answer: Answer, differ: set[str], *, is_webdav: bool) -> Answer:
    """Leave out of an answer what two runs can't share, and what is documented to differ."""
    body = answer.body
    for pattern, known in CHANCE:
        body = re.sub(pattern, known, body)
    headers = []
    for name, value in answer.headers:
        if name.lower() in differ:
            continue
        for header_pattern, text in CHANCE_IN_HEADERS:
            value = re.sub(header_pattern, text, value)
        # Files that a server wrote have times of their own; `Expires` is seconds after now.
        is_chance = name == "Expires" or (is_webdav and name in _OF_A_FILE)
        # A lock token has one digit less in every sixteenth answer, and so has the length.
        if name == "Content-Length" and value == str(len(answer.body)):
            value = str(len(body))
        headers.append((name, "CHANCE" if is_chance else value))
    return replace(answer, headers=tuple(sorted(headers)), body=body)


def like(ours: Answer, theirs: Answer) -> Answer:
    """Leave out of our answer a length that the other one doesn't have."""
    if any(name == "Content-Length" for name, _ in theirs.headers):
        return ours
    headers = tuple(field for field in ours.headers if field[0] != "Content-Length")
    return replace(ours, headers=headers)


_OF_A_FILE = {"ETag", "Last-Modified"}


@pytest.mark.parametrize("app", TABLES)
def test_an_application_answers_what_it_answers_under_gunicorn(start_pair, app: str):
    pair = start_pair(app)
    differ = headers_that_may_differ() - {"content-length"}

    def answers(client: Client) -> dict[Ask, Answer]:
        return {
            row: without_chance(client.ask(row), differ, is_webdav=app == "corpus_webdav")
            for row in TABLES[app]
        }

    ours, theirs = answers(pair.ours), answers(pair.theirs)
    assert {row: answer.status for row, answer in ours.items()} == {
        row: row.status for row in TABLES[app]
    }
    for row in TABLES[app]:
        if row.is_servers_own:
            assert theirs[row].status == row.status
        else:
            assert like(ours[row], theirs[row]) == theirs[row], row
    mistakes = sum(row.status == 500 for row in TABLES[app])
    assert pair.udsrv.log.count(r"\] error: ") <= mistakes
    assert pair.udsrv.stop() == 0


def read_head(client: socket.socket) -> tuple[list[str], BinaryIO]:
    """Return the lines of a response's head, and what its body comes from."""
    stream = client.makefile("rb")
    return list(iter(lambda: stream.readline().decode().strip(), "")), stream


def test_events_arrive_one_by_one(start_pair):
    pair = start_pair("corpus_events")
    heads, bodies = [], []
    for asking in (pair.ours, pair.theirs):
        with socket.create_connection(("127.0.0.1", asking.port), timeout=PATIENCE_S) as client:
            # Version 1.0, so that the body is not in chunks and ends where the connection does.
            client.sendall(b"GET /events?5 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            head, stream = read_head(client)
            events = []
            for number in range(1, 6):
                # The next one doesn't exist yet: it is made when this one was acknowledged.
                events.append(b"".join(iter(stream.readline, b"\n")))
                answer = asking.ask(Ask(204, "POST", "/acknowledge", str(number).encode()))
                assert answer.status == 204
            assert stream.read() == b""
        heads.append([line for line in head if not line.startswith(("Date", "X-Request-ID"))])
        bodies.append(events)
        assert asking.ask(Ask(200, "GET", "/ended")).body == b"closed after 5"
    assert bodies[0] == [f"id: {n}\ndata: event {n}\n".encode() for n in range(1, 6)]
    assert bodies[0] == bodies[1]
    assert heads[0] == heads[1]
    assert heads[0][0] == "HTTP/1.1 200 OK"


def test_events_end_in_the_application_when_nobody_listens_any_more(start_pair):
    pair = start_pair("corpus_events")
    client = socket.create_connection(("127.0.0.1", pair.ours.port), timeout=PATIENCE_S)
    with client:
        client.sendall(b"GET /events?1000 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        _, stream = read_head(client)
        assert stream.readline() == b"id: 1\n"
        stream.close()
    # Events that nobody reads; the one that can't be sent ends the generator.
    for number in range(1, 1001):
        pair.ours.ask(Ask(204, "POST", "/acknowledge", str(number).encode()))
    ended = pair.ours.ask(Ask(200, "GET", "/ended")).body
    assert int(ended.removeprefix(b"closed after ")) < 1000
