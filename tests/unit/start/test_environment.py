"""The environment of the application, and the file that secrets come from."""

import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udsrv.errors import ConfigError
from udsrv.start.environment import DEFAULT_PATH, Environment, environment, parse_env_file

ACCOUNT = pwd.struct_passwd(("app", "x", 900, 900, "", "/srv/app", "/bin/bash"))
OWN = {
    "HOME": "/srv/app",
    "USER": "app",
    "LOGNAME": "app",
    "SHELL": "/bin/bash",
    "PATH": f"/venv/bin:{DEFAULT_PATH}",
}


def made(inherited=(), *, account=ACCOUNT, pass_env=(), from_file=(), named=()) -> Environment:
    return environment(
        dict(inherited),
        account=account,
        python="/venv/bin/python3",
        pass_env=pass_env,
        from_file=dict(from_file),
        named=dict(named),
    )


def test_the_application_gets_its_users_variables_and_not_roots():
    root = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/zsh", "PATH": "/x"}
    assert made(root).variables == OWN


def test_an_account_without_home_and_shell_gets_usable_ones():
    account = pwd.struct_passwd(("900", "x", 900, 900, "", "", ""))
    variables = made(account=account).variables
    assert (variables["HOME"], variables["SHELL"]) == ("/", "/bin/sh")


def test_the_locale_and_the_time_zone_are_inherited():
    locale = {"LANG": "de_DE.UTF-8", "LANGUAGE": "de", "LC_TIME": "C", "TZ": "Europe/Berlin"}
    assert made(locale).variables == OWN | locale


@pytest.mark.parametrize(
    "name",
    ["PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "LD_PRELOAD", "DATABASE_URL", "SSH_AUTH_SOCK"],
)
def test_nothing_else_is_and_its_name_is_reported(name):
    result = made({name: "value"})
    assert result.variables == OWN
    assert result.dropped == (name,)


def test_dropped_names_are_sorted_and_the_unremarkable_ones_left_out():
    noise = {"PATH": "", "PWD": "", "_": "", "TERM": "", "INVOCATION_ID": "", "UDSRV_WORKERS": "2"}
    assert made({"B": "", "A": "", **noise}).dropped == ("A", "B")


@pytest.mark.parametrize("glob", ["DATABASE_URL", "DATA*", "*"])
def test_what_the_operator_names_is_passed(glob):
    result = made({"DATABASE_URL": "value"}, pass_env=(glob,))
    assert result.variables["DATABASE_URL"] == "value"
    assert result.dropped == ()


def test_a_wide_pattern_passes_no_identity():
    result = made({"HOME": "/root", "USER": "root", "PATH": "/opt/bin"}, pass_env=("*",))
    assert result.variables == OWN | {"PATH": "/opt/bin"}


@pytest.mark.parametrize(
    "name",
    [
        "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "MAINPID",
        "UDSRV_SOCKET",
    ],
)  # fmt: skip
def test_what_is_between_the_master_and_its_starter_is_never_passed(name):
    result = made({name: "value"}, pass_env=("*",))
    assert name not in result.variables
    assert name not in result.dropped


def test_the_later_source_wins():
    inherited = {"A": "inherited", "B": "inherited", "C": "inherited"}
    file = {"B": "file", "C": "file", "HOME": "/elsewhere"}
    result = made(inherited, pass_env=("*",), from_file=file, named={"C": "named"})
    got = {name: result.variables[name] for name in ("A", "B", "C", "HOME")}
    assert got == {"A": "inherited", "B": "file", "C": "named", "HOME": "/elsewhere"}


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", {}),
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("# comment\n\n  \nA=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=x=y", {"A": "x=y"}),
        ("A=", {"A": ""}),
        ("A='quoted # text'\nB=\"two words\"", {"A": "quoted # text", "B": "two words"}),
        ("A='", {"A": "'"}),
        ("A='x\"", {"A": "'x\""}),
        ("A=$HOME `id` \\n", {"A": "$HOME `id` \\n"}),
        ("  A=1  ", {"A": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=line\u2028separator", {"A": "line\u2028separator"}),
        ("A=form\x0cfeed\x85", {"A": "form\x0cfeed\x85"}),
    ],
)
def test_an_environment_file_is_name_equals_value_lines(text, variables):
    assert parse_env_file(text.encode(), "/etc/app.env") == variables


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"A=1\nnonsense", "/etc/app.env:2 is not NAME=VALUE"),
        (b"export A=1", "/etc/app.env:1 is not NAME=VALUE"),
        (b"=1", "/etc/app.env:1 is not NAME=VALUE"),
        (b"A B=1", "/etc/app.env:1 is not NAME=VALUE"),
        (b"1A=1", "/etc/app.env:1 is not NAME=VALUE"),
        ("Ä=1".encode(), "/etc/app.env:1 is not NAME=VALUE"),
        (b"A=\0", "/etc/app.env:1 is not NAME=VALUE"),
        (b"A=\xff", "/etc/app.env is not UTF-8 at byte 2"),
        (b"NOTIFY_SOCKET=/x", "/etc/app.env:1: NOTIFY_SOCKET never reaches the application"),
        (b"LISTEN_FDS=1", "LISTEN_FDS never reaches the application"),
    ],
)
def test_anything_else_is_refused_by_its_line(data, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_env_file(data, "/etc/app.env")


@given(st.text())
def test_a_refusal_repeats_nothing_of_the_file(secret):
    with pytest.raises(ConfigError) as caught:
        parse_env_file(f"!{secret}HUSH".encode("utf-8", "surrogatepass"), "/f")
    assert "HUSH" not in str(caught.value)
