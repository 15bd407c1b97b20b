"""What `make run` starts, and that it leaves nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.log_file import LogFile
from support.nginx import free_port
from support.processes import descendants_of
from support.waiting import wait_for_end

TREE = Path(__file__).parents[2]


def run_example(port: int, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, TREE / "tools" / "run_example.py", "--port", str(port)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE / "tests")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@pytest.fixture
def example(tmp_path) -> Iterator[tuple[subprocess.Popen[bytes], str, LogFile]]:
    port = free_port()
    log = LogFile(tmp_path / "output")
    process = run_example(port, log.path)
    try:
        log.wait_for("Ctrl-C ends it", unless_ends=process.pid)
        yield process, f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        process.wait()


def test_the_example_answers_through_nginx(example):
    _, url, _ = example
    page = requests.get(f"{url}/", timeout=30)
    assert page.status_code == 200
    assert "knows you as 127.0.0.1 over http" in page.text
    greeting = requests.post(f"{url}/greet", data={"name": "World"}, timeout=30)
    assert greeting.json() == {"greeting": "Hello, World!"}


def test_a_mistake_is_a_500_whose_traceback_is_in_the_log_alone(example):
    _, url, log = example
    answer = requests.get(f"{url}/mistake", timeout=30)
    assert answer.status_code == 500
    assert "mistake" not in answer.text
    log.wait_for("RuntimeError: the application made a mistake")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(example, number):
    process, _, log = example
    place = Path(re.search(r"Everything is in (\S+)\.", log.text())[1])
    assert (place / "app.sock").is_socket()
    started = descendants_of(process.pid)
    process.send_signal(number)
    assert process.wait(30) == 0
    wait_for_end(*started)
    assert not place.exists()


def test_a_busy_port_names_its_owner_and_another_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        log = tmp_path / "output"
        assert run_example(port, log).wait(30) == 1
        assert f"port {port} is held by" in log.read_text()
        assert f"(pid {os.getpid()}); try: make run PORT=" in log.read_text()
