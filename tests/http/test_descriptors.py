"""What a worker does that has no descriptor left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from support import raw_http
from support.remote import run_in_worker, start_in_worker
from support.servers import Udsrv

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SPARE = 4

LEAVE_FEW = f"""
import os, resource
highest = max(map(int, os.listdir("/proc/self/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (highest + {SPARE}, highest + {SPARE}))
"""

# What the process uses while this thread waits, and the other one has nothing to do.
MEASURE = """
import time
before = time.process_time()
time.sleep(1)
result = time.process_time() - before
"""

OUT = "warning: no descriptor left for another connection: accepting rests until one is closed$"


@pytest.fixture
def server(serve: Callable[..., Udsrv]) -> Udsrv:
    return serve("remote:app", "--threads", "2")


def test_without_descriptors_it_rests_and_then_goes_on(server: Udsrv):
    run_in_worker(server.socket, LEAVE_FEW)
    with ExitStack() as stack:
        measuring = stack.enter_context(start_in_worker(server.socket, MEASURE))
        clients = [
            stack.enter_context(raw_http.Connection(server.socket)) for _ in range(4 * SPARE)
        ]
        server.log.wait_for(OUT)
        # Trying again and again would have used all of that second, or what others left of it.
        used_s = float(measuring.read_response(method="POST").body)
        assert used_s < 0.05
        for client in clients:
            client.send(REQUEST)
        # Each that goes makes room for one that waits.
        for client in clients:
            assert client.read_response().status == 200
            client.close()
    assert server.log.count(OUT) == 1
    assert run_in_worker(server.socket, "result = 1") == 1
