"""The socket's path from its lock to its last unlink, in a directory of our own."""

import contextlib
import os
import socket
import stat
import subprocess
import sys

import pytest

from udsrv.errors import PrivilegeError
from udsrv.privileged.listener import ListenerSpec, SocketPath


def spec(path, **changed: int) -> ListenerSpec:
    given = {"uid": os.getuid(), "gid": os.getgid(), "mode": 0o660, "backlog": 16, **changed}
    return ListenerSpec(str(path), **given)


@pytest.fixture
def path(shared_directory):
    return shared_directory / "app.sock"


@pytest.fixture
def private(path):
    return path.with_name("app.sock.d")


@pytest.fixture
def owned(path):
    owned = SocketPath(spec(path))
    yield owned
    owned.withdraw()


def connected(path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def listen(path) -> socket.socket:
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    other.listen()
    return other


def refusal(path) -> str:
    with pytest.raises(PrivilegeError) as caught:
        SocketPath(spec(path))
    return str(caught.value)


def test_nothing_is_at_the_path_before_it_is_published(owned, path, private):
    with owned.stage():
        assert not path.exists()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert connected(private / "staged")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o640])
def test_the_staged_socket_has_its_mode_whatever_the_umask(path, private, mode):
    for umask in (0o777, 0o077, 0):
        owned = SocketPath(spec(path, mode=mode))
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
    owned = SocketPath(spec(path))
    with owned.stage():
        owned.publish()
        owned.withdraw()
    assert not path.exists()
    assert not private.exists()


@pytest.mark.parametrize("kind", ["file", "socket"])
def test_withdrawing_leaves_what_is_not_ours(path, private, kind):
    owned = SocketPath(spec(path))
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
        with pytest.raises(PrivilegeError, match="is a regular file, not a socket"):
            owned.publish()
        assert path.read_text() == "foreign"


def test_publishing_again_over_a_foreign_socket_is_refused(owned, path):
    with owned.stage(), contextlib.ExitStack() as stack:
        owned.publish()
        path.unlink()
        stack.enter_context(listen(path))
        with owned.stage(), pytest.raises(PrivilegeError, match="is no longer our socket"):
            owned.publish()
        assert owned.is_ours() is False


def test_publishing_over_a_socket_that_somebody_serves_by_now_is_refused(owned, path):
    with owned.stage(), listen(path):
        with pytest.raises(PrivilegeError, match=f"is served by pid {os.getpid()}"):
            owned.publish()
        assert connected(path)


def plant_file(path):
    path.write_text("precious")


def plant_link(path):
    path.with_name("target").write_text("precious")
    path.symlink_to("target")


def plant_dangling_link(path):
    path.symlink_to("nowhere")


def plant_directory(path):
    path.mkdir()


def plant_fifo(path):
    os.mkfifo(path)


PLANTED = {
    plant_file: "regular file",
    plant_link: "symbolic link",
    plant_dangling_link: "symbolic link",
    plant_directory: "directory",
    plant_fifo: "FIFO",
}


@pytest.mark.parametrize(("plant", "kind"), PLANTED.items())
def test_what_is_no_socket_is_left_alone(path, private, plant, kind):
    plant(path)
    before = path.lstat()
    assert refusal(path) == (
        f"{path} is a {kind}, not a socket, and is left alone:"
        " move it away or choose another --socket"
    )
    assert path.lstat()[:7] == before[:7]
    assert not private.exists()


def plant_open_directory(path):
    path.mkdir()
    path.chmod(0o755)


@pytest.mark.parametrize(
    "plant", [plant_file, plant_link, plant_dangling_link, plant_fifo, plant_open_directory]
)
def test_a_private_directory_that_is_not_private_is_refused(path, private, plant):
    plant(private)
    before = private.lstat()
    assert refusal(path).startswith(
        f"{private} must be a directory of uid {os.getuid()} with mode 0700, but it is a "
    )
    assert private.lstat()[:7] == before[:7]
    assert not path.exists()


def plant_lock_link(private):
    (private.parent / "victim").write_text("precious")
    (private / "lock").symlink_to("../victim")


def plant_lock_directory(private):
    (private / "lock").mkdir()


@pytest.mark.parametrize("plant", [plant_lock_link, plant_lock_directory])
def test_a_lock_that_is_no_file_is_refused(path, private, plant):
    private.mkdir(0o700)
    plant(private)
    assert refusal(path).startswith(f"{private}/lock: ")
    victim = path.with_name("victim")
    assert not victim.exists() or victim.read_text() == "precious"


def test_a_socket_that_somebody_serves_is_refused_with_its_pid(path, private):
    with listen(path):
        assert refusal(path) == (
            f"{path} is served by pid {os.getpid()}: stop it first or choose another --socket"
        )
        assert connected(path)
    assert not private.exists()


def test_a_socket_with_a_full_queue_is_somebodys(path):
    with socket.socket(socket.AF_UNIX) as other, contextlib.ExitStack() as stack:
        other.bind(str(path))
        other.listen(0)
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        assert "is served by a process whose queue is full" in refusal(path)


def test_a_stale_socket_is_replaced(path, private):
    listen(path).close()
    owned = SocketPath(spec(path))
    with owned.stage():
        owned.publish()
        assert connected(path)
        owned.withdraw()
    assert not path.exists()


CRASH = """
import os, socket, sys
from udsrv.privileged.listener import ListenerSpec, SocketPath
path = SocketPath(ListenerSpec(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 0o660, 16))
listener = path.stage()
path.publish()
socket.send_fds(socket.socket(fileno=int(sys.argv[4])), [b"x"], [listener.fileno()])
os._exit(0)
"""


def test_what_a_crash_left_is_taken_over(path, private):
    # The listener lives on, here: it is still ours, since only the owner of the private directory
    # can have put the link there.
    (escaped, other) = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    command = [sys.executable, "-c", CRASH, path, str(os.getuid()), str(os.getgid())]
    with escaped, other:
        subprocess.run([*command, str(other.fileno())], pass_fds=(other.fileno(),), check=True)
        _, (listener_fd,), _, _ = socket.recv_fds(escaped, 1, 1)
    with socket.socket(fileno=listener_fd):
        assert connected(path)
        after = SocketPath(spec(path))
        with after.stage() as listener:
            after.publish()
            assert connected(path)
            assert listener.accept()
            after.withdraw()
    assert not path.exists()
    assert not private.exists()


HOLD = """
import sys
from udsrv.privileged.listener import ListenerSpec, SocketPath
path = SocketPath(ListenerSpec(sys.argv[1], *map(int, sys.argv[2:]), 0o660, 16))
listener = path.stage()
path.publish()
print("published", flush=True)
sys.stdin.read()
"""


def test_a_second_owner_is_refused_with_the_firsts_pid(path, private):
    command = [sys.executable, "-c", HOLD, path, str(os.getuid()), str(os.getgid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"published\n"
        facts = path.stat()
        assert refusal(path) == (
            f"{path} is served by another udsrv, pid {first.pid}:"
            " stop it first or choose another --socket"
        )
        assert path.stat()[:7] == facts[:7]
        assert connected(path)
        assert sorted(os.listdir(private)) == ["kept", "lock"]


def test_a_start_that_is_refused_or_withdrawn_keeps_no_descriptor(path):
    before = len(os.listdir("/proc/self/fd"))
    SocketPath(spec(path)).withdraw()
    with listen(path):
        refusal(path)
    path.unlink()
    plant_file(path)
    refusal(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_as_long_as_the_kernel_takes_works(shared_directory):
    directory = shared_directory
    room = 107 - len(os.fsencode(directory)) - 1
    path = directory / ("x" * room)
    owned = SocketPath(spec(path))
    with owned.stage():
        owned.publish()
        assert connected(path)
        owned.withdraw()
    assert os.listdir(directory) == []


def test_a_missing_directory_is_refused_and_not_made(shared_directory):
    directory = shared_directory / "no"
    assert refusal(directory / "app.sock").startswith(f"{directory} doesn't exist: make it with")
    assert os.listdir(shared_directory) == []
