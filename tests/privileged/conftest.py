"""Servers that root starts for an account of the tests."""

from collections.abc import Callable

import pytest

from support.accounts import APP_USER, make_accounts
from support.servers import Udsrv


@pytest.fixture(scope="session", autouse=True)
def _accounts() -> None:
    make_accounts()


@pytest.fixture
def serve(start_udsrv) -> Callable[..., Udsrv]:
    """Return a function that starts a server for ``remote:app`` as root."""

    def start(*options: str, app: str = "remote:app", **details: object) -> Udsrv:
        return start_udsrv(app, "--user", APP_USER, *options, **details)

    return start
