"""Who may connect holds all that the kernel gives, and the others are served afterwards."""

from __future__ import annotations

import contextlib

from support.accounts import APP_USER
from support.raw_http import Connection, get
from support.servers import UDSRV

LIMIT = 128


def test_a_worker_without_descriptors_serves_whom_it_has_and_then_the_others(
    start_udsrv, shared_directory
):
    wrapper = shared_directory / "limited"
    wrapper.write_text(f'#!/bin/sh\nulimit -n {LIMIT}\nexec {UDSRV} "$@"\n')
    wrapper.chmod(0o755)
    server = start_udsrv("remote:app", "--user", APP_USER, udsrv=wrapper)
    ask = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Connection(server.socket))
        first.send(ask)
        assert first.read_response().status == 200
        for _ in range(10 * LIMIT):
            stack.enter_context(Connection(server.socket))
        server.log.wait_for("no descriptor left")
        first.send(ask)
        assert first.read_response().status == 200
    assert get(server.socket).status == 200
    assert server.log.count("no descriptor left") == 1
