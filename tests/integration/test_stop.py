"""How a server stops."""

import os
import signal

import pytest

from support.gates import Gate
from support.processes import descendants_of
from support.raw_http import Connection, get
from support.remote import start_in_worker
from support.waiting import wait_for_end, wait_until


@pytest.fixture
def second_gate(shared_directory):
    gate = Gate(shared_directory / "second-gate")
    yield gate
    gate.close()


def in_flight(server, gate):
    """Return a connection whose request is being answered, and stays so until the gate opens."""
    connection = start_in_worker(server.socket, f"{gate.code}; result = 'answered'")
    gate.wait_reached()
    return connection


# Waits until this worker has been told to finish, which nobody in it has read yet, and for the
# test; then for the next tick of the clock that the engine looks at (CLOCK_MONOTONIC_COARSE).
UNTIL_TOLD = """
import os, select, socket, time
def until_told():
    at_the_gate()
    for number in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(number)))
        except OSError:
            continue
        with found:
            if found.type == socket.SOCK_SEQPACKET:
                select.select([found], [], [])
                break
    at_the_second_gate()
    began = time.clock_gettime(6)
    while time.clock_gettime(6) == began:
        pass
"""

# Each begins its answer after that.
LATE_ANSWERS = {
    "a list": """
def answer(start):
    until_told()
    start("200 OK", [])
    return [b"late"]
""",
    "parts": """
def answer(start):
    start("200 OK", [])
    until_told()
    yield b"la"
    yield b"te"
""",
    "a file": """
import tempfile
def answer(start):
    until_told()
    start("200 OK", [])
    file = tempfile.TemporaryFile()
    file.write(b"late")
    file.seek(0)
    return environ["wsgi.file_wrapper"](file)
""",
    "write": """
def answer(start):
    write = start("200 OK", [])
    until_told()
    write(b"la")
    return [b"te"]
""",
    "an exception": """
def answer(start):
    until_told()
    raise ValueError
""",
}


def let_pass(gate, count: int) -> None:
    """Let ``count`` threads go on when they have all come."""
    for _ in range(count):
        gate.wait_reached()
    for _ in range(count):
        gate.open()


def is_gone(server) -> bool:
    return not server.socket.exists()


def nothing_is_left(server) -> bool:
    return list(server.socket.parent.iterdir()) == []


def test_term_lets_the_request_in_flight_finish(serve, gate):
    server = serve()
    with in_flight(server, gate) as connection:
        server.process.send_signal(signal.SIGTERM)
        server.notify.wait_for("STOPPING=1", sender=server.pid)
        wait_until(lambda: is_gone(server), watching=server.socket.parent, what="the path gone")
        gate.open()
        response = connection.read_response(method="POST")
        assert (response.status, response.body) == (200, b'"answered"')
        assert server.wait_end() == 0
    assert nothing_is_left(server)
    assert server.log.count(r"\[master\] SIGTERM: stopping within 30 s$") == 1


@pytest.mark.parametrize("threads", [1, 2], ids="{}-threads".format)
@pytest.mark.parametrize("kind", LATE_ANSWERS)
def test_an_answer_that_begins_after_term_ends_its_connection(
    serve, gate, second_gate, kind, threads
):
    """Also when every thread is in a call: whoever uses the connection again is told not to."""
    server = serve("--threads", str(threads))
    source = f"""
def at_the_gate(): {gate.code}
def at_the_second_gate(): {second_gate.code}
{UNTIL_TOLD}
{LATE_ANSWERS[kind]}
"""
    clients = [start_in_worker(server.socket, source) for _ in range(threads)]
    let_pass(gate, threads)
    server.process.send_signal(signal.SIGTERM)
    let_pass(second_gate, threads)
    for client in clients:
        with client:
            response = client.read_response(method="POST")
            assert response.headers["Connection"] == "close"
            assert response.body in (b"late", b"Internal Server Error\n")
    assert server.wait_end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_the_request_in_flight(serve, gate, number):
    server = serve()
    with in_flight(server, gate) as connection:
        assert server.stop(number) == 0
        assert connection.read_to_end() == b""
    assert nothing_is_left(server)
    assert server.log.count(rf"\[master\] {number.name}: stopping now$") == 1


def test_an_idle_connection_does_not_keep_a_server(serve):
    server = serve()
    with Connection(server.socket) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.read_response().status == 200
        assert server.stop() == 0
        assert connection.read_to_end() == b""


def test_what_waits_in_the_queue_is_answered(serve, gate):
    server = serve()
    with in_flight(server, gate) as first, start_in_worker(server.socket, "result = 2") as second:
        server.process.send_signal(signal.SIGTERM)
        server.notify.wait_for("STOPPING=1", sender=server.pid)
        gate.open()
        assert first.read_response(method="POST").status == 200
        assert second.read_response(method="POST").body == b"2"
        assert server.wait_end() == 0


def test_a_request_that_does_not_finish_is_ended_at_the_deadline(serve, gate):
    server = serve("--graceful-timeout", "0.2")
    with in_flight(server, gate) as connection:
        assert server.stop() == 0
        assert connection.read_to_end() == b""
    assert server.log.count(r"worker 0 \(pid \d+\) didn't finish in time and is killed") == 1


def test_int_after_term_waits_no_longer(serve, gate):
    server = serve()
    with in_flight(server, gate):
        server.process.send_signal(signal.SIGTERM)
        server.notify.wait_for("STOPPING=1", sender=server.pid)
        assert server.stop(signal.SIGINT) == 0
    assert nothing_is_left(server)


def test_a_server_that_is_still_loading_stops_at_once(serve, gate):
    server = serve("-e", f"BEFORE_LOADING={gate.code}", app="gated:app", ready=False)
    gate.wait_reached()
    below = descendants_of(server.pid)
    assert len(below) == 2
    assert not server.socket.exists()
    assert server.stop() == 0
    wait_for_end(*below)
    assert nothing_is_left(server)
    assert "Traceback" not in server.log.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_master_takes_over_its_path_is_not_lost(serve, number):
    # From the claim on, whose first trace is the private directory, until it has its handlers.
    server = serve(ready=False)
    private = server.socket.with_name("app.sock.d")
    wait_until(private.exists, watching=server.socket.parent, what="the claim")
    server.process.send_signal(number)
    if number == signal.SIGHUP:
        server.log.wait_for("SIGHUP has no meaning yet and is ignored")
        server.wait_ready()
        assert server.stop() == 0
    assert server.wait_end() == 0
    assert nothing_is_left(server)


def test_several_workers_all_stop(serve):
    server = serve("--workers", "3")
    server.log.wait_for(r"\] loaded", times=3)
    below = descendants_of(server.pid)
    assert server.stop() == 0
    wait_for_end(*below, patience_s=1)
    assert nothing_is_left(server)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"])
def test_a_signal_without_a_meaning_yet_changes_nothing(serve_ordinary, name):
    server = serve_ordinary()
    server.process.send_signal(signal.Signals[name])
    server.log.wait_for(rf"\[master\] warning: {name} has no meaning yet and is ignored")
    assert get(server.socket).status == 200


def test_a_worker_told_to_stop_finishes_and_is_replaced(serve, gate):
    server = serve()
    (worker,) = server.workers
    with in_flight(server, gate) as connection:
        os.kill(worker, signal.SIGTERM)
        gate.open()
        assert connection.read_response(method="POST").status == 200
    server.log.wait_for(rf"worker 0 \(pid {worker}\) was told to finish; a new one starts")
    wait_for_end(worker)
    assert worker not in server.workers
    assert get(server.socket).status == 200
    assert server.log.count("error:|warning:") == 0


# Tells the first worker to finish in the very moment from which on it obeys.
TOLD_AS_SOON_AS_IT_OBEYS = """
import os, signal, sys
def tell(*_):
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGTERM)
try:
    os.mkdir({once!r})
except FileExistsError:
    pass
else:
    sys.setprofile(tell)
"""


def test_a_worker_told_to_stop_while_it_becomes_ready_is_replaced(serve, shared_directory):
    code = TOLD_AS_SOON_AS_IT_OBEYS.format(once=str(shared_directory / "open" / "once"))
    server = serve("-e", f"BEFORE_LOADING={code}", app="gated:app")
    server.log.wait_for(r"worker 0 \(pid \d+\) was told to finish; a new one starts$")
    server.log.wait_for(r"\[worker 0\] loaded$", times=2)
    assert get(server.socket).status == 200
    assert server.stop() == 0
    assert server.log.count("error:|killed") == 0


def test_the_interrupt_of_a_terminal_reaches_only_the_master(serve, gate):
    # Ctrl-C goes to the whole foreground process group; a worker is in none of it.
    server = serve()
    groups = {os.getpgid(pid) for pid in descendants_of(server.pid)}
    assert os.getpgid(server.pid) not in groups


def test_the_service_manager_hears_every_step(serve):
    server = serve()
    assert server.stop() == 0
    server.notify.wait_for("STOPPING=1", sender=os.getpid())
    server.notify.wait_for("STATUS=stopped, exit code 0", sender=os.getpid())
    told = [line for line in server.notify.messages if not line.startswith("X_")]
    assert told == [
        "STATUS=starting remote:app",
        "READY=1",
        f"STATUS=serving {server.socket}, generation 1",
        "STOPPING=1",
        "STATUS=finishing the requests in progress",
        "STATUS=stopped, exit code 0",
    ]
