"""Which component of a path blocks the application's user."""

import os
import subprocess
import sys

import pytest

from support.accounts import IS_ROOT, ORDINARY_USER, own_name
from support.servers import credentials_of

# In a process of an ordinary user: root may read everything.
SCRIPT = """
import sys
from udsrv.errors import UdsrvError
from udsrv.start.preflight import blocking_component, require_readable
print(blocking_component(sys.argv[1]))
try:
    require_readable([sys.argv[1]], user="app")
except UdsrvError as error:
    print(error.exit_code, error)
"""


def judged(path) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, path],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
        **credentials_of(ORDINARY_USER if IS_ROOT else own_name()),
    ).stdout.splitlines()


@pytest.fixture
def tree(shared_directory):
    inner = shared_directory / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("")
    for path in (inner, inner.parent):
        path.chmod(0o755)
    (inner / "file").chmod(0o644)
    yield inner
    inner.parent.chmod(0o755)
    inner.chmod(0o755)


def test_what_is_open_blocks_nothing(tree):
    assert judged(tree / "file") == ["None"]
    assert judged(tree) == ["None"]
    assert judged("/") == ["None"]


def test_a_closed_directory_above_is_named(tree):
    tree.parent.chmod(0o000)
    blocked, sentence = judged(tree / "file")
    assert blocked == str(tree.parent)
    assert sentence == (
        f"77 user 'app' can't read {tree}/file: {tree.parent} is closed to it;"
        f" open it (chmod o+rx {tree.parent}) or move the application out of it"
    )


def test_a_directory_that_can_be_passed_but_not_listed_is_no_application_directory(tree):
    tree.chmod(0o111)
    assert judged(tree)[0] == str(tree)
    assert judged(tree / "file") == ["None"]


def test_an_unreadable_file_is_named(tree):
    (tree / "file").chmod(0o000)
    assert judged(tree / "file")[0] == str(tree / "file")


def test_the_first_missing_component_is_named(tree):
    blocked, sentence = judged(tree / "no" / "such")
    assert blocked == str(tree / "no")
    assert sentence == f"77 {tree}/no/such doesn't exist (there is no {tree}/no)"


def test_a_dangling_link_is_no_permission_problem(tree):
    os.symlink("/nonexistent", tree / "link")
    blocked, sentence = judged(tree / "link")
    assert blocked == "/nonexistent"
    assert sentence == f"77 {tree}/link doesn't exist (there is no /nonexistent)"


def test_what_blocks_behind_a_link_is_named(tree):
    (tree.parent / "link").symlink_to(tree / "file")
    tree.chmod(0o000)
    assert judged(tree.parent / "link")[0] == str(tree)
