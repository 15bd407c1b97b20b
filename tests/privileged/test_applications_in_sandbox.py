"""Common libraries work in the sandbox: on this kernel, and with Landlock held to ABI 2."""

from __future__ import annotations

import ctypes
import hashlib
import json

import pytest

from support import older_kernel
from support.accounts import APP_USER
from support.corpus import TABLES, Ask, Client
from support.directories import make_directory_of
from support.processes import status_of
from support.raw_http import get
from support.servers import UDSRV

# Source: landlock(7).
_LANDLOCK_CREATE_RULESET, _ASKED_FOR_THE_VERSION = 444, 1
# The first ABI that leaves no gap for which strict doesn't start.
_STRICT_SINCE = 6

_TALKED = {
    "line": "OVER A UNIX SOCKET\n",
    "copied": ["through a subprocess", 0],
    "executor": 49,
    "address": ["127.0.0.1", 80],
    "refused": "ConnectionRefusedError",
}
_MULTIPROCESSED = {
    "squares": [0, 1, 4, 9, 16, 25, 36, 49, 64, 81],
    "total": 200,
    "answers": 2,
    "statuses": [0, 0, 0],
    "filled": "there",
    "managed": {"a": 1, "b": 2},
}
_MADE_BY_SQLITE = [10_000, sum(range(10_000)), "name 9999"]

# What each row of tests/apps/libraries.py answers.
RESULTS = {
    "numpy": {
        "products": [300 * 300 * 300 * 6.0] * 8,
        "peak": 50,
        "solved": [1.0, 1.0],
        "drawn": True,
        "mapped": 300 * 300 * 2.0 + 3,
    },
    "pillow": {
        "inked": True,
        "buffer": ["PNG", [64, 32], [255, 0, 0]],
        "file": ["PNG", [64, 32], [255, 0, 0]],
        "JPEG": [16, 8],
        "WEBP": [16, 8],
    },
    "psycopg": {
        "is_compiled": "binary",
        "127.0.0.1": ["Connection refused"],
        "localhost": ["Connection refused"],
        "a directory": ["No such file or directory"],
        "/run/postgresql": ["No such file or directory"],
    },
    "sqlite": {
        "delete": ["delete", *_MADE_BY_SQLITE],
        "wal": ["wal", *_MADE_BY_SQLITE],
        "outside": "unable to open database file",
    },
    "subprocesses": {
        "echo": "hello\n",
        "pipeline": "a\n",
        "shell": "42\n",
        "input": "TEXT",
        "popen": "popen\n",
        "pipes": ["through a pipe\n", 0, 0],
        "null": 0,
        "status": 3,
        "terminated": -15,
        "python": "[1]\n",
        "temporary": "here\n",
    },
    "multiprocessing_by_fork": _MULTIPROCESSED,
    "multiprocessing_by_spawn": _MULTIPROCESSED,
    "multiprocessing_by_forkserver": _MULTIPROCESSED,
    "futures": {
        "threads": [0, 1, 4, 9, 16],
        "processes": [0, 1, 4, 9, 16],
        "processes' error": ["TypeError"],
        "spawned": [0, 1, 4, 9, 16],
        "spawned' error": ["TypeError"],
    },
    "uvloop": {"loop": "uvloop", **_TALKED},
    "asyncios_own_loop": {"loop": "asyncio", **_TALKED},
    "fastapi": {
        "kept": [
            200,
            {"place": 7, "item": {"number": 1, "name": "unnamed"}, "is_in_a_thread": True},
        ],
        "async": [200, [1, 2]],
        "invalid": 422,
        "schema": 200,
    },
    "temporary_files": {
        "unnamed": "content",
        "truncated": 3,
        "named": "Mapped",
        "removed": True,
        "spooled": "longer than ten",
        "mode": "0o600",
        "directories": [["c", "d", "e", "f"], ["b", "copied"]],
        "gone": [False, False],
        "moved": ["c", "d"],
        "place": True,
    },
    "log_handlers": {
        "files": ["rotated.log", "rotated.log.1", "rotated.log.2", "timed.log", "watched.log"],
        "rotated": "line 17 of the log's twenty",
        "timed": 21,
        "watched": 21,
        "heard": "<11>to the daemon\0",
        "failed": [],
    },
}


def _abi_here() -> int:
    return ctypes.CDLL(None).syscall(
        _LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _ASKED_FOR_THE_VERSION
    )


@pytest.fixture(scope="module", params=["this kernel", "Landlock ABI 2"])
def start(request, start_module_udsrv, module_directory):
    """Return a function that starts an application which may write ``$DATA``, as root."""
    is_old = request.param != "this kernel"
    details = {"udsrv": older_kernel.launcher(module_directory, UDSRV, abi=2)} if is_old else {}
    mode = "best-effort" if is_old or _abi_here() < _STRICT_SINCE else "strict"
    numbers = iter(range(10))

    def start(app: str):
        name = f"{request.param[-1]}-{next(numbers)}"
        data = make_directory_of(APP_USER, module_directory / f"data-{name}")
        outside = make_directory_of(APP_USER, module_directory / f"outside-{name}")
        variables = ("-e", f"DATA={data}", "-e", f"OUTSIDE={outside}")
        server = start_module_udsrv(
            f"{app}:app",
            *("--user", APP_USER, "--sandbox", mode, "--write-path", str(data), *variables),
            socket=module_directory / "run" / f"{name}.sock",
            **details,
        )
        return server, data

    return start


@pytest.fixture(scope="module")
def server(start):
    server, _ = start("libraries")
    return server


def assert_sealed(pid: int) -> None:
    status = status_of(pid)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert status["CapEff"] == "0000000000000000"


@pytest.mark.parametrize("name", RESULTS)
def test_a_library_does_in_the_sandbox_what_it_does_outside(server, name):
    errors = server.log.count("error: ")
    response = get(server.socket, f"/{name}")
    assert response.status == 200, server.log.text()
    answer = json.loads(response.body)
    assert answer["result"] == RESULTS[name]
    assert answer["pid"] in server.workers
    assert_sealed(answer["pid"])
    assert server.log.count("error: ") == errors


_UPLOADED = bytes(range(256)) * (3 * 1024 * 1024 // 256)


def test_django_keeps_its_database_and_what_is_uploaded(start):
    server, data = start("corpus_django")
    client = Client(path=server.socket)
    rows = TABLES["corpus_django"]
    answers = [(row, client.ask(row)) for row in rows]
    assert [answer.status for _, answer in answers] == [row.status for row in rows]
    uploads = [json.loads(answer.body) for row, answer in answers if row.target == "/upload"]
    assert uploads[-1]["sha256"] == hashlib.sha256(_UPLOADED).hexdigest()
    assert client.ask(Ask(200, "GET", "/kept")).body == _UPLOADED
    assert (data / "media" / "kept.bin").read_bytes() == _UPLOADED
    (group,) = [answer for row, answer in answers if row.target.endswith("/group/1/change/")]
    assert "W\xf6rld".encode() in group.body  # what was stored two requests before
    for pid in (*server.workers, *server.supervisors):
        assert_sealed(pid)


def test_flask_serves_sessions_uploads_and_files(start):
    server, _ = start("corpus_flask")
    client = Client(path=server.socket)
    rows = TABLES["corpus_flask"]
    assert [client.ask(row).status for row in rows] == [row.status for row in rows]
    for pid in (*server.workers, *server.supervisors):
        assert_sealed(pid)
