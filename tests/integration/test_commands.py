"""The subcommands through the real launcher."""

import json
import subprocess
import tomllib

import pytest

from support.accounts import APP_USER, IS_ROOT, ORDINARY_USER, make_accounts
from support.directories import copy_readable, make_directory_of
from support.servers import APPLICATIONS, UDSRV, credentials_of


@pytest.fixture(params=["ordinary", pytest.param("root", marks=pytest.mark.root)])
def run(request, shared_directory):
    """Return a function that runs ``udsrv`` for who may, in a directory with the applications."""
    who = ORDINARY_USER if IS_ROOT else None
    user = ()
    if request.param == "root":
        make_accounts()
        who, user = "root", ("--user", APP_USER)
    make_directory_of(who or "root", shared_directory / "run") if IS_ROOT else (
        shared_directory / "run"
    ).mkdir()
    copy_readable(APPLICATIONS, shared_directory).rename(shared_directory / "app")

    def run(command: str, *words: str, app: str = "hello:app", environ=None):
        given = ["--socket", shared_directory / "run" / "app.sock", *user, *words, app]
        result = subprocess.run(
            [UDSRV, command, *given],
            cwd=shared_directory / "app",
            env={"PATH": "/usr/bin:/bin", **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            **(credentials_of(who) if who else {}),
        )
        assert list((shared_directory / "run").iterdir()) == []
        return result

    return run


def test_check_goes_through_everything_and_creates_nothing(run, shared_directory):
    result = run("check")
    assert result.returncode == 0, result.stderr
    points = [line.split()[:2] for line in result.stdout.splitlines()]
    assert points == [
        ["ok", "settings"], ["ok", "user"], ["ok", "directories"], ["ok", "socket"],
        ["ok", "sandbox"], ["ok", "writes"], ["ok", "application"],
    ]  # fmt: skip
    assert f"{shared_directory}/run: nobody else can replace what is in it" in result.stdout


@pytest.mark.parametrize(
    ("app", "sentence", "code"),
    [
        ("missing:app", "udsrv: 'missing:app' doesn't load: ModuleNotFoundError", 69),
        ("mistakes:number", "udsrv: 'mistakes:number' is an 'int', which is not callable", 69),
        ("mistakes:broken_factory()", "doesn't load: ValueError: no database", 69),
    ],
)
def test_check_finds_an_application_that_does_not_load(run, app, sentence, code):
    result = run("check", app=app)
    assert result.returncode == code
    assert sentence in result.stderr.splitlines()[-1]
    assert "ok  application" not in result.stdout


def test_check_is_not_kept_by_threads_or_ended_by_exits(run):
    threads = "import threading, time; threading.Thread(target=time.sleep, args=(999,)).start()"
    assert run("check", "-e", f"BEFORE_LOADING={threads}", app="gated:app").returncode == 0
    exits = "import os; os.kill(os.getpid(), 9)"
    assert run("check", "-e", f"BEFORE_LOADING={exits}", app="gated:app").returncode == 69


def test_check_finds_a_directory_that_others_may_write(run, shared_directory):
    (shared_directory / "run").chmod(0o777)
    result = run("check")
    assert result.returncode == 77
    assert "is writable by everybody" in result.stderr.splitlines()[-1]


def test_check_finds_accounts_that_do_not_exist(run):
    result = run("check", "--socket-group", "no-such")
    assert result.returncode == 78
    assert result.stderr == (
        "udsrv: socket_group: no group named 'no-such' (from --socket-group)\n"
    )


def test_print_config_prints_what_it_can_read_again(run, shared_directory):
    first = run("print-config", "--workers", "3", environ={"UDSRV_THREADS": "2"})
    assert first.returncode == 0, first.stderr
    settings = tomllib.loads(first.stdout)
    assert (settings["workers"], settings["threads"]) == (3, 2)
    config = shared_directory / "config.toml"
    config.write_text(first.stdout)
    again = subprocess.run(
        [UDSRV, "print-config", "--config", config],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert tomllib.loads(again.stdout) == settings


def test_print_config_as_json_and_with_origins(run):
    result = run("print-config", "--json", "--workers", "3")
    assert json.loads(result.stdout)["workers"]
    result = run("print-config", "--explain", "--workers", "3", environ={"UDSRV_THREADS": "2"})
    assert "--workers" in result.stdout
    assert "UDSRV_THREADS" in result.stdout


def test_print_config_imports_nothing_of_the_application(run):
    assert run("print-config", app="missing:app").returncode == 0


@pytest.mark.parametrize("command", ["check", "print-config"])
def test_what_platforms_say_is_the_weakest_source(run, command):
    result = run(command, environ={"WEB_CONCURRENCY": "none"})
    assert result.returncode == 78
    assert result.stderr == (
        "udsrv: workers: 'none' is not a whole number from 1 to 1024 (from WEB_CONCURRENCY)\n"
    )
    assert run(command, environ={"WEB_CONCURRENCY": "3"}).returncode == 0


def test_gunicorns_variable_is_named_and_not_read(run):
    result = run("check", environ={"GUNICORN_CMD_ARGS": "--bind 0.0.0.0:80 --no-such-flag"})
    assert result.returncode == 0
    assert (
        "warning: GUNICORN_CMD_ARGS is set and not read, so give its settings as flags or"
        " UDSRV_ variables\n"
    ) in result.stderr


def test_a_check_says_that_root_does_not_reload(run):
    result = run("check", "--reload")
    if "--user" in " ".join(map(str, result.args)):
        assert result.returncode == 78
        assert "reload: for development, and not as root" in result.stderr
    else:
        assert result.returncode == 0
