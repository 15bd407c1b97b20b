"""The error log: one stream, one line per event, whatever the application writes."""

import json
import os
import re
import subprocess

from support.raw_http import request
from support.remote import run_in_worker, start_in_worker
from support.servers import UDSRV

STAMP = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ "


def lines_after(server, source: str, last: str) -> list[str]:
    """Run ``source`` in a worker; return the new lines up to one that ends with ``last``."""
    before = len(server.log.text())
    run_in_worker(server.socket, source)
    server.log.wait_for(rf"{re.escape(last)}$")
    return [re.sub(STAMP, "", line) for line in server.log.text()[before:].split("\n")[:-1]]


def test_every_way_of_writing_arrives_with_the_workers_number(serve):
    source = r"""
    import logging, os, subprocess, sys
    print("by print")
    print("by stderr", file=sys.stderr)
    environ["wsgi.errors"].write("by wsgi.errors\n")
    environ["wsgi.errors"].flush()
    logging.basicConfig()
    logging.getLogger("shop").warning("by logging")
    os.write(1, b"by descriptor\n")
    subprocess.run(["/bin/echo", "by a program"])
    with open("/dev/stdout", "w") as again:
        again.write("by /dev/stdout\n")
    with open("/proc/self/fd/2", "w") as again:
        again.write("the last\n")
    """
    assert lines_after(serve(), source, "the last") == [
        "[worker 0] by print",
        "[worker 0] by stderr",
        "[worker 0] by wsgi.errors",
        "[worker 0] WARNING:shop:by logging",
        "[worker 0] by descriptor",
        "[worker 0] by a program",
        "[worker 0] by /dev/stdout",
        "[worker 0] the last",
    ]


def test_each_worker_has_its_number(serve):
    server = serve("--workers", "3")
    server.log.wait_for(r"\] loaded", times=3)
    numbers = re.findall(r"\[worker (\d)\] loaded", server.log.text())
    assert sorted(numbers) == ["0", "1", "2"]


def test_nothing_that_is_written_can_forge_a_line_or_drive_a_terminal(serve):
    source = r"""
    import os
    os.write(1, b"one\r\x1b[2K2026-01-01 00:00:00Z [master] forged\x00\x9b\x07\xff\n")
    os.write(1, "äöü \u20ac \u202e\n".encode())
    print("the last")
    """
    lines = lines_after(serve(), source, "the last")
    assert lines == [
        "[worker 0] one\\x0d\\x1b[2K2026-01-01 00:00:00Z [master] forged\\x00\\x9b\\x07\\xff",
        "[worker 0] äöü € \u202e",
        "[worker 0] the last",
    ]


def test_a_long_line_is_split_and_nothing_of_it_is_lost(serve):
    source = r"""
    import sys
    print("x" * 30_000 + "\x1b" * 5_000)
    print("the last")
    """
    lines = lines_after(serve(), source, "the last")
    assert lines.pop() == "[worker 0] the last"
    assert all(len(line) < 4096 for line in lines)
    text = "".join(line.removeprefix("[worker 0] ") for line in lines)
    assert text == "x" * 30_000 + "\\x1b" * 5_000


def test_lines_of_several_threads_do_not_mix(serve):
    source = """
    import os, threading
    def write(letter):
        for _ in range(200):
            os.write(1, letter * 500 + b"\\n")
    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("the last")
    """
    lines = lines_after(serve("--threads", "2"), source, "the last")
    assert len(lines) == 601
    assert all(len(set(line.removeprefix("[worker 0] "))) == 1 for line in lines[:-1])


def test_an_exception_is_a_500_and_its_traceback_is_in_the_log_alone(serve):
    server = serve()
    body = b"raise RuntimeError('secret thing')"
    raw = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
    response = request(server.socket, raw % (len(body), body), method="POST")
    assert response.status == 500
    assert b"secret" not in response.body
    server.log.wait_for(r"\[worker 0\] RuntimeError: secret thing$")
    assert server.log.count("Traceback") == 1


def test_in_json_every_line_is_an_object_and_a_traceback_is_an_error(serve):
    server = serve("--log-format", "json")
    source = """
    import os, sys
    print('"quoted" \\x1b \u00e4')
    sys.stderr.write("<4>marked" + chr(10))
    os.write(2, b"x" * 9000 + bytes([10]))
    raise RuntimeError("secret" + chr(10) + "thing")
    """
    with start_in_worker(server.socket, source) as client:
        assert client.read_response(method="POST").status == 500
    server.log.wait_for('"message": "thing"')
    assert server.stop() == 0
    said = [json.loads(line) for line in server.log.text().splitlines()]
    assert all(set(each) == {"time", "level", "process", "message"} for each in said)
    levels = {each["message"]: (each["process"], each["level"]) for each in said}
    assert levels['"quoted" \x1b \xe4'] == ("worker 0", "info")
    assert levels["marked"] == ("worker 0", "warning")
    for line in ("POST /", "Traceback (most recent call last):", "RuntimeError: secret", "thing"):
        assert levels[line] == ("worker 0", "error")
    assert levels["SIGTERM: stopping within 30 s"] == ("master", "info")
    assert "".join(each["message"] for each in said).count("x" * 9000) == 1


def test_the_last_words_of_a_dying_worker_are_logged(serve):
    source = """
    import os
    os.write(2, b"cannot go on")
    os.abort()
    """
    server = serve()
    start_in_worker(server.socket, source).close()
    server.log.wait_for(r"\[worker 0\] cannot go on$")
    server.log.wait_for(r"worker 0 \(pid \d+\) was killed by signal 6; a new one starts$")


def test_a_start_and_a_stop_are_a_few_lines(serve_ordinary):
    server = serve_ordinary("--workers", "2", "--threads", "3", app="hello:app")
    user = re.search(r"runs as '([^']+)'", server.log.text())[1]
    assert server.stop() == 0
    facts = f"hello:app on {server.socket} ({user}:"
    lines = [re.sub(STAMP, "", line) for line in server.log.text().splitlines()]
    assert len(lines) == 4
    assert lines[0].startswith("[master] not started as root: the application runs as '")
    assert lines[1].startswith("[supervisor] sandbox: ")
    assert lines[2].startswith(f"[master] ready: {facts}")
    assert lines[2].endswith(f"0660), 2 workers with 3 threads as {user}")
    assert lines[3] == "[master] SIGTERM: stopping within 30 s"


def test_the_level_decides_what_is_logged(serve_ordinary):
    quiet = serve_ordinary("--log-level", "error", app="hello:app")
    assert quiet.stop() == 0
    assert quiet.log.text() == ""
    loud = serve_ordinary("--log-level", "debug", app="hello:app")
    assert loud.log.count(r"\[master\] debug: generation 1 is starting, supervisor pid \d+$") == 1


def test_under_the_journal_lines_have_no_time_of_ours(shared_directory):
    directory = shared_directory / "run"
    directory.mkdir()
    read_fd, write_fd = os.pipe()
    facts = os.fstat(write_fd)
    result = subprocess.Popen(
        [UDSRV, "--socket", directory / "s", "missing:app"],
        cwd=shared_directory,
        env={"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"},
        stderr=write_fd,
    )
    os.close(write_fd)
    with result, os.fdopen(read_fd) as output:
        lines = output.read().splitlines()
    assert any(line.startswith("<3>[worker 0] error: 'missing:app' doesn't load") for line in lines)
    assert all(re.match(r"<[346]>\[", line) for line in lines)
