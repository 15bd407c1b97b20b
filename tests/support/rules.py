"""Two rules of this suite: a skip is a failure, and tests that need root are counted when left out.

A pytest plugin, loaded by ``tests/conftest.py``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from support.accounts import IS_ROOT

TESTS = Path(__file__).parents[1]

# Every test in these folders needs root; elsewhere a test says so with `@pytest.mark.root`.
ROOT_FOLDERS = {"privileged", "attacks", "e2e"}

_left_out = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", "root: needs root")


def _needs_root(item: pytest.Item) -> bool:
    in_root_folder = any(item.path.is_relative_to(TESTS / folder) for folder in ROOT_FOLDERS)
    return in_root_folder or item.get_closest_marker("root") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, without root, what needs it."""
    if IS_ROOT:
        return
    left_out = [item for item in items if _needs_root(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_left_out] = len(left_out)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a skip is a failure here: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure; an expected failure stays what it is."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when tests were left out, however well the others went."""
    if session.config.stash.get(_left_out, 0) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many were left out and how to run them."""
    if count := config.stash.get(_left_out, 0):
        terminalreporter.section("root", red=True)
        terminalreporter.line(
            f"FAILED: {count} tests need root and were left out; run them with: sudo make test"
        )
