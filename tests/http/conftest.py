"""The server that a whole module asks, with one thread and with four."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from support.accounts import IS_ROOT, ORDINARY_USER
from support.servers import Udsrv

_TOKENS = itertools.count()

AS_APP_USER = ("--user", ORDINARY_USER) if IS_ROOT else ()


@pytest.fixture(scope="module", params=[1, 4], ids="{}-threads".format)
def threads(request: pytest.FixtureRequest) -> int:
    """How many threads call the application."""
    return int(request.param)


@pytest.fixture(scope="module")
def serve(start_module_udsrv: Callable[..., Udsrv], module_directory: Path) -> Callable[..., Udsrv]:
    """Start a server for all tests of the module; as root the application is another user's."""
    numbers = itertools.count()

    def start(app: str, *options: str) -> Udsrv:
        socket = module_directory / "run" / f"{next(numbers)}.sock"
        return start_module_udsrv(app, *AS_APP_USER, *options, socket=socket)

    return start


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    """What most modules ask: an application with a case for each path."""
    return serve("cases:app", "--threads", str(threads))


@pytest.fixture
def token() -> str:
    """A word that no other test has, to find what belongs to this one in the log."""
    return f"token-{next(_TOKENS)}"
