"""The socket's path from its lock to its last unlink, in a directory of our own."""

import contextlib
import os
import socket
import stat

import pytest

from support.socket_path import claimed, connected, listen
from udsrv.errors import PrivilegeError


@pytest.fixture
def path(shared_directory):
    return shared_directory / "app.sock"


@pytest.fixture
def private(path):
    return path.with_name("app.sock.d")


@pytest.fixture
def owned(path):
    owned = claimed(path)
    yield owned
    owned.withdraw()


def test_nothing_is_at_the_path_before_it_is_published(owned, path, private):
    with owned.stage():
        assert not path.exists()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert connected(private / "staged")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o640])
def test_the_staged_socket_has_its_mode_whatever_the_umask(path, private, mode):
    for umask in (0o777, 0o077, 0):
        owned = claimed(path, mode=mode)
        before = os.umask(umask)
        try:
            with owned.stage():
                assert stat.S_IMODE((private / "staged").stat().st_mode) == mode
                assert os.umask(umask) == umask
        finally:
            os.umask(before)
            owned.withdraw()


def test_publishing_moves_the_listening_socket_onto_the_path(owned, path, private):
    with owned.stage() as listener:
        assert owned.is_ours() is None
        owned.publish()
        assert owned.is_ours()
        assert connected(path)
        assert listener.accept()
        assert sorted(os.listdir(private)) == ["kept", "lock"]


def test_a_listener_is_closed_on_exec_and_never_blocks(owned):
    with owned.stage() as listener:
        assert not os.get_inheritable(listener.fileno())
        assert not os.get_blocking(listener.fileno())


def test_publishing_again_replaces_our_own_without_a_gap(owned, path):
    with owned.stage():
        owned.publish()
        before = path.stat().st_ino
        with owned.stage():
            assert connected(path)
            owned.publish()
            assert connected(path)
            assert path.stat().st_ino != before
            assert owned.is_ours()


def test_what_was_removed_is_linked_back_with_its_queue(owned, path):
    with owned.stage() as listener:
        owned.publish()
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))
            waiting.send(b"queued")
            path.unlink()
            assert owned.is_ours() is None
            assert owned.restore()
            assert owned.is_ours()
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(10) == b"queued"


def test_nothing_is_restored_over_somebody_elses_file(owned, path):
    with owned.stage():
        owned.publish()
        path.unlink()
        path.write_text("foreign")
        assert owned.is_ours() is False
        assert not owned.restore()
        assert path.read_text() == "foreign"


def test_withdrawing_leaves_nothing(path, private):
    owned = claimed(path)
    with owned.stage():
        owned.publish()
        owned.withdraw()
    assert not path.exists()
    assert not private.exists()


@pytest.mark.parametrize("kind", ["file", "socket"])
def test_withdrawing_leaves_what_is_not_ours(path, private, kind):
    owned = claimed(path)
    with owned.stage():
        owned.publish()
        path.unlink()
        if kind == "file":
            path.write_text("foreign")
            owned.withdraw()
            assert path.read_text() == "foreign"
        else:
            with listen(path):
                owned.withdraw()
                assert connected(path)
    assert not private.exists()


def test_publishing_over_a_file_that_came_meanwhile_is_refused(owned, path):
    with owned.stage():
        path.write_text("foreign")
        with pytest.raises(PrivilegeError, match="is not our socket"):
            owned.publish()
        assert path.read_text() == "foreign"


def test_publishing_again_over_a_foreign_socket_is_refused(owned, path):
    with owned.stage(), contextlib.ExitStack() as stack:
        owned.publish()
        path.unlink()
        stack.enter_context(listen(path))
        with owned.stage(), pytest.raises(PrivilegeError, match="is not our socket"):
            owned.publish()
        assert owned.is_ours() is False


def test_publishing_over_a_socket_that_somebody_serves_by_now_is_refused(owned, path):
    with owned.stage(), listen(path):
        with pytest.raises(PrivilegeError, match="is not our socket"):
            owned.publish()
        assert connected(path)


def test_a_path_as_long_as_the_kernel_takes_works(shared_directory):
    directory = shared_directory
    room = 107 - len(os.fsencode(directory)) - 1
    path = directory / ("x" * room)
    owned = claimed(path)
    with owned.stage():
        owned.publish()
        assert connected(path)
        owned.withdraw()
    assert os.listdir(directory) == []
