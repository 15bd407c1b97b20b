"""Servers whose life is the same whoever starts them: an ordinary user, or root for an account."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.accounts import APP_USER, IS_ROOT, ORDINARY_USER, make_accounts
from support.gates import Gate
from support.servers import Udsrv


@pytest.fixture(params=["ordinary", pytest.param("root", marks=pytest.mark.root)])
def serve(request, start_udsrv) -> Callable[..., Udsrv]:
    """Return a function that starts a server for ``remote:app``, once for each who may."""
    if request.param == "root":
        make_accounts()
        who = {"run_as": "root"}
        user = ("--user", APP_USER)
    else:
        who = {"run_as": ORDINARY_USER} if IS_ROOT else {}
        user = ()

    def start(*options: str, app: str = "remote:app", **details: object) -> Udsrv:
        return start_udsrv(app, *user, *options, **who, **details)

    return start


@pytest.fixture
def serve_ordinary(start_udsrv) -> Callable[..., Udsrv]:
    """Return a function that starts a server for ``remote:app`` as an ordinary user."""

    def start(*options: str, app: str = "remote:app", **details: object) -> Udsrv:
        who = {"run_as": ORDINARY_USER} if IS_ROOT else {}
        return start_udsrv(app, *options, **who, **details)

    return start


@pytest.fixture
def gate(shared_directory: Path) -> Iterator[Gate]:
    """Where an application waits until the test lets it pass."""
    gate = Gate(shared_directory / "gate")
    yield gate
    gate.close()
