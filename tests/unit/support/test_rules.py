"""The rules of the suite, tried on small suites of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.accounts import IS_ROOT, ORDINARY_USER, own_name
from support.servers import credentials_of

TESTS = Path(__file__).parents[2]

NEEDS_ROOT = """
import pytest

@pytest.mark.root
def test_with_root():
    pass

def test_without():
    pass
"""


def run_suite(directory: Path, text: str, *, user: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of one file as ``user``, with nothing of pytest's configuration but the rules."""
    rules = directory / "support"
    rules.mkdir()
    for name in ("rules.py", "accounts.py"):
        (rules / name).write_text((TESTS / "support" / name).read_text())
    (directory / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "support.rules", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", directory, directory],
        cwd=directory,
        env={"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        **credentials_of(user),
    )


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\ndef test_it(): pytest.skip('not now')",
        "import pytest\npytest.skip('not here', allow_module_level=True)",
        "import pytest\npytest.importorskip('no_such_module')",
        "import pytest\n@pytest.mark.skipif(True, reason='not so')\ndef test_it(): pass",
    ],
    ids=["in a test", "a module", "a missing module", "a mark"],
)
def test_a_skip_is_a_failure(shared_directory, text):
    result = run_suite(shared_directory, text, user=own_name())
    assert result.returncode != 0
    assert "a skip is a failure here" in result.stdout


def test_an_expected_failure_is_none(shared_directory):
    text = "import pytest\n@pytest.mark.xfail(reason='#1')\ndef test_it(): assert False"
    assert run_suite(shared_directory, text, user=own_name()).returncode == 0


def test_without_root_the_end_says_how_many_tests_were_left_out(shared_directory):
    user = ORDINARY_USER if IS_ROOT else own_name()
    result = run_suite(shared_directory, NEEDS_ROOT, user=user)
    assert result.returncode == 1
    assert "1 tests need root and were left out" in result.stdout
    assert "1 passed, 1 deselected" in result.stdout.splitlines()[-1]


@pytest.mark.root
def test_with_root_nothing_is_left_out(shared_directory):
    result = run_suite(shared_directory, NEEDS_ROOT, user="root")
    assert result.returncode == 0
    assert "2 passed" in result.stdout.splitlines()[-1]
