"""What the application is told about a request: PEP 3333, RFC 3875, and who is believed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable

import pytest

from support import raw_http
from support.accounts import ORDINARY_USER
from support.servers import Udsrv


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("hello:echo", "--threads", str(threads))


@pytest.fixture(scope="module")
def cases(serve: Callable[..., Udsrv]) -> Udsrv:
    return serve("cases:app")


def head(target: str = "/", *fields: str, method: str = "GET", host: str = "a") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def environ_of(server: Udsrv, raw: bytes) -> dict[str, object]:
    answer = raw_http.request(server.socket, raw)
    assert answer.status == 200
    return json.loads(answer.body)["environ"]


def test_every_key_of_pep_3333_is_there(server: Udsrv, threads: int):
    body = b"hello"
    environ = environ_of(
        server,
        head(
            "/a/b?c=d&e",
            *("Content-Type: text/x", "Content-Length: 5", "X-One: 1", "User-Agent: me"),
            method="PUT",
            host="example.com:8080",
        )
        + body,
    )
    expected = {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d&e",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "5",
        "SERVER_NAME": "example.com",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.com:8080",
        "HTTP_X_ONE": "1",
        "HTTP_USER_AGENT": "me",
        "REMOTE_ADDR": "",
        "wsgi.url_scheme": "http",
        "wsgi.multithread": threads > 1,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert "HTTP_CONTENT_TYPE" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ
    assert all(value for name, value in environ.items() if name.startswith("HTTP_"))


def test_more_workers_are_announced(start_udsrv):
    server = start_udsrv("hello:echo", "--workers", "2")
    assert environ_of(server, head())["wsgi.multiprocess"] is True


def test_types_are_those_that_pep_3333_demands(cases: Udsrv):
    told = json.loads(raw_http.get(cases.socket, "/types").body)
    assert told["exact dict"]
    assert told["names are str"]
    assert told["version"] == [1, 0]
    assert told["types"]["wsgi.version"] == "tuple"
    assert told["input"] == [True] * 4
    assert told["errors"] == [True] * 3
    others = {
        kind
        for name, kind in told["types"].items()
        if name not in ("wsgi.version", "wsgi.input", "wsgi.errors", "wsgi.file_wrapper")
    }
    assert others == {"str", "bool"}


def test_what_is_written_to_wsgi_errors_is_logged(cases: Udsrv):
    raw_http.get(cases.socket, "/errors?by-test")
    cases.log.wait_for("errors got by-test$")
    cases.log.wait_for("two$")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("/a?b?c=%20+", "/a", "b?c=%20+"),
        ("/a%20b%2Fc+d", "/a b/c+d", ""),
        ("/%C3%A9%ff%80", "/\xc3\xa9\xff\x80", ""),
        ("/%e9", "/\xe9", ""),
        ("/%00%0d%0a", "/\0\r\n", ""),
        ("/%25%3F%23", "/%?#", ""),
        ("/%2541", "/%41", ""),
        ("/a/../b/./c", "/a/../b/./c", ""),
        ("//a//b", "//a//b", ""),
        ("/%2e%2e/", "/../", ""),
        ("/;a=b:@!$&'()*,", "/;a=b:@!$&'()*,", ""),
        ("http://a/x?y", "/x", "y"),
        ("http://a?y", "/", "y"),
        ("http://a", "/", ""),
    ],
)
def test_a_path_is_decoded_once_and_a_query_never(server: Udsrv, target, path, query):
    environ = environ_of(server, head(target))
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["SCRIPT_NAME"] == ""


@pytest.mark.parametrize("target", ["/%", "/%4", "/%zz", "/a%2", "/%C3%A"])
def test_a_broken_escape_is_refused(server: Udsrv, target: str):
    assert raw_http.request(server.socket, head(target)).status == 400


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("a", "a", "80"),
        ("a:80", "a", "80"),
        ("Example.COM:8080", "Example.COM", "8080"),
        ("127.0.0.1:1", "127.0.0.1", "1"),
        ("[::1]", "[::1]", "80"),
        ("[2001:db8::1]:8443", "[2001:db8::1]", "8443"),
    ],
)
def test_the_servers_name_and_port_are_those_of_host(server: Udsrv, host, name, port):
    environ = environ_of(server, head(host=host))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["HTTP_HOST"] == host


def test_name_and_port_are_never_empty(server: Udsrv):
    environ = environ_of(server, b"GET / HTTP/1.0\r\n\r\n")
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PORT"] == "80"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert "HTTP_HOST" not in environ


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        (["X-A: 1", "x-a: 2", "X-A: 3"], "HTTP_X_A", "1,2,3"),
        (["Accept: a, b", "Accept: c"], "HTTP_ACCEPT", "a, b,c"),
        (["Cookie: a=1", "Cookie: b=2"], "HTTP_COOKIE", "a=1; b=2"),
        (["X-A: caf\xe9"], "HTTP_X_A", "caf\xe9"),
        (["X-A:  \t spaced out \t "], "HTTP_X_A", "spaced out"),
        (["X-A:"], "HTTP_X_A", ""),
        (["X-A: a\tb"], "HTTP_X_A", "a\tb"),
        (["X.Y!z: 1"], "HTTP_X.Y!Z", "1"),
    ],
)
def test_a_header_is_one_value(server: Udsrv, fields, key, value):
    assert environ_of(server, head("/", *fields))[key] == value


def test_any_method_that_is_a_token_reaches_the_application(server: Udsrv):
    for method in ("GET", "DELETE", "PATCH", "TRACE", "PROPFIND", "get", "M-SEARCH", "A!#$%&'*+"):
        assert environ_of(server, head(method=method))["REQUEST_METHOD"] == method


def test_one_request_knows_nothing_of_another(server: Udsrv):
    with raw_http.Connection(server.socket) as client:
        client.send(head("/first?q", "X-Secret: 1", "X-Forwarded-Proto: https"))
        client.read_response()
        client.send(b"GET /second HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        second = json.loads(client.read_response().body)["environ"]
        client.send(head("/third"))
        third = json.loads(client.read_response().body)["environ"]
    assert not {"HTTP_X_SECRET", "HTTP_HOST", "HTTP_X_FORWARDED_PROTO"} & second.keys()
    assert (second["QUERY_STRING"], second["wsgi.url_scheme"]) == ("", "http")
    assert (third["SERVER_PROTOCOL"], third["HTTP_HOST"]) == ("HTTP/1.1", "a")


# What comes with every request, so that a server may be tempted to take it for given.
USUAL = {
    "Host": ["a", "b:8080"],
    "Accept": ["*/*", "text/html"],
    "accept": ["*/*"],
    "Accept-Encoding": ["gzip", "gzip, br", "br"],
    "Accept-Language": ["en"],
    "Cookie": ["a=1", "b=2"],
    "Sec-Fetch-Mode": ["cors"],
    "User-Agent": ["one", "two"],
    "X-Forwarded-For": ["1.2.3.4", "2.3.4.5", "unknown"],
    "X-Forwarded-Proto": ["https", "http"],
    "X-Real-IP": ["1.2.3.4", "2.3.4.5"],
    "X-Some-Thing-That-Nobody-Has-Heard-Of-Yet": ["1", "2"],
}


def told_of(fields: list[tuple[str, str]]) -> dict[str, str]:
    """What an environ says of these fields."""
    told: dict[str, str] = {}
    for name, value in fields:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        between = "; " if name == "Cookie" else ","
        told[key] = f"{told[key]}{between}{value}" if key in told else value
    last = [value for name, value in fields if name == "X-Forwarded-For"][-1:]
    told["REMOTE_ADDR"] = last[0] if last and last[0] != "unknown" else ""
    is_https = [value for name, value in fields if name == "X-Forwarded-Proto"][-1:] == ["https"]
    told["wsgi.url_scheme"] = "https" if is_https else "http"
    return told


@pytest.mark.parametrize("seed", range(4))
def test_headers_are_those_of_the_request_however_many_were_alike_before_it(
    server: Udsrv, seed: int
):
    chance = random.Random(seed)  # noqa: S311  # no secret
    with raw_http.Connection(server.socket) as client:
        for _ in range(12):
            names = ["Host", *chance.sample([*USUAL][1:], chance.randint(0, 9))]
            fields = [(name, chance.choice(USUAL[name])) for name in names]
            # Some runs never lack a header, so that their lines are learnt as well.
            kept, changed = chance.choice([(0.99, 0), (1, 0), (1, 0.01)])
            for _ in range(chance.choice((1, 70, 150, 500))):
                other = [
                    (name, chance.choice(USUAL[name]) if chance.random() < changed else value)
                    for name, value in fields
                    if name == "Host" or chance.random() < kept
                ]
                if chance.random() < 0.01:
                    name = chance.choice([*USUAL][1:])
                    other.insert(
                        chance.randint(0, len(other)), (name, chance.choice(["", *USUAL[name]]))
                    )
                check_told(client, other)


def check_told(client: raw_http.Connection, fields: list[tuple[str, str]]) -> None:
    """Have a request with these fields served, and see that its environ says just that."""
    client.send(head("/", *map(": ".join, fields)).replace(b"Host: a\r\n", b"", 1))
    environ = json.loads(client.read_response().body)["environ"]
    told = told_of(fields)
    names_told = {name for name in environ if name.startswith("HTTP_")} | told.keys()
    assert {name: environ.get(name) for name in names_told} == told


def test_a_header_that_differs_after_many_that_were_alike_is_seen(server: Udsrv):
    usual = [
        ("Host", "a"),
        ("X-Forwarded-For", ""),
        ("X-Forwarded-Proto", "https"),
        ("Accept", "*/*"),
        ("User-Agent", "one"),
        ("Accept-Language", "en"),
    ]
    first, *others = usual
    variants = [
        *([*usual[:at], (name, "1.1.1.1"), *usual[at + 1 :]] for at, (name, _) in enumerate(usual)),
        *([*usual[:at], *usual[at + 1 :]] for at in range(1, len(usual))),
        *([*usual, (name, "2.2.2.2")] for name, _ in others),
        *([(name, "3.3.3.3"), *usual] for name, _ in others),
        *([*usual, twice] for twice in others),
        [first, *reversed(others)],
        [first],
    ]
    with raw_http.Connection(server.socket) as client:
        for variant in variants:
            for _ in range(300):
                check_told(client, usual)
            check_told(client, variant)


# ---- who is believed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ([], ""),
        (["X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
        (["X-Forwarded-For: 6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (["X-Forwarded-For: 6.6.6.6,\t2001:db8::1 "], "2001:db8::1"),
        (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
        (["X-Forwarded-For: unix:"], ""),
        (["X-Forwarded-For: 6.6.6.6, "], ""),
        (["X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6", "Client-IP: 6.6.6.6"], ""),
    ],
)
def test_the_last_address_of_a_trusted_peer_is_the_clients(server: Udsrv, fields, address):
    assert environ_of(server, head("/", *fields))["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("fields", "scheme", "port"),
    [
        ([], "http", "80"),
        (["X-Forwarded-Proto: https"], "https", "443"),
        (["X-Forwarded-Proto: http"], "http", "80"),
        (["X-Forwarded-Proto: HTTPS"], "http", "80"),
        (["X-Forwarded-Proto: https, http"], "http", "80"),
        (["X-Forwarded-Proto: wss"], "http", "80"),
        (["X-Forwarded-Ssl: on", "X-Forwarded-Scheme: https", "Front-End-Https: on"], "http", "80"),
    ],
)
def test_only_exactly_https_is_https(server: Udsrv, fields, scheme, port):
    environ = environ_of(server, head("/", *fields))
    assert (environ["wsgi.url_scheme"], environ["SERVER_PORT"]) == (scheme, port)


FORWARDED = head(
    "/",
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: other.example",
    "X-Forwarded-Prefix: /other",
    "X-Real-IP: 1.2.3.4",
    "Forwarded: for=1.2.3.4",
    "X-Plain: kept",
)

# Neither nginx's user nor in its group. Who asks owns the socket in these tests, so it may connect.
STRANGER = "list"


def forwarded_seen_by(server: Udsrv, user: str, **groups: object) -> tuple[str, str, set[str]]:
    answer = raw_http.request_as(user, server.socket, FORWARDED, **groups)
    environ = json.loads(answer.body)["environ"]
    assert environ["HTTP_X_PLAIN"] == "kept"
    names = {name for name in environ if "FORWARDED" in name or "REAL_IP" in name}
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], names


ALL_NAMES = {
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
}


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "user", "groups", "is_believed"),
    [
        ((), STRANGER, {}, False),
        ((), "www-data", {"group": "nogroup"}, True),
        ((), "root", {"group": "nogroup"}, True),
        ((), STRANGER, {"group": "www-data"}, True),
        ((), STRANGER, {"groups": ["www-data"]}, True),
        (("--trusted-peer", STRANGER), STRANGER, {}, True),
        (("--trusted-peer", "games"), STRANGER, {}, False),
        (("--trusted-peer", "%mail"), STRANGER, {}, False),
        (("--trusted-peer", "%mail"), STRANGER, {"group": "mail"}, True),
        (("--trusted-peer", "%mail"), STRANGER, {"groups": ["daemon", "mail"]}, True),
        (("--trusted-peer", "games", "--trusted-peer", "%mail"), "root", {}, True),
    ],
)
def test_the_kernel_says_who_is_believed(start_udsrv, options, user, groups, is_believed):
    server = start_udsrv(
        *("hello:echo", "--user", ORDINARY_USER),
        *("--socket-owner", user, "--socket-group", "www-data", *options),
    )
    seen = forwarded_seen_by(server, user, **groups)
    assert seen == (("1.2.3.4", "https", ALL_NAMES) if is_believed else ("", "http", set()))


@pytest.mark.root
def test_a_stranger_is_not_believed_because_others_were_before_it(start_udsrv):
    server = start_udsrv(
        *("hello:echo", "--user", ORDINARY_USER),
        *("--socket-owner", STRANGER, "--socket-group", "www-data"),
    )
    with raw_http.Connection(server.socket) as trusted:
        for _ in range(150):
            trusted.send(FORWARDED)
            assert json.loads(trusted.read_response().body)["environ"].keys() >= ALL_NAMES
    assert forwarded_seen_by(server, STRANGER) == ("", "http", set())


def test_without_root_its_own_user_is_believed(start_udsrv):
    server = start_udsrv("hello:echo", run_as=ORDINARY_USER if os.getuid() == 0 else None)
    assert environ_of(server, FORWARDED)["REMOTE_ADDR"] == "1.2.3.4"
