"""What gen-nginx decides, and what it can't be made to write."""

from __future__ import annotations

import re

import pytest

from support.settings import make_settings
from udsrv.errors import ConfigError, UsageError
from udsrv.generate.nginx import NginxOptions, nginx_files


def generated(
    *,
    socket: str = "/run/app/app.sock",
    server_names: tuple[str, ...] = ("example.com",),
    listen: tuple[str, ...] = ("80",),
    upstream_only: bool = False,
    command: str = "udsrv gen-nginx",
    **raw: object,
) -> str:
    options = NginxOptions(
        command=command, server_names=server_names, listen=listen, upstream_only=upstream_only
    )
    (file,) = nginx_files(make_settings(socket=socket, **raw), options)
    return file.text


def directives(text: str) -> list[str]:
    return [
        line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#}"
    ]


HEADERS = """\
proxy_set_header Host $host;
proxy_set_header Upgrade $udsrv_app_upgrade;
proxy_set_header Connection $udsrv_app_connection;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Host $host;
proxy_set_header X-Forwarded-Port $server_port;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Request-ID $udsrv_app_request_id;
proxy_set_header X-Request-Start t=$msec;
proxy_set_header Forwarded "";
proxy_set_header Proxy "";
proxy_set_header X-Forwarded-Prefix "";
""".splitlines()


def test_every_header_that_an_application_trusts_is_set_or_cleared():
    lines = directives(generated())
    assert [line for line in lines if line.startswith("proxy_set_header")] == HEADERS


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({}, "keepalive_timeout 55s;"),
        ({"keep_alive": "120"}, "keepalive_timeout 100s;"),
        ({"keep_alive": "3"}, "keepalive_timeout 1500ms;"),
        ({"keep_alive": "0.1"}, "keepalive_timeout 50ms;"),
        ({}, "client_max_body_size 10m;"),
        ({"limit_request_body": "3g"}, "client_max_body_size 3g;"),
        ({"limit_request_body": "1000"}, "client_max_body_size 1000;"),
        # 0 means any size to nginx and no body to us.
        ({"limit_request_body": "0"}, "client_max_body_size 1;"),
        ({}, "large_client_header_buffers 4 8k;"),
        ({"limit_request_line": "100"}, "large_client_header_buffers 4 8k;"),
        ({"limit_request_field_size": "20000"}, "large_client_header_buffers 4 20000;"),
    ],
)
def test_shared_numbers_follow_the_settings(raw, line):
    assert line in directives(generated(**raw))


PITFALLS = {
    "a path in proxy_pass decodes the request's": r"proxy_pass \S+://[^/;]+/",
    "$http_host is the client's word": r"\$http_host",
    "appending keeps the client's lie": r"\$proxy_add_x_forwarded_for",
    "add_header in a location drops the server's": r"location[^}]*add_header",
    "if in a location": r"\bif\b\s*\(",
    "rewrite": r"^\s*rewrite",
    "captures": r"\$[1-9]",
    "try_files": r"try_files",
    "a resolver": r"^\s*resolver",
    "TLS, which fights the distribution's": r"^\s*ssl_",
    "a second default server": r"default_server",
    "an alias": r"^\s*alias",
    "a request that runs twice": r"^\s*proxy_next_upstream .*non_idempotent",
    "max_conns has no queue": r"max_conns",
    "keep-alive is closed for every request": r"(''|\"\") close;",
    "a second copy of the socket retries at once": r"\bbackup\b",
    "buffering off hands slow clients to the worker": r"^\s*proxy_(request_)?buffering off",
}


@pytest.mark.parametrize("pattern", PITFALLS.values(), ids=PITFALLS.keys())
def test_it_can_not_contain(pattern):
    for text in (generated(), generated(upstream_only=True)):
        assert not re.search(pattern, "\n".join(directives(text)), re.MULTILINE)


def test_every_map_has_a_default_and_every_regex_is_anchored_and_quoted():
    maps = re.findall(r"^map .*?^}", generated(), re.MULTILINE | re.DOTALL)
    assert len(maps) == 3
    for text in maps:
        assert "    default " in text
        (regex,) = re.findall(r"^ +(\S*~\S*) ", text, re.MULTILINE)
        assert re.fullmatch(r'"~\*?\^.*\$"', regex)


def test_no_name_is_shared_with_another_application():
    text = generated(name="shop-eu")
    ours = set(re.findall(r"\$udsrv_\w+", text))
    assert ours == {f"$udsrv_shop_eu_{what}" for what in ("upgrade", "connection", "request_id")}
    assert "upstream udsrv_shop_eu {" in text


def test_upstream_only_is_the_upstream_block_and_says_so():
    text = generated(upstream_only=True, server_names=())
    assert [line for line in directives(text) if line.endswith("{")] == ["upstream udsrv_app {"]
    assert "# Only the upstream (--upstream-only)" in text
    assert text.removeprefix(text[: text.index("upstream udsrv_app {")]) in generated()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "~^(www\\.)?example\\.com$",
            "exa mple.com",
            "example.com;",
            "a$b",
            "a/b",
            "*",
            "a..b",
        ),
        *("café.example", "*.*.example", "-{", "example.com\n"),
    ],
)
def test_a_server_name_that_is_none_is_refused(name):
    with pytest.raises(UsageError, match="--server-name"):
        generated(server_names=(name,))


@pytest.mark.parametrize(
    "address",
    [
        *("", "http", "443 ssl", "80 default_server", "0", "65536", "99999999", "1.2.3.4", "[::1]"),
        *("unix:relative", "unix:/a b", "80;", "$port", "80\n", "٨٠"),
    ],
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UsageError, match="--listen"):
        generated(listen=(address,))


@pytest.mark.parametrize(
    "address", ["80", "*:80", "127.0.0.1:8080", "[::]:80", "localhost:80", "unix:/run/front.sock"]
)
def test_addresses_are_taken_as_nginx_writes_them(address):
    assert f"listen {address};" in directives(generated(listen=(address,)))


def test_a_server_without_a_name_is_refused():
    with pytest.raises(UsageError, match=r"--server-name example\.com, or --upstream-only"):
        generated(server_names=())


def test_a_socket_whose_path_holds_a_variable_is_refused():
    with pytest.raises(ConfigError, match=r"holds a '\$'"):
        generated(socket="/run/$host/app.sock", name="app")


def test_a_command_of_two_lines_is_refused():
    with pytest.raises(ConfigError):
        generated(command="udsrv gen-nginx\nload_module evil.so;")


@pytest.mark.parametrize(
    ("socket", "remark"),
    [
        ("/tmp/app.sock", "PrivateTmp=yes"),
        ("/var/tmp/app.sock", "PrivateTmp=yes"),
        ("/home/dev/app.sock", "traverse every directory"),
        ("/root/app.sock", "traverse every directory"),
    ],
)
def test_a_socket_that_nginx_may_not_reach_is_remarked_on(socket, remark):
    assert remark in generated(socket=socket)
    assert "Mind the socket's place" not in generated()


def test_the_first_line_says_which_command_made_it():
    assert generated(command="udsrv gen-nginx -x").startswith(
        "# Generated by: udsrv gen-nginx -x\n# Needs nginx 1.15.3 or newer."
    )
