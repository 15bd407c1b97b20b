"""Fixtures that start real programs and leave nothing running.

A pytest plugin, loaded by ``tests/conftest.py``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from support import nginx, servers
from support.directories import make_shared_directory
from support.processes import children_of, title_of
from support.waiting import WaitError, kill_and_reap, wait_for_end

_failed = pytest.StashKey[bool]()
_PR_SET_CHILD_SUBREAPER = 36  # source: prctl(2)

# How long supervisor and workers may outlive a master that was killed.
GRACE_S = 1.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, for the fixtures that keep things then."""
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    return report


@pytest.fixture
def shared_directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory that every user can pass through; kept, and named, when the test fails."""
    directory = make_shared_directory(request.node.name.removeprefix("test_"))
    yield directory
    if request.node.stash.get(_failed, False):
        request.node.add_report_section("teardown", "kept", str(directory))
    else:
        shutil.rmtree(directory)


@pytest.fixture(scope="session", autouse=True)
def _adopt_orphans() -> None:
    """Become the parent of what a server leaves behind, so that it can be noticed and killed."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_survivors() -> dict[int, str]:
    """Kill what outlived its master by more than ``GRACE_S``; return pids and titles."""
    survivors = {}
    for pid in children_of(os.getpid()):
        if (title := title_of(pid)).startswith("udsrv:"):
            try:
                wait_for_end(pid, patience_s=GRACE_S)
            except WaitError:
                survivors[pid] = title
                kill_and_reap(pid)
    return survivors


@pytest.fixture
def start_udsrv(shared_directory: Path) -> Iterator[Callable[..., servers.Udsrv]]:
    """Return ``servers.start`` for this test; at its end nothing may be left running."""
    started: list[servers.Udsrv] = []

    def start(app: str, *options: str, ready: bool = True, **details: object) -> servers.Udsrv:
        server = servers.start(shared_directory, app, *options, **details)  # type: ignore[arg-type]
        started.append(server)
        if ready:
            server.wait_ready()
        return server

    yield start

    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        server.notify.close()
    survivors = _kill_survivors()
    assert not survivors, f"outlived their master by {GRACE_S} s: {survivors}"


@pytest.fixture
def start_nginx(shared_directory: Path) -> Iterator[Callable[..., nginx.Nginx]]:
    """Return ``nginx.start`` for a prefix in this test's directory."""
    started: list[nginx.Nginx] = []

    def start(http_config: str, **details: str) -> nginx.Nginx:
        directory = shared_directory / f"nginx-{len(started)}"
        started.append(nginx.start(directory, http_config, **details))
        return started[-1]

    yield start
    for instance in started:
        instance.stop()
