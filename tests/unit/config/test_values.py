"""Every form that a value may have, and the sentence for each that it may not have."""

from __future__ import annotations

import pytest

from udsrv.config.model import BY_NAME
from udsrv.config.values import SettingError, absolute, bound_path

START = "/srv/app"

ACCEPTED = [
    ("workers", "4", 4),
    ("workers", 4, 4),
    ("workers", "1024", 1024),
    ("backlog", "65535", 65535),
    ("start_timeout", "2.5", 2.5),
    ("start_timeout", 2.5, 2.5),
    ("start_timeout", 60, 60.0),
    ("keep_alive", "0.1", 0.1),
    ("limit_request_body", "10m", 10 * 1024 * 1024),
    ("limit_request_body", "64K", 64 * 1024),
    ("limit_request_body", "2G", 2 * 1024**3),
    ("limit_request_body", 0, 0),
    ("limit_request_body", "1048576", 1048576),
    ("socket_mode", "0660", 0o660),
    ("socket_mode", "660", 0o660),
    ("socket_mode", "600", 0o600),
    ("user", "app", "app"),
    ("user", 1000, "1000"),
    ("user", "web.app-1", "web.app-1"),
    ("user", r"DOMAIN\app", r"DOMAIN\app"),
    ("socket_owner", "root", "root"),
    ("socket_owner", "0", "0"),
    ("group", "www-data", "www-data"),
    ("name", "shop-2.de_v1", "shop-2.de_v1"),
    ("name", 7, "7"),
    ("log_level", "debug", "debug"),
    ("python", ".venv/bin/python", "/srv/app/.venv/bin/python"),
    ("python", "/usr/bin/python3", "/usr/bin/python3"),
    ("chdir", "..", "/srv"),
    ("env_file", "//etc//app.env", "/etc/app.env"),
    ("socket", "/run/app.sock", "/run/app.sock"),
    ("socket", "app.sock", "/srv/app/app.sock"),
    ("socket", "./odd:1", "/srv/app/odd:1"),
    ("app", "site.wsgi", "site.wsgi"),
    ("pythonpath", "/a, b,,/a", ("/a", "/srv/app/b")),
    ("pythonpath", ["/a,/b", "c"], ("/a", "/b", "/srv/app/c")),
    ("pythonpath", "", ()),
    ("pass_env", ["AWS_*", "TZ,LC_?"], ("AWS_*", "TZ", "LC_?")),
    ("env", ["A=1", "B=x,y=z", "C="], ("A=1", "B=x,y=z", "C=")),
    ("env", ["KEY=-----BEGIN\nline\n"], ("KEY=-----BEGIN\nline\n",)),
    ("trusted_peer", "www-data,%proxies,33", ("www-data", "%proxies", "33")),
]


@pytest.mark.parametrize(("name", "raw", "value"), ACCEPTED)
def test_a_value_is_read(name, raw, value):
    read = BY_NAME[name].read(raw, START)
    assert read == value
    assert type(read) is type(value)


REFUSED = [
    ("workers", "many", "'many' is not a whole number from 1 to 1024"),
    ("workers", "0", "'0' is not a whole number from 1 to 1024"),
    ("workers", 0, "0 is not a whole number from 1 to 1024"),
    ("workers", "1025", "'1025' is not a whole number from 1 to 1024"),
    ("workers", "-1", "'-1' is not a whole number from 1 to 1024"),
    ("workers", "+4", "'+4' is not a whole number from 1 to 1024"),
    ("workers", "1_0", "'1_0' is not a whole number from 1 to 1024"),
    ("workers", " 4", "' 4' is not a whole number from 1 to 1024"),
    ("workers", "4\n", "'4\\n' holds a character that cannot be printed"),
    ("workers", "٤", "'٤' is not a whole number from 1 to 1024"),
    ("workers", "", "'' is not a whole number from 1 to 1024"),
    ("workers", 4.0, "4.0 is not a whole number from 1 to 1024"),
    ("workers", True, "True is not a whole number from 1 to 1024"),
    ("workers", [4], "[4] is not a whole number from 1 to 1024"),
    ("workers", "9" * 30, f"'{'9' * 30}' is not a whole number from 1 to 1024"),
    ("keep_alive", "75s", "'75s' is not a number of seconds from 0.1 to 86400"),
    ("keep_alive", "0", "'0' is not a number of seconds from 0.1 to 86400"),
    ("keep_alive", float("inf"), "inf is not a number of seconds from 0.1 to 86400"),
    ("keep_alive", "nan", "'nan' is not a number of seconds from 0.1 to 86400"),
    ("body_buffer", "64kb", "'64kb' is not a number of bytes, or of k, m or g from 1k to 64m"),
    ("body_buffer", "1023", "'1023' is not a number of bytes, or of k, m or g from 1k to 64m"),
    ("body_buffer", "1.5m", "'1.5m' is not a number of bytes, or of k, m or g from 1k to 64m"),
    ("socket_mode", "0x1b0", "'0x1b0' is not a mode of three octal digits, like 0660"),
    ("socket_mode", "680", "'680' is not a mode of three octal digits, like 0660"),
    ("socket_mode", "2660", "'2660' is not a mode of three octal digits, like 0660"),
    ("socket_mode", "rw-rw----", "'rw-rw----' is not a mode of three octal digits, like 0660"),
    (
        "socket_mode",
        660,
        '660 is a number; write it as text in octal, like "0660"',
    ),
    (
        "socket_mode",
        "0666",
        "'0666' lets every user connect; use 0660 and name Nginx's group with --socket-group",
    ),
    (
        "socket_mode",
        "0661",
        "'0661' lets every user connect; use 0660 and name Nginx's group with --socket-group",
    ),
    ("socket_mode", "0460", "'0460' takes read or write from the owner; 0660 or 0600 works"),
    ("user", "a b", "'a b' is not the name or number of an account"),
    ("user", "a:b", "'a:b' is not the name or number of an account"),
    ("user", "-x", "'-x' is not the name or number of an account"),
    ("user", "", "'' is not the name or number of an account"),
    ("user", "4294967295", "'4294967295' is not the name or number of an account"),
    (
        "user",
        "root",
        "'root' would run the application as root; name an account of its own",
    ),
    ("user", "0", "'0' would run the application as root; name an account of its own"),
    ("user", "00", "'00' would run the application as root; name an account of its own"),
    ("group", "root", "'root' would run the application as root; name an account of its own"),
    ("trusted_peer", "%", "'%' is not the name of a user, or of a group after '%'"),
    ("trusted_peer", "a b", "'a b' is not the name of a user, or of a group after '%'"),
    ("name", "a/b", "'a/b' is not a name of at most 64 letters, digits, '_', '-' and '.'"),
    ("name", "..", "'..' is not a name of at most 64 letters, digits, '_', '-' and '.'"),
    ("name", "ä", "'ä' is not a name of at most 64 letters, digits, '_', '-' and '.'"),
    ("log_level", "warn", "'warn' is not one of debug, info, warning, error"),
    (
        "python",
        "python3",
        "'python3' is a bare name; give the path, like /srv/app/.venv/bin/python",
    ),
    ("chdir", "", "'' is not a path"),
    ("chdir", "/a\nb", "'/a\\nb' holds a character that cannot be printed"),
    ("chdir", "/a\0b", "'/a\\x00b' holds a character that cannot be printed"),
    ("chdir", "/a\udcff", "'/a\\udcff' holds a character that cannot be printed"),
    ("env", ["A"], "'A' is not a variable like NAME=VALUE"),
    ("env", ["=1"], "'=1' is not a variable like NAME=VALUE"),
    ("env", ["1A=1"], "'1A=1' is not a variable like NAME=VALUE"),
    ("env", ["A-B=1"], "'A-B=1' is not a variable like NAME=VALUE"),
    ("env", ["A=\0"], "'A=\\x00' holds a character that cannot be printed"),
    ("pass_env", "A B", "'A B' is not a variable's name, or a pattern with * and ?"),
    ("socket", "", "'' names no file; give the path of the socket, like /run/app.sock"),
    ("socket", "/", "'/' names no file; give the path of the socket, like /run/app.sock"),
    ("socket", "/run/", "'/run/' names no file; give the path of the socket, like /run/app.sock"),
    (
        "socket",
        "/run/..",
        "'/run/..' names no file; give the path of the socket, like /run/app.sock",
    ),
    (
        "socket",
        "@app",
        "'@app' is an abstract name, which has no owner and no mode; give the path of a file, "
        "like /run/app.sock",
    ),
    ("socket", "unix:/run/a.sock", "'unix:/run/a.sock' should be the path alone: '/run/a.sock'"),
]


@pytest.mark.parametrize(("name", "raw", "sentence"), REFUSED)
def test_a_value_is_refused_in_words(name, raw, sentence):
    with pytest.raises(SettingError) as refused:
        BY_NAME[name].read(raw, START)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("key", "key"),
        ("db.password:/etc/app/password", "db.password:/etc/app/password"),
        ("key:secrets/key", "key:/srv/app/secrets/key"),
        ("key:../a:b", "key:/srv/a:b"),
        ("_x@host+1-2:/k", "_x@host+1-2:/k"),
        ("k" * 255, "k" * 255),
    ],
)
def test_a_credential_has_a_name_and_perhaps_a_path(raw, value):
    assert BY_NAME["credential"].read([raw], "/srv/app") == (value,)


@pytest.mark.parametrize(
    "raw", ["", ":/k", "key:", ".", "..", ".key", "a b", "key\n", "Schlüssel", "k" * 256, "%h"]
)
def test_what_is_no_name_of_a_credential(raw):
    with pytest.raises(SettingError):
        BY_NAME["credential"]._read_item(raw, "/srv/app")


def test_the_path_of_a_credential_alone_is_no_name():
    with pytest.raises(SettingError) as refused:
        BY_NAME["credential"].read(["/etc/app/key"], "/srv/app")
    assert str(refused.value) == (
        "'/etc/app/key' begins with a path; say what it is called: 'key:/etc/app/key'"
    )


def test_the_directory_of_credentials_is_not_given_by_hand():
    sentence = "'CREDENTIALS_DIRECTORY' is set by udsrv, for the files that --credential names"
    with pytest.raises(SettingError, match=sentence):
        BY_NAME["env"].read(["CREDENTIALS_DIRECTORY=/k"], START)
    with pytest.raises(SettingError, match=sentence):
        BY_NAME["pass_env"].read(["CREDENTIALS_DIRECTORY"], START)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:8000",
        ":8000",
        "localhost:80",
        "localhost",
        "10.0.0.1",
        "8000",
        "[::1]:80",
        "[::1]",
        "tcp://127.0.0.1:80",
        "fd://3",
        "app.example:80",
    ],
)
def test_a_network_address_is_no_socket(text):
    with pytest.raises(SettingError, match=r"is a network address; .* use --socket /run/app\.sock"):
        BY_NAME["socket"].read(text, START)


@pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "UDSRV_WORKERS",
                                  "WATCHDOG_USEC"])  # fmt: skip
def test_what_systemd_and_udsrv_exchange_is_not_the_applications(name):
    sentence = f"'{name}' is between systemd and udsrv and never reaches the application"
    with pytest.raises(SettingError, match=sentence):
        BY_NAME["env"].read([f"{name}=1"], START)
    with pytest.raises(SettingError, match=sentence):
        BY_NAME["pass_env"].read([name], START)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/app.sock", "/run/app.sock"),
        ("unix:///run/app.sock", "/run/app.sock"),
        ("unix:app.sock", "app.sock"),
    ],
)
def test_bind_takes_a_unix_path(text, path):
    assert bound_path(text) == path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/run/a.sock", "lacks the prefix: write --bind unix:/run/a.sock, or --socket /run/a.sock"),
        ("127.0.0.1:8000", "is a network address; udsrv listens on a Unix socket only"),
        ("localhost", "is a network address; udsrv listens on a Unix socket only"),
        ("tcp://h:1/x", "is a network address; udsrv listens on a Unix socket only"),
        ("fd://3", "an inherited descriptor is not taken"),
    ],
)
def test_bind_refuses_everything_else(text, sentence):
    with pytest.raises(SettingError, match=sentence):
        bound_path(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", "/s/a"), ("/a", "/a"), ("//a", "/a"), ("./a/../b", "/s/b"), ("a/", "/s/a")],
)
def test_a_path_is_made_absolute(text, path):
    assert absolute(text, "/s") == path
