"""Walking to a directory that nobody else can redirect.

Whatever the tests' user is, the master's rules apply to it: root and the own uid may write.
"""

import os
import stat

import pytest

from support.directories import grant_writing
from udsrv.errors import PrivilegeError
from udsrv.start.directories import open_directory, who_may_write


def facts(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    return os.stat_result((stat.S_IFDIR | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "writer"),
    [
        (0o755, 0, 0, None),
        (0o755, 900, 900, None),
        (0o700, 0, 5, None),
        (0o775, 0, 0, None),
        (0o775, 0, 900, None),
        (0o755, 0, 5, None),
        (0o755, 901, 0, "uid 901, its owner"),
        (0o555, 901, 0, "uid 901, its owner"),  # who owns it can make it writable
        (0o775, 0, 5, "group 5"),
        (0o757, 0, 0, "everybody"),
        (0o777, 0, 0, "everybody"),
        (0o1777, 0, 0, "everybody"),
    ],
)
def test_who_may_write(mode, uid, gid, writer):
    assert who_may_write(facts(mode, uid, gid), 900, 900) == writer


@pytest.fixture
def tree(shared_directory):
    inner = shared_directory / "outer" / "inner"
    inner.mkdir(parents=True)
    for path in (inner, inner.parent):
        path.chmod(0o755)
    return inner


def opened(path) -> str:
    directory = open_directory(str(path))
    try:
        assert os.path.samestat(os.fstat(directory.fd), os.stat(path))
        assert not os.get_inheritable(directory.fd)
        return directory.path
    finally:
        os.close(directory.fd)


def refusal(path) -> str:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PrivilegeError) as caught:
        open_directory(str(path))
    assert len(os.listdir("/proc/self/fd")) == len(before)
    return str(caught.value)


def test_an_ordinary_way_is_pinned_and_named(tree):
    assert opened(tree) == str(tree)
    assert opened("/") == "/"


@pytest.mark.parametrize("detour", ["./.", "..//inner", "../inner/../../outer/inner"])
def test_dots_are_followed_as_the_kernel_does(tree, detour):
    assert opened(f"{tree}/{detour}") == str(tree)


def test_links_of_our_own_are_followed_to_their_real_name(tree):
    (tree.parent / "relative").symlink_to("inner")
    (tree.parent / "absolute").symlink_to(tree)
    (tree.parent / "chain").symlink_to("absolute/../relative")
    for name in ("relative", "absolute", "chain"):
        assert opened(tree.parent / name) == str(tree)


def test_a_loop_of_links_ends(tree):
    (tree / "one").symlink_to("two")
    (tree / "two").symlink_to("one")
    assert "too many symbolic links" in refusal(tree / "one")


@pytest.mark.parametrize("writable", ["inner", "outer"])
def test_a_directory_that_others_may_write_is_refused_by_name(tree, writable):
    path = tree if writable == "inner" else tree.parent
    path.chmod(0o777)
    assert refusal(tree) == (
        f"{path} (uid {os.getuid()}, gid {os.getgid()}, mode 0777) is writable by everybody, who"
        " could replace what is in it: make it root's with"
        f" 'chown root:root {path}; chmod 0755 {path}', or choose another directory"
    )


def test_a_sticky_directory_keeps_what_is_ours(tree):
    tree.parent.chmod(0o1777)
    assert opened(tree) == str(tree)


def test_an_access_list_that_lets_others_write_is_refused(tree):
    grant_writing(tree)
    assert f"{tree} (" in refusal(tree)
    assert "is writable by somebody in its access control list" in refusal(tree)


def test_a_file_on_the_way_is_no_directory(tree):
    (tree / "file").touch()
    assert refusal(tree / "file") == f"{tree}/file: Not a directory"
    assert refusal(tree / "file" / "x") == f"{tree}/file: Not a directory"


def test_a_missing_directory_is_named(tree):
    assert refusal(tree / "no" / "such") == (
        f"{tree}/no doesn't exist: make it with 'mkdir -p -m 0755 {tree}/no/such'"
    )
    assert refusal("/run/udsrv-test-no-such") == (
        "/run/udsrv-test-no-such doesn't exist: make it with 'mkdir -p -m 0755"
        " /run/udsrv-test-no-such', or at each start by RuntimeDirectory= (see udsrv gen-systemd)"
    )
