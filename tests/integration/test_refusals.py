"""What a start refuses: one sentence, the documented code, and nothing left.

What only root can meet is in ``tests/privileged``, what settings alone decide in ``tests/unit``.
"""

import os
import re
from pathlib import Path

import pytest

from support.processes import children_of, title_of
from support.servers import UDSRV

DOES_NOT_LOAD = {
    "missing:app": "ModuleNotFoundError: No module named 'missing'",
    "hello:nothing": "AttributeError: module 'hello' has no attribute 'nothing'",
    "mistakes:broken_factory()": "ValueError: no database",
}


def refused(server, among: Path | None = None) -> tuple[int, list[str]]:
    """Return the exit code and the log of a server that doesn't start, having left nothing."""
    code = server.wait_end()
    assert os.listdir(among or server.socket.parent) == []
    # What had outlived it would be our child now.
    assert not [title for title in map(title_of, children_of(os.getpid())) if "udsrv" in title]
    assert "READY=1" not in server.notify.messages
    return code, server.log.text().splitlines()


@pytest.mark.parametrize(("app", "reason"), DOES_NOT_LOAD.items())
def test_an_application_that_does_not_load(serve, app, reason):
    code, lines = refused(serve("--workers", "4", app=app, ready=False))
    assert code == 69
    text = "\n".join(lines)
    # What isn't there is no mistake in a line of the application's, and needs no traceback.
    tracebacks = 0 if app == "hello:nothing" else 1
    assert text.count("Traceback (most recent call last):") == tracebacks
    assert text.count(reason) == tracebacks + 1
    assert text.count(f"[worker 0] error: '{app}' doesn't load: {reason}") == 1
    assert "worker 1" not in text
    assert "/udsrv/worker/" not in text  # the traceback is the application's own


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("mistakes:number", "'mistakes:number' is an 'int', which is not callable: name the WSGI"),
        ("mistakes:asgi", "'mistakes:asgi' is an ASGI application; this version serves WSGI"),
    ],
)
def test_what_is_no_wsgi_application(serve, app, sentence):
    code, lines = refused(serve(app=app, ready=False))
    assert code == 69
    assert len([line for line in lines if f"[worker 0] error: {sentence}" in line]) == 1
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize(
    ("before_loading", "sentence"),
    [
        ("raise SystemExit(0)", r"\[worker 0\] error: 'gated:app' doesn't load: SystemExit: 0$"),
        ("import os; os._exit(0)", "the application didn't load: its worker exited with code 0$"),
        ("import os; os._exit(3)", "the application didn't load: its worker exited with code 3$"),
        ("import os; os.abort()", "its worker was killed by signal 6$"),
        ("import os; os.kill(os.getpid(), 11)", "its worker was killed by signal 11$"),
        (
            "import sys; sys.setrecursionlimit(50); f = lambda: f(); f()",
            "doesn't load: RecursionError",
        ),
    ],
)
def test_an_application_that_ends_its_process(serve_ordinary, before_loading, sentence):
    server = serve_ordinary("-e", f"BEFORE_LOADING={before_loading}", app="gated:app", ready=False)
    code, lines = refused(server)
    assert code == 69
    assert len([line for line in lines if re.search(sentence, line)]) == 1


def test_an_application_that_closes_its_log_while_it_fails(serve_ordinary):
    code = "import os; os.closerange(0, 3); 1/0"
    server = serve_ordinary("-e", f"BEFORE_LOADING={code}", app="gated:app", ready=False)
    assert refused(server)[0] == 69


def test_an_application_that_never_finishes_loading(serve_ordinary):
    server = serve_ordinary(
        "--start-timeout", "0.5",
        "-e", "BEFORE_LOADING=import signal\nwhile True: signal.pause()",
        app="gated:app",
        ready=False,
    )  # fmt: skip
    code, lines = refused(server)
    assert code == 69
    text = "\n".join(lines)
    assert re.search(
        r"worker 0 \(pid \d+\) didn't load the application in time and is killed", text
    )


def test_a_directory_that_does_not_exist(serve, shared_directory):
    code, lines = refused(serve("--chdir", f"{shared_directory}/no/such", ready=False))
    assert code == 77
    assert lines[-1] == (
        f"udsrv: {shared_directory}/no/such doesn't exist (there is no {shared_directory}/no)"
    )


def test_a_socket_in_a_directory_that_does_not_exist(serve, shared_directory):
    server = serve(socket=shared_directory / "no" / "app.sock", ready=False)
    code, lines = refused(server, among=shared_directory / "run")
    assert code == 77
    assert lines[-1] == (
        f"udsrv: {shared_directory}/no doesn't exist: make it with"
        f" 'mkdir -p -m 0755 {shared_directory}/no'"
    )
    assert not (shared_directory / "no").exists()


@pytest.mark.parametrize("setting", ["--socket-owner", "--socket-group", "--trusted-peer"])
def test_an_account_that_does_not_exist(serve, setting):
    code, lines = refused(serve(setting, "no-such", ready=False))
    assert code == 78
    kind = "group" if setting == "--socket-group" else "account"
    name = setting.removeprefix("--").replace("-", "_")
    assert lines[-1] == f"udsrv: {name}: no {kind} named 'no-such' (from {setting})"


def test_an_ordinary_user_cannot_name_another(serve_ordinary):
    code, lines = refused(serve_ordinary("--user", "daemon", ready=False))
    assert code == 78
    assert re.fullmatch(
        r"udsrv: user: only root can run the application as 'daemon' \(from --user\);"
        r" udsrv was started by uid \d+",
        lines[-1],
    )
    code, lines = refused(serve_ordinary("--group", "daemon", ready=False))
    assert code == 78
    assert lines[-1].startswith("udsrv: group: only root can run the application in 'daemon'")


def test_an_ordinary_user_cannot_give_the_socket_away(serve_ordinary):
    code, lines = refused(serve_ordinary("--socket-owner", "daemon", ready=False))
    assert code == 77
    assert re.search(
        r"uid \d+ can't make a socket of uid \d+, gid \d+: Operation not permitted", lines[-1]
    )


def test_an_ordinary_user_is_told_once_that_nothing_is_dropped(serve_ordinary):
    server = serve_ordinary(app="hello:app")
    assert server.log.count("not started as root") == 1
    assert (
        server.log.count(
            r"not started as root: the application runs as '[^']+', as the master does, and could"
            " change the socket it serves$"
        )
        == 1
    )


def test_a_log_that_nobody_can_write_to_does_not_stop_a_start(serve_ordinary):
    with open("/dev/full", "wb") as full:
        server = serve_ordinary(app="hello:app", stderr_fd=full.fileno())
    assert server.stop() == 0


def test_a_limit_that_leaves_no_room_for_descriptors(serve, shared_directory):
    program = shared_directory / "few-files"
    program.write_text(f'#!/bin/sh\nulimit -n 64\nexec {UDSRV} "$@"\n')
    program.chmod(0o755)
    code, lines = refused(serve(ready=False, udsrv=program))
    assert code == 77
    assert lines[-1] == (
        "udsrv: at most 64 files may be open, and a process of the application's needs 128:"
        " raise it with 'ulimit -n 1024', or LimitNOFILE= in a unit"
    )
