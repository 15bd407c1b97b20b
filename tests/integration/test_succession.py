"""How one worker gives way to another."""

import os
import re
import signal

import pytest

from support.raw_http import Connection, get
from support.remote import run_in_worker, start_in_worker
from support.waiting import wait_for_end

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def giving_way(serve, gate):
    """A server and the pid of its worker, which is to end, while the next one waits at the gate."""
    server = serve("-e", f"BEFORE_LOADING={gate.code}", app="gated:app", ready=False)
    gate.wait_reached()
    gate.open()
    server.wait_ready()
    (first,) = server.workers
    os.kill(first, signal.SIGTERM)
    gate.wait_reached()
    return server, first


def who_answers(server) -> int:
    return run_in_worker(server.socket, "import os; result = os.getpid()")


def test_a_worker_that_has_served_enough_gives_way(serve):
    server = serve("--max-requests", "3")
    (first,) = server.workers
    assert [who_answers(server) for _ in range(3)] == [first] * 3
    server.log.wait_for(rf"worker 0 \(pid {first}\) has served 3 requests; a new one starts$")
    wait_for_end(first)
    (second,) = server.workers
    assert [who_answers(server) for _ in range(3)] == [second] * 3
    wait_for_end(second)
    assert server.log.count("error:") == 0


def test_every_worker_has_a_number_of_its_own_within_the_jitter(serve):
    server = serve("--max-requests", "2", "--max-requests-jitter", "3", "--threads", "2")
    said = re.compile(r" has served (\d+) requests; a new one starts$", re.MULTILINE)
    pids = set()
    while len(numbers := said.findall(server.log.text())) < 4:
        pids.add(who_answers(server))
    assert set(numbers) <= {"2", "3", "4", "5"}
    assert len(pids) >= 4


def test_the_old_one_serves_until_the_new_one_can(giving_way, gate):
    server, first = giving_way
    assert [get(server.socket).status for _ in range(3)] == [200] * 3
    assert len(server.workers) == 2
    gate.open()
    wait_for_end(first)
    assert len(server.workers) == 1
    assert get(server.socket).status == 200


def test_without_a_new_one_the_old_one_goes_on(serve):
    server = serve()
    (first,) = server.workers
    broken = server.directory / "app" / "remote.py"
    source = broken.read_text()
    broken.write_text("raise RuntimeError('not today')\n")
    os.kill(first, signal.SIGTERM)
    server.log.wait_for("a new one starts in .* s$")
    assert who_answers(server) == first
    broken.write_text(source)
    wait_for_end(first)
    assert who_answers(server) != first


def test_who_has_a_connection_to_it_is_told_with_an_answer(serve):
    """Closing would meet the request that is just coming, and a POST is not repeated."""
    server = serve()
    (first,) = server.workers
    with Connection(server.socket) as client:
        client.send(REQUEST)
        assert client.read_response().headers["Connection"] is None
        os.kill(first, signal.SIGTERM)
        server.log.wait_for(r"\[worker 0\] loaded$", times=2)
        said = None
        while said is None:  # until the new one has said that it is ready
            client.send(REQUEST)
            response = client.read_response()
            assert response.status == 200
            said = response.headers["Connection"]
        assert said == "close"
        assert client.read_to_end() == b""
    wait_for_end(first)


def test_a_request_that_does_not_finish_does_not_keep_it(serve, gate):
    server = serve("--graceful-timeout", "0.2")
    (first,) = server.workers
    with start_in_worker(server.socket, gate.code) as connection:
        gate.wait_reached()
        os.kill(first, signal.SIGTERM)
        # A call that is in progress doesn't keep the signal from being heard.
        server.log.wait_for(rf"worker 0 \(pid {first}\) didn't finish in time and is killed$")
        assert connection.read_to_end() == b""
    assert who_answers(server) != first


def test_an_order_to_stop_ends_both(giving_way):
    server, _ = giving_way
    both = server.workers
    assert len(both) == 2
    assert server.stop() == 0
    wait_for_end(*both)
