"""Directories and links of other users on the way to the socket."""

import os

import pytest

from udsrv.errors import PrivilegeError
from udsrv.start.directories import open_directory


@pytest.fixture
def tree(shared_directory):
    inner = shared_directory / "outer" / "inner"
    inner.mkdir(parents=True)
    return inner


def refusal(path) -> str:
    with pytest.raises(PrivilegeError) as caught:
        open_directory(str(path))
    return str(caught.value)


def test_a_link_of_somebody_else_is_refused(tree):
    (tree.parent / "link").symlink_to(tree)
    os.lchown(tree.parent / "link", 901, 901)
    assert refusal(tree.parent / "link") == (
        f"{tree.parent}/link is a symbolic link of uid 901, who can move it"
    )


@pytest.mark.parametrize("mode", [0o755, 0o555, 0o1755])
def test_a_directory_of_somebody_else_is_refused(tree, mode):
    tree.chmod(mode)
    os.chown(tree, 901, 0)
    assert "is writable by uid 901, its owner" in refusal(tree)


def test_a_directory_that_a_foreign_group_may_write_is_refused(tree):
    os.chown(tree, 0, 901)
    os.close(open_directory(str(tree)).fd)
    tree.chmod(0o775)
    assert "is writable by group 901" in refusal(tree)
