"""What dies is replaced, and what must die dies."""

import os
import signal

import pytest

from support.gates import Gate
from support.processes import children_of, descendants_of, stop_now, title_of
from support.raw_http import Connection, get
from support.remote import FIND_LISTENER, run_in_worker, start_in_worker
from support.waiting import wait_for_end

PID = "import os; result = os.getpid()"


def test_a_killed_worker_is_replaced(serve):
    server = serve()
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    server.log.wait_for(rf"worker 0 \(pid {worker}\) was killed by signal 9; a new one starts$")
    assert run_in_worker(server.socket, PID) != worker
    assert server.log.count("Traceback") == 0


def test_while_a_worker_is_replaced_its_siblings_serve(serve):
    server = serve("--workers", "2")
    server.log.wait_for(r"\[worker 1\] loaded")
    victim = run_in_worker(server.socket, PID)
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        assert run_in_worker(server.socket, PID) != victim


def test_a_worker_that_ends_itself_is_replaced(serve):
    server = serve()
    with start_in_worker(server.socket, "import os; os._exit(3)") as connection:
        assert connection.read_to_end() == b""
    server.log.wait_for(r"worker 0 \(pid \d+\) exited with code 3; a new one starts$")
    assert get(server.socket).status == 200


def test_a_crash_loop_backs_off_and_says_so(serve, shared_directory):
    broken = shared_directory / "broken"
    code = f"import os; os.path.exists({str(broken)!r}) and os._exit(9)"
    server = serve("-e", f"BEFORE_LOADING={code}", app="gated:app")
    broken.touch()
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    death = r"worker 0 \(pid \d+\) exited with code 9; that was death {} in a row soon after the"
    server.log.wait_for(death.format(2) + r" start; a new one starts in 0\.5 s$")
    server.log.wait_for(death.format(3) + r" start; a new one starts in 1 s$")
    broken.unlink()
    assert get(server.socket).status == 200  # it was waiting in the queue


def test_a_worker_that_fails_to_load_again_backs_off_too(serve, shared_directory):
    broken = shared_directory / "broken"
    code = f"import os; 1 / (not os.path.exists({str(broken)!r}))"
    server = serve("-e", f"BEFORE_LOADING={code}", app="gated:app")
    broken.touch()
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    server.log.wait_for(r"exited with code 69; that was death 2 in a row")
    assert server.log.count("Traceback") == 1
    broken.unlink()
    assert get(server.socket).status == 200


def test_a_killed_supervisor_is_replaced_while_connections_wait(serve):
    server = serve("--workers", "2")
    server.log.wait_for(r"\[worker 1\] loaded")
    below = descendants_of(server.pid)
    (supervisor,) = server.supervisors
    os.kill(supervisor, signal.SIGKILL)
    wait_for_end(*below, patience_s=1)
    assert get(server.socket).status == 200
    server.log.wait_for(r"the supervisor of generation 1 was killed by signal 9; a new one starts$")
    server.log.wait_for("ready: ", times=2)
    assert title_of(server.supervisors[0]) == "udsrv: supervisor remote:app generation 2"


def test_generations_that_do_not_start_any_more_back_off(serve, shared_directory):
    broken = shared_directory / "broken"
    code = f"import os; 1 / (not os.path.exists({str(broken)!r}))"
    server = serve("-e", f"BEFORE_LOADING={code}", app="gated:app")
    broken.touch()
    os.kill(server.supervisors[0], signal.SIGKILL)
    server.log.wait_for(
        r"generation 2 did not start \(code 69\) and none serves; another one starts in 0\.5 s$"
    )
    broken.unlink()
    assert get(server.socket).status == 200
    assert server.log.count("did not start") in {1, 2}


def test_a_killed_master_leaves_no_supervisor_and_no_worker(serve):
    server = serve("--workers", "3")
    server.log.wait_for(r"\] loaded", times=3)
    below = descendants_of(server.pid)
    assert len(below) == 4
    server.process.kill()
    server.wait_end()
    wait_for_end(*below, patience_s=1)


def test_a_killed_master_leaves_nothing_of_a_start(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    server = serve("-e", f"BEFORE_LOADING={gate.code}", app="gated:app", ready=False)
    gate.wait_reached()
    below = descendants_of(server.pid)
    assert len(below) == 2
    server.process.kill()
    server.wait_end()
    wait_for_end(*below, patience_s=1)
    gate.close()


def test_a_busy_worker_dies_with_its_supervisor(serve, shared_directory):
    # It doesn't read its channel, so only the kernel can end it.
    gate = Gate(shared_directory / "gate")
    server = serve()
    (worker,) = server.workers
    with start_in_worker(server.socket, gate.code) as connection:
        gate.wait_reached()
        os.kill(server.supervisors[0], signal.SIGKILL)
        wait_for_end(worker, patience_s=1)
        assert connection.read_to_end() == b""
    assert get(server.socket).status == 200
    gate.close()


def test_a_supervisor_that_is_stuck_dies_with_its_master(serve):
    server = serve()
    below = descendants_of(server.pid)
    os.kill(server.supervisors[0], signal.SIGSTOP)
    server.process.kill()
    server.wait_end()
    wait_for_end(*below, patience_s=1)


def test_after_a_killed_master_the_next_one_starts_at_once(serve):
    before = serve()
    before.process.kill()
    before.wait_end()
    after = serve()
    assert get(after.socket).status == 200
    assert after.stop() == 0
    assert list(after.socket.parent.iterdir()) == []


DOUBLE_FORK = """
import os, signal
read_fd, write_fd = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.write(write_fd, str(os.getpid()).encode())
        os.close(write_fd)
        while True:
            signal.pause()
    os._exit(0)
os.wait()
result = int(os.read(read_fd, 20))
"""


def test_what_escapes_a_worker_by_a_double_fork_is_adopted_and_ends_with_the_server(serve):
    server = serve()
    stray = run_in_worker(server.socket, DOUBLE_FORK)
    assert stray in children_of(server.supervisors[0])
    assert server.stop() == 0
    wait_for_end(stray, patience_s=1)


def test_what_escapes_ends_with_its_generation(serve):
    server = serve()
    stray = run_in_worker(server.socket, DOUBLE_FORK)
    os.kill(server.supervisors[0], signal.SIGKILL)
    wait_for_end(stray, patience_s=1)
    server.log.wait_for("ready: ", times=2)
    assert get(server.socket).status == 200


def test_a_stray_that_takes_connections_stops_doing_so_with_its_generation(serve):
    thief = DOUBLE_FORK.replace(
        "while True:\n            signal.pause()",
        "listener = find_listener(); listener.setblocking(True)\n"
        "        while True:\n            listener.accept()[0].close()",
    )
    assert "find_listener()" in thief
    server = serve()
    (worker,) = server.workers
    stray = run_in_worker(server.socket, FIND_LISTENER + thief)
    stop_now(worker)  # so that only the thief is left
    with Connection(server.socket) as robbed:
        assert robbed.read_to_end() == b""
    os.kill(server.supervisors[0], signal.SIGKILL)
    wait_for_end(stray, worker, patience_s=1)
    server.log.wait_for("ready: ", times=2)
    for _ in range(10):
        assert get(server.socket).status == 200


def test_a_start_after_a_killed_master_takes_the_path_from_what_escaped(serve):
    before = serve()
    stray = run_in_worker(before.socket, DOUBLE_FORK)
    try:
        before.process.kill()
        before.wait_end()
        after = serve()
        for _ in range(10):
            assert get(after.socket).status == 200
    finally:
        os.kill(stray, signal.SIGKILL)  # whom nobody adopted but us
        os.waitpid(stray, 0)


SHUT_DOWN = FIND_LISTENER + "find_listener().shutdown(socket.SHUT_RDWR)\n"


def shut_down_in_a_worker(server, generation: int) -> None:
    start_in_worker(server.socket, SHUT_DOWN).close()
    server.log.wait_for("has shut the listener of", times=generation)


def test_a_listener_that_is_hung_up_is_replaced_and_the_generation_with_it(serve):
    server = serve("--workers", "2")
    server.log.wait_for(r"\[worker 1\] loaded")
    below = descendants_of(server.pid)
    before = server.socket.stat().st_ino
    shut_down_in_a_worker(server, 1)
    assert get(server.socket).status == 200
    assert server.socket.stat().st_ino != before
    wait_for_end(*below)
    server.log.wait_for("ready: ", times=2)
    assert title_of(server.supervisors[-1]) == "udsrv: supervisor remote:app generation 2"
    assert (
        server.log.count(
            r"error: a process of the application has shut the listener of \S+ down:"
            r" a fresh one is published, and the workers are replaced$"
        )
        == 1
    )


def test_the_third_hang_up_in_a_minute_keeps_the_listener_from_the_old_generation(serve):
    server = serve()
    for number in (1, 2, 3):
        workers = server.workers
        shut_down_in_a_worker(server, number)
        if number < 3:
            server.log.wait_for("ready: ", times=number + 1)
            wait_for_end(*workers)
    server.log.wait_for("a fresh one is published, and only a new generation gets it$")
    assert run_in_worker(server.socket, PID) not in workers


def test_a_hang_up_while_stopping_does_not_bring_the_path_back(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    server = serve()
    with start_in_worker(server.socket, f"{gate.code}\n{SHUT_DOWN}{gate.code}") as connection:
        gate.wait_reached()
        server.process.send_signal(signal.SIGTERM)
        server.notify.wait_for("STOPPING=1", sender=server.pid)
        gate.open()
        gate.wait_reached()
        gate.open()
        assert connection.read_response(method="POST").status == 200
    assert server.wait_end() == 0
    assert "has shut the listener" not in server.log.text()
    assert list(server.socket.parent.iterdir()) == []
    gate.close()


def test_a_stopped_supervisor_is_killed_at_the_deadline_of_the_stop(serve_ordinary):
    server = serve_ordinary("--graceful-timeout", "0.1")
    below = descendants_of(server.pid)
    os.kill(server.supervisors[0], signal.SIGSTOP)
    assert server.stop(signal.SIGINT) == 0
    wait_for_end(*below, patience_s=1)
    assert server.log.count("missed its deadline while draining and is killed") == 1


FORK_AND_SIGNAL = """
import os, signal
result = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    for _ in range(50):
        pid = os.fork()
        if pid == 0:
            while True:
                signal.pause()
        os.kill(pid, number)  # as often as not before the fork has run at all
        result.append([int(number), os.WTERMSIG(os.waitpid(pid, 0)[1])])
result.append(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


def test_what_the_application_forks_ends_by_the_signals_that_a_worker_drains_on(serve):
    server = serve()
    *ends, blocked = run_in_worker(server.socket, FORK_AND_SIGNAL)
    assert len(ends) == 150
    assert all(sent == ended for sent, ended in ends)
    assert blocked == []
    assert run_in_worker(server.socket, PID) in server.workers


@pytest.mark.parametrize("garbage", [b"", b"x", b"\x63" + bytes(15), bytes(16), bytes(300)])
def test_garbage_on_the_channel_ends_the_sender_and_not_the_reader(serve, garbage):
    # The channel's descriptor in a worker is known to nobody but the application that looks.
    source = f"""
    import os, socket
    for fd in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        if found.type == socket.SOCK_SEQPACKET:
            found.send({garbage!r})
            break
    """
    server = serve()
    supervisor, worker = descendants_of(server.pid)
    start_in_worker(server.socket, source).close()
    if garbage:
        server.log.wait_for(r"worker 0 \(pid \d+\) sent a record of .* and is killed")
        wait_for_end(worker)
    assert get(server.socket).status == 200
    assert server.supervisors == [supervisor]


def test_a_flood_on_the_channel_starves_nobody(serve):
    server = serve()
    source = """
    import os, socket
    for fd in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        if found.type == socket.SOCK_SEQPACKET:
            break
    found.setblocking(True)
    ready = (1).to_bytes(1, "little") + bytes(15)
    for number in range(20_000):
        socket.send_fds(found, [ready], [found.fileno()] * (number % 4))
    result = "sent"
    """
    (supervisor,) = server.supervisors
    fds = f"/proc/{supervisor}/fd"
    assert run_in_worker(server.socket, source) == "sent"
    assert get(server.socket).status == 200
    assert server.supervisors == [supervisor]
    if os.getuid() == 0:
        assert len(os.listdir(fds)) < 40
    assert server.log.count("ready: ") == 1
