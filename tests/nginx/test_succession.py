"""Workers that give way behind a real nginx: no request is lost, and no POST is repeated."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from support import nginx
from support.accounts import IS_ROOT
from support.processes import wait_caught
from support.servers import UDSRV
from support.waiting import PATIENCE_S

APP_USER = "games"
FIELDS = {"a": "x" * 1000}


@pytest.fixture
def open_site(start_udsrv, start_nginx, shared_directory: Path):
    """Return a function that starts a server and the nginx in front of it: server and URL."""

    def start(*options: str):
        user = ("--user", APP_USER) if IS_ROOT else ()
        server = start_udsrv("plain_site:app", *user, *options)
        port = nginx.free_port()
        where = ["--server-name", "localhost", "--listen", f"127.0.0.1:{port}"]
        command = [UDSRV, "gen-nginx", "--socket", server.socket, *where]
        config = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        start_nginx(config)
        return server, f"http://127.0.0.1:{port}/form"

    return start


def post_until(url: str, is_over) -> list[int]:
    """POST again and again; return the statuses."""
    statuses = []
    with requests.Session() as session:
        while not is_over():
            answer = session.post(url, data=FIELDS, timeout=PATIENCE_S)
            statuses.append(answer.status_code)
            assert answer.status_code != 200 or answer.json() == FIELDS
    return statuses


def lose_none(url: str, replace) -> None:
    """POST from several sides while ``replace`` runs; each is answered, and by the application."""
    with ThreadPoolExecutor() as pool:
        replacing = pool.submit(replace)
        posting = [pool.submit(post_until, url, replacing.done) for _ in range(8)]
        replacing.result()
        statuses = [status for each in posting for status in each.result()]
    assert set(statuses) == {200}


def test_workers_that_are_told_to_finish_lose_no_post(open_site):
    server, url = open_site("--workers", "2", "--log-level", "debug")
    told: list[int] = []

    def tell_each() -> None:
        for _ in range(6):
            worker = next(pid for pid in server.workers if pid not in told)
            wait_caught(worker, signal.SIGTERM)  # the second one may still be starting
            os.kill(worker, signal.SIGTERM)
            told.append(worker)
            server.log.wait_for("finishes: its successor is ready$", times=len(told))

    lose_none(url, tell_each)


def test_workers_that_have_served_enough_lose_no_post(open_site):
    server, url = open_site("--workers", "2", "--max-requests", "50", "--log-level", "debug")

    def wait() -> None:
        server.log.wait_for(r"has served 50 requests; a new one starts$", times=6)
        server.log.wait_for("finishes: its successor is ready$", times=6)

    lose_none(url, wait)
