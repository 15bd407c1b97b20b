"""The socket's path while a server runs, and who else wants it."""

import os
import signal
import socket
import subprocess

import pytest

from support.gates import Gate
from support.raw_http import Connection, get
from support.remote import run_in_worker
from support.waiting import wait_until

PID = "import os; result = os.getpid()"


def files(server) -> list[str]:
    return sorted(os.listdir(server.socket.parent))


def test_a_running_server_has_a_path_and_a_private_directory(serve):
    server = serve()
    assert files(server) == ["app.sock", "app.sock.d"]


def test_a_second_start_is_refused_with_the_pid_and_harms_nothing(serve):
    first = serve()
    before = first.socket.stat()[:7]
    with Connection(first.socket) as connection:
        second = serve(ready=False)
        assert second.wait_end() == 77
        last = second.log.text().splitlines()[-1]
        assert last == (
            f"udsrv: {first.socket} is served by another udsrv, pid {first.pid}:"
            " stop it first or choose another --socket"
        )
        assert first.socket.stat()[:7] == before
        assert files(first) == ["app.sock", "app.sock.d"]
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.read_response().status == 200
    first.socket.unlink()  # what restores it is still there
    first.log.wait_for("it is back, nothing queued was lost")


def test_a_second_start_by_another_name_of_the_directory_is_refused_too(serve, shared_directory):
    first = serve()
    alias = first.socket.parent / "alias"
    subprocess.run(["ln", "-s", ".", alias], check=True)
    os.lchown(alias, first.socket.stat().st_uid, -1)
    second = serve(socket=alias / "app.sock", ready=False)
    assert second.wait_end() == 77
    assert f"is served by another udsrv, pid {first.pid}" in second.log.text()


def test_two_servers_in_one_directory_do_not_meet(serve):
    first = serve()
    second = serve(socket=first.socket.with_name("other.sock"))
    assert run_in_worker(first.socket, PID) in first.workers
    assert run_in_worker(second.socket, PID) in second.workers
    assert first.stop() == 0
    assert files(first) == ["other.sock", "other.sock.d"]
    assert get(second.socket).status == 200


@pytest.fixture
def occupied(serve):
    """A path at which this process listens, among the server's files."""
    stopped = serve()
    facts = stopped.socket.parent.stat()
    assert stopped.stop() == 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stopped.socket))
        os.chown(stopped.socket, facts.st_uid, facts.st_gid)
        listener.listen()
        yield stopped.socket, listener


def test_a_socket_that_somebody_else_serves_is_refused_with_his_pid(serve, occupied):
    path, _ = occupied
    before = path.stat()[:7]
    server = serve(ready=False)
    assert server.wait_end() == 77
    last = server.log.text().splitlines()[-1]
    assert last == (
        f"udsrv: {path} is served by pid {os.getpid()}: stop it first or choose another --socket"
    )
    assert path.stat()[:7] == before
    assert files(server) == ["app.sock"]


def test_a_stale_socket_is_replaced(serve, occupied):
    path, listener = occupied
    listener.close()
    server = serve()
    assert get(path).status == 200
    assert server.stop() == 0
    assert files(server) == []


def test_a_removed_path_comes_back_and_nothing_queued_is_lost(serve):
    server = serve()
    before = server.socket.stat()
    (worker,) = server.workers
    os.kill(worker, signal.SIGSTOP)
    with Connection(server.socket) as waiting:
        waiting.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.socket.unlink()
        server.log.wait_for(
            rf"warning: {server.socket} was removed; it is back, nothing queued was lost$"
        )
        assert os.path.samestat(server.socket.stat(), before)
        os.kill(worker, signal.SIGCONT)
        assert waiting.read_response().status == 200
    assert get(server.socket).status == 200


def test_a_path_that_is_moved_away_comes_back(serve):
    server = serve()
    server.socket.rename(server.socket.with_name("moved"))
    server.log.wait_for("it is back")
    assert get(server.socket).status == 200
    assert server.stop() == 0
    assert files(server) == ["moved"]


def test_a_foreign_file_at_the_path_is_left_alone_and_logged(serve):
    server = serve()
    foreign = server.socket.with_name("foreign")
    foreign.write_text("precious")
    foreign.rename(server.socket)
    server.log.wait_for(
        rf"error: {server.socket} has been replaced by something that is not ours, which is left"
        " alone: nobody can connect until it is removed$"
    )
    assert server.socket.read_text() == "precious"
    server.socket.unlink()
    server.log.wait_for("it is back")
    assert get(server.socket).status == 200


@pytest.mark.parametrize("kind", ["file", "socket", "link", "directory"])
def test_a_stop_removes_only_what_is_its_own(serve, kind):
    server = serve()
    foreign = server.socket.with_name("foreign")
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "file":
            foreign.write_text("precious")
        elif kind == "socket":
            other.bind(str(foreign))
            other.listen()
        elif kind == "link":
            foreign.symlink_to("app.sock.d/kept")
        else:
            foreign.mkdir()
        facts = foreign.lstat()
        server.socket.unlink()
        server.log.wait_for("it is back")
        os.kill(server.pid, signal.SIGSTOP)  # so that it finds both at once
        server.socket.unlink()
        foreign.rename(server.socket)
        os.kill(server.pid, signal.SIGCONT)
        server.log.wait_for("has been replaced by something that is not ours")
        assert server.stop() == 0
        assert os.path.samestat(server.socket.lstat(), facts)
    assert files(server) == ["app.sock"]


def test_a_directory_that_is_gone_ends_the_server_so_that_it_is_started_again(serve):
    server = serve()
    run = server.socket.parent
    os.kill(server.pid, signal.SIGSTOP)  # or it links the path back while rm is at work
    subprocess.run(["rm", "-rf", run], check=True)
    os.kill(server.pid, signal.SIGCONT)
    # Not the code of a refused start: systemd is to try again.
    assert server.wait_end() == 70
    assert server.log.count("error: the listener can't be replaced: ") == 1
    assert "Traceback" not in server.log.text()
    assert not run.exists()


def test_the_path_appears_only_when_the_application_can_answer(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    server = serve("-e", f"BEFORE_LOADING={gate.code}", app="gated:app", ready=False)
    gate.wait_reached()
    assert files(server) == ["app.sock.d"]
    gate.open()
    wait_until(server.socket.exists, watching=server.socket.parent, what="the path")
    assert get(server.socket).status == 200
    gate.close()


@pytest.mark.parametrize("kind", ["file", "socket"])
def test_what_comes_to_the_path_during_the_start_ends_it_unready(serve, shared_directory, kind):
    gate = Gate(shared_directory / "gate")
    server = serve("-e", f"BEFORE_LOADING={gate.code}", app="gated:app", ready=False)
    gate.wait_reached()
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "file":
            server.socket.write_text("precious")
        else:
            other.bind(str(server.socket))
            facts = server.socket.parent.stat()
            os.chown(server.socket, facts.st_uid, facts.st_gid)
            other.listen()
        before = server.socket.stat()[:7]
        gate.open()
        assert server.wait_end() == 77
        assert server.socket.stat()[:7] == before
    sentence = f"{server.socket} is not our socket and is left alone"
    assert f"[master] error: {sentence}" in server.log.text()
    assert "ready:" not in server.log.text()
    server.notify.wait_for("STATUS=stopped, exit code 77", sender=os.getpid())
    assert "READY=1" not in server.notify.messages
    assert files(server) == ["app.sock"]
    gate.close()
