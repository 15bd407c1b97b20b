"""Fixtures that start real programs and leave nothing running.

A pytest plugin, loaded by ``tests/conftest.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from support import nginx, servers
from support.directories import make_shared_directory
from support.processes import children_of, title_of
from support.waiting import WaitError, kill_and_reap, wait_for_end

_failed = pytest.StashKey[bool]()
_PR_SET_CHILD_SUBREAPER = 36  # source: prctl(2)

# The masters that a test still uses.
_masters: set[int] = set()

# How long supervisor and workers may outlive a master that was killed.
GRACE_S = 1.0

# How long a master may take to end what runs at once.
QUICK_STOP_S = 5.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, for the fixtures that keep things then."""
    report = yield
    if report.failed:
        for node in item.listchain():
            node.stash[_failed] = True
    return report


@contextlib.contextmanager
def _directory(node: pytest.Item | pytest.Collector, name: str) -> Iterator[Path]:
    """Yield a directory that every user can pass through; kept, and named, when ``node`` fails."""
    directory = make_shared_directory(name)
    yield directory
    if not node.stash.get(_failed, False):
        shutil.rmtree(directory)
    elif isinstance(node, pytest.Item):
        node.add_report_section("teardown", "kept", str(directory))
    else:
        print(f"kept: {directory}")


@pytest.fixture
def shared_directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory that every user can pass through; kept, and named, when the test fails."""
    with _directory(request.node, request.node.name.removeprefix("test_")) as directory:
        yield directory


@pytest.fixture(scope="module")
def module_directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The same for all tests of a module; kept, and named, when one of them fails."""
    with _directory(request.node, request.path.stem.removeprefix("test_")) as directory:
        yield directory


@pytest.fixture(scope="session", autouse=True)
def _adopt_orphans() -> None:
    """Become the parent of what a server leaves behind, so that it can be noticed and killed."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_survivors() -> dict[int, str]:
    """Kill what outlived its master by more than ``GRACE_S``; return pids and titles."""
    survivors = {}
    for pid in set(children_of(os.getpid())) - _masters:
        if (title := title_of(pid)).startswith("udsrv:"):
            try:
                wait_for_end(pid, patience_s=GRACE_S)
            except WaitError:
                survivors[pid] = title
                kill_and_reap(pid)
    return survivors


def _end(server: servers.Udsrv) -> None:
    """End the master: first so that it can clear up what is outside of the test's directory."""
    if server.process.poll() is None:
        try:
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(QUICK_STOP_S)
        except subprocess.TimeoutExpired:
            server.process.kill()
    server.process.wait()


@contextlib.contextmanager
def _servers(directory: Path) -> Iterator[Callable[..., servers.Udsrv]]:
    """Yield ``servers.start`` for ``directory``; at the end nothing may be left running."""
    started: list[servers.Udsrv] = []

    def start(app: str, *options: str, ready: bool = True, **details: object) -> servers.Udsrv:
        server = servers.start(directory, app, *options, **details)  # type: ignore[arg-type]
        started.append(server)
        _masters.add(server.pid)
        if ready:
            server.wait_ready()
        return server

    yield start

    for server in started:
        _end(server)
        _masters.remove(server.pid)
        server.notify.close()
    survivors = _kill_survivors()
    assert not survivors, f"outlived their master by {GRACE_S} s: {survivors}"


@pytest.fixture
def start_udsrv(shared_directory: Path) -> Iterator[Callable[..., servers.Udsrv]]:
    """Return ``servers.start`` for this test; at its end nothing may be left running."""
    with _servers(shared_directory) as start:
        yield start


@pytest.fixture(scope="module")
def start_module_udsrv(module_directory: Path) -> Iterator[Callable[..., servers.Udsrv]]:
    """Return ``servers.start`` for all tests of a module."""
    with _servers(module_directory) as start:
        yield start


@contextlib.contextmanager
def _nginxes(directory: Path) -> Iterator[Callable[..., nginx.Nginx]]:
    """Yield ``nginx.start`` for prefixes in ``directory``; stop what it started."""
    started: list[nginx.Nginx] = []

    def start(http_config: str, **details: str) -> nginx.Nginx:
        prefix = directory / f"nginx-{len(started)}"
        started.append(nginx.start(prefix, http_config, **details))
        return started[-1]

    yield start
    for instance in started:
        instance.stop()


@pytest.fixture
def start_nginx(shared_directory: Path) -> Iterator[Callable[..., nginx.Nginx]]:
    """Return ``nginx.start`` for a prefix in this test's directory."""
    with _nginxes(shared_directory) as start:
        yield start


@pytest.fixture(scope="module")
def start_module_nginx(module_directory: Path) -> Iterator[Callable[..., nginx.Nginx]]:
    """Return ``nginx.start`` for all tests of a module."""
    with _nginxes(module_directory) as start:
        yield start
