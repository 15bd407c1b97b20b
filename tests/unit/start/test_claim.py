"""Claiming the socket's path, in a directory of our own."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.socket_path import claimed, connected, listen
from udsrv.errors import PrivilegeError

# For the processes that the tests start.
ENVIRON = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def path(shared_directory):
    return shared_directory / "app.sock"


@pytest.fixture
def private(path):
    return path.with_name("app.sock.d")


def refusal(path) -> str:
    with pytest.raises(PrivilegeError) as caught:
        claimed(path)
    return str(caught.value)


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
    owned = claimed(path)
    with owned.stage():
        owned.publish()
        assert connected(path)
        owned.withdraw()
    assert not path.exists()


CRASH = """
import os, socket, sys
from pathlib import Path
from support.socket_path import claimed, connected, listen
path = claimed(Path(sys.argv[1]))
listener = path.stage()
path.publish()
socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"x"], [listener.fileno()])
os._exit(0)
"""


def test_what_a_crash_left_is_taken_over(path, private):
    # The listener lives on, here: it is still ours, since only the owner of the private directory
    # can have put the link there.
    (escaped, other) = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    command = [sys.executable, "-c", CRASH, path]
    with escaped, other:
        command.append(str(other.fileno()))
        subprocess.run(command, pass_fds=(other.fileno(),), env=ENVIRON, check=True)
        _, (listener_fd,), _, _ = socket.recv_fds(escaped, 1, 1)
    with socket.socket(fileno=listener_fd):
        assert connected(path)
        after = claimed(path)
        with after.stage() as listener:
            after.publish()
            assert connected(path)
            assert listener.accept()
            after.withdraw()
    assert not path.exists()
    assert not private.exists()


HOLD = """
import sys
from pathlib import Path
from support.socket_path import claimed, connected, listen
path = claimed(Path(sys.argv[1]))
listener = path.stage()
path.publish()
print("published", flush=True)
sys.stdin.read()
"""


def test_a_second_owner_is_refused_with_the_firsts_pid(path, private):
    command = [sys.executable, "-c", HOLD, path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=ENVIRON) as first:
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
    claimed(path).withdraw()
    with listen(path):
        refusal(path)
    path.unlink()
    plant_file(path)
    refusal(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_directory_is_refused_and_not_made(shared_directory):
    directory = shared_directory / "no"
    assert refusal(directory / "app.sock").startswith(f"{directory} doesn't exist: make it with")
    assert os.listdir(shared_directory) == []
