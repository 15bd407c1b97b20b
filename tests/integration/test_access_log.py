"""The access log: a whole line for each request, whoever writes beside and whatever fails."""

import base64
import collections
import fcntl
import json
import os
import re
import threading

import pytest

from support.directories import open_to_applications
from support.log_file import LogFile
from support.raw_http import Connection, get, request
from support.waiting import wait_for_end

TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
ASKED = (
    b"GET /%41?q=1&r=%22 HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
    b'User-Agent: "x"\\\t\xff\r\nReferer: http://shop/\r\n'
    b"X-Forwarded-For: 6.6.6.6, 2001:db8::1\r\n"
    b"Authorization: Basic " + base64.b64encode(b'jo"e:secret') + b"\r\n\r\n"
)


@pytest.fixture
def log(shared_directory) -> LogFile:
    """The file that the server under test makes, beside its socket."""
    return LogFile(shared_directory / "run" / "access.log")


@pytest.fixture
def serve_logged(serve, log):
    """Return a function that starts a server for ``logged:app`` with an access log."""

    def start(*options: str, app: str = "logged:app", **details: object):
        return serve("--access-logfile", str(log.path), *options, app=app, **details)

    return start


def logged(server, log: LogFile, *requests: bytes) -> list[str]:
    """Send each request on a connection of its own; return all lines once the server has ended."""
    for raw in requests:
        with Connection(server.socket) as connection:
            connection.send(raw)
            connection.read_to_end()
    assert server.stop() == 0
    return log.text().splitlines()


def test_combined_is_what_log_analysers_know(serve_logged, log):
    (line,) = logged(serve_logged(), log, ASKED)
    shape = re.fullmatch(rf"(2001:db8::1 - jo\\x22e) ({TIME}) (.*)", line)
    assert shape, line
    assert shape[3] == (
        r'"GET /%41?q=1&r=%22 HTTP/1.1" 201 5 "http://shop/" "\x22x\x22\x5c\x09\xff"'
    )


def test_json_is_one_object_a_line(serve_logged, log):
    server = serve_logged("--access-logformat", "json")
    whole, bare = map(json.loads, logged(server, log, ASKED, b"GET / HTTP/1.0\r\n\r\n"))
    for line in (whole, bare):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line.pop("time"))
    assert whole.pop("pid") == bare.pop("pid") > 1
    assert 0 <= whole.pop("duration_us") < 10**8
    assert 0 <= bare.pop("duration_us") < 10**8
    assert whole == {
        "remote_addr": "2001:db8::1",
        "user": 'jo"e',
        "method": "GET",
        "path": "/%41",
        "query": "q=1&r=%22",
        "protocol": "HTTP/1.1",
        "status": 201,
        "bytes": 5,
        "referer": "http://shop/",
        "user_agent": '"x"\\\t\ufffd',
    }
    assert bare == {
        "remote_addr": None,
        "user": None,
        "method": "GET",
        "path": "/",
        "query": "",
        "protocol": "HTTP/1.0",
        "status": 201,
        "bytes": 5,
        "referer": None,
        "user_agent": None,
    }


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("%(h)s", "2001:db8::1"),
        ("%(l)s", "-"),
        ("%(u)s", r"jo\x22e"),
        ("%(r)s", "GET /%41?q=1&r=%22 HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(U)s", "/%41"),
        ("%(q)s", "q=1&r=%22"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "201"),
        ("%(B)s", "5"),
        ("%(b)s", "5"),
        ("%(f)s", "http://shop/"),
        ("%(a)s", r"\x22x\x22\x5c\x09\xff"),
        ("%({HOST}i)s", "shop"),
        ("%({x-forwarded-for}i)s", "6.6.6.6, 2001:db8::1"),
        ("%({nowhere}i)s", "-"),
        ("%({content-type}o)s", "text/plain"),
        ("%({X-Cart}o)s", r"a\x22\xe4,second"),
        ("%({content-length}o)s", "5"),
        ("%({connection}o)s", "close"),
        ("%({REMOTE_USER}e)s", r"\xc3\xa4\x22user"),
        ("%({remote_user}e)s", r"\xc3\xa4\x22user"),
        ("%({shop.cart}e)s", "7"),
        ("%({shop.bad}e)s", "-"),
        ("%({nowhere}e)s", "-"),
        ("100%% ü", "100% ü"),
    ],
)
def test_atoms_are_what_gunicorn_says_they_are(serve_ordinary, log, atom, expected):
    server = serve_ordinary(
        "--access-logfile", str(log.path), "--access-logformat", f"<{atom}> %(l)s", app="logged:app"
    )
    assert logged(server, log, ASKED) == [f"<{expected}> -"]


def test_times_are_of_one_clock_in_four_units(serve_logged, log):
    (line,) = logged(
        serve_logged("--access-logformat", "%(T)s %(M)s %(D)s %(L)s %(p)s %(t)s"), log, ASKED
    )
    shape = re.fullmatch(rf"(\d+) (\d+) (\d+) (\d+)\.(\d{{6}}) <\d+> {TIME}", line)
    assert shape, line
    seconds, milliseconds, microseconds, whole, part = map(int, shape.groups())
    assert microseconds == whole * 10**6 + part
    assert milliseconds == microseconds // 1000
    assert seconds == whole


def test_each_way_to_answer_has_its_line(serve_logged, log):
    def asking(method: str, path: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()

    wanted = {
        ("GET", "/empty"): "204 0 -",
        ("HEAD", "/"): "201 0 -",
        ("GET", "/parts"): "201 6 6",
        ("GET", "/broken"): "201 9 9",
        ("GET", "/raise"): "500 22 22",
    }
    server = serve_logged("--access-logformat", "%(m)s %(U)s %(s)s %(B)s %(b)s")
    lines = logged(server, log, *(asking(*each) for each in wanted))
    assert lines == [f"{method} {path} {rest}" for (method, path), rest in wanted.items()]


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"GARBAGE\r\n\r\n", '"-" 400 12 "-" "-"'),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", '"-" 414 13 "-" "-"'),
        (b"GET /a HTTP/1.1\r\nUser-Agent: me\r\n\r\n", '"GET /a HTTP/1.1" 400 12 "-" "me"'),
        (
            b"GET /a HTTP/1.1\r\nUser-Agent: me\r\nX: " + b"x" * 9000,
            '"GET /a HTTP/1.1" 431 32 "-" "me"',
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
            '"POST /a HTTP/1.1" 413 18 "-" "-"',
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            '"POST /a HTTP/1.1" 400 12 "-" "-"',
        ),
        (b"GET /a HTTP/1.1\r\nHo", '"GET /a HTTP/1.1" 408 16 "-" "-"'),
        (b"GET /a HT", '"-" 408 16 "-" "-"'),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nReferer: r\r\n\r\nabc",
            '"POST /a HTTP/1.1" 408 16 "r" "-"',
        ),
    ],
)
def test_a_refusal_has_a_line_with_what_is_known(serve_ordinary, log, raw, line):
    server = serve_ordinary(
        *("--access-logfile", str(log.path), "--head-timeout", "0.1", "--body-timeout", "0.1"),
        app="logged:app",
    )
    (written,) = logged(server, log, raw)
    assert re.fullmatch(rf"- - - {TIME} {re.escape(line)}", written), written


def test_lines_of_workers_and_threads_never_mix_and_none_is_missing(serve_logged, log):
    clients, requests, pad = 6, 400, "p" * 150
    server = serve_logged(
        *("--workers", "3", "--threads", "2", "--access-logformat", "%(p)s %(r)s %({x-pad}i)s")
    )
    server.log.wait_for(r"ready")

    def ask(client: int) -> None:
        for first in range(0, requests, 20):
            with Connection(server.socket) as connection:
                asked = range(first, first + 20)
                connection.send(
                    b"".join(
                        f"GET /{client}/{n} HTTP/1.1\r\nHost: x\r\nX-Pad: {pad}\r\n\r\n".encode()
                        for n in asked
                    )
                )
                for _ in asked:
                    assert connection.read_response().status == 201

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.stop() == 0
    lines = log.text().splitlines()
    found = [re.fullmatch(rf"<(\d+)> GET /(\d+/\d+) HTTP/1\.1 {pad}", line) for line in lines]
    assert all(found)
    counts = collections.Counter(match[2] for match in found if match)
    assert counts == {f"{c}/{n}": 1 for c in range(clients) for n in range(requests)}


def test_a_line_does_not_wait_for_another_request(serve_logged, log):
    server = serve_logged()
    get(server.socket)
    log.wait_for(" 201 5 ")
    get(server.socket)
    log.wait_for(" 201 5 ", times=2)


def test_a_line_does_not_wait_for_the_application(serve_logged, log, shared_directory):
    """The worker's only thread is in the application; the line before comes out all the same."""
    server = serve_logged(app="remote:app")
    gate = open_to_applications(shared_directory) / "gate"
    os.mkfifo(gate)
    gate.chmod(0o666)
    source = f"open({str(gate)!r}).read()".encode()
    with Connection(server.socket) as connection:
        connection.send(
            b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(source) + source
        )
        log.wait_for("/first")
        assert not log.count("/held")
        gate.write_text("go")
        assert [connection.read_response().status for _ in range(2)] == [200, 200]
    log.wait_for("/held")


def test_the_file_is_appended_to_and_closed_to_others(serve_logged, log):
    assert len(logged(serve_logged(), log, ASKED)) == 1
    assert log.path.stat().st_mode & 0o777 == 0o640
    assert len(logged(serve_logged(), log, ASKED)) == 2


def test_a_dash_is_standard_output(serve):
    read_fd, write_fd = os.pipe()
    server = serve("--access-logfile", "-", app="logged:app", stdout_fd=write_fd)
    os.close(write_fd)
    request(server.socket, ASKED)
    assert server.stop() == 0
    with open(read_fd) as lines:
        (line,) = lines
    assert " 201 5 " in line


def test_a_full_pipe_holds_up_nobody_and_what_it_cost_is_said(serve):
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
    server = serve(
        *("--access-logfile", "-", "--access-logformat", "%(U)s."),
        app="logged:app",
        stdout_fd=write_fd,
    )
    os.close(write_fd)
    total = 300
    for n in range(total):  # three times what finds room before it must be lost
        assert get(server.socket, f"/{n}/{'x' * 3500}").status == 201
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(open(read_fd)))  # noqa: SIM115
    reader.start()
    said = r"the access log has lost (\d+) lines: they came faster than they could be written$"
    server.log.wait_for(said)
    assert server.stop() == 0
    reader.join()
    lost = sum(map(int, re.findall(said, server.log.text(), re.MULTILINE)))
    assert lost > 0
    assert len(lines) + lost == total
    assert all(re.fullmatch(r"/\d+/x{3500}\.\n", line) for line in lines)


def test_a_pipe_that_nobody_reads_is_said_while_it_is_full(serve):
    read_fd, write_fd = os.pipe()
    server = serve("--access-logfile", "-", app="logged:app", stdout_fd=write_fd)
    os.close(write_fd)
    for _ in range(200):  # what is being written has room, and as much that waits: 512 KiB
        assert get(server.socket, f"/{'x' * 4000}").status == 201
    said = "warning: the access log can't be written, its lines are lost: the other end is not read"
    server.log.wait_for(rf"{said}$")
    assert server.log.count("the access log") == 1
    reader = threading.Thread(target=lambda: open(read_fd).read())  # noqa: SIM115
    reader.start()
    server.log.wait_for(r"the access log has lost \d+ lines: ")
    assert server.stop() == 0
    reader.join()


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_end(serve):
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
    server = serve("--access-logfile", "-", app="logged:app", stdout_fd=write_fd)
    for _ in range(5):
        assert get(server.socket, f"/{'x' * 3500}").status == 201
    assert server.stop() == 0
    said = "the access log has lost [1-5] lines?: the other end is not read$"
    assert server.log.count(said) == 1
    os.close(write_fd)
    os.close(read_fd)


def test_a_long_line_is_cut_where_it_would_mix_and_stays_one_object(serve):
    read_fd, write_fd = os.pipe()
    server = serve(
        *("--access-logfile", "-", "--access-logformat", "json"),
        app="logged:app",
        stdout_fd=write_fd,
    )
    os.close(write_fd)
    raw = b"GET /%s HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nReferer: r\r\n\r\n"
    request(server.socket, raw % (b"x" * 6000, b'"' * 6000))
    assert server.stop() == 0
    with open(read_fd) as lines:
        (line,) = lines
    assert len(line) <= 4096
    told = json.loads(line)
    assert told["user_agent"].endswith('"""...')
    assert told["path"].startswith("/xxx")
    assert told["path"].endswith("xxx...")
    assert told["referer"] == "r"


def test_a_device_that_is_full_costs_lines_and_not_requests(serve):
    full_fd = os.open("/dev/full", os.O_WRONLY)
    server = serve("--access-logfile", "-", app="logged:app", stdout_fd=full_fd)
    os.close(full_fd)
    assert get(server.socket).status == 201
    server.log.wait_for("the access log can't be written, its lines are lost: No space left")
    assert get(server.socket).status == 201
    assert server.stop() == 0
    assert server.log.count(r"the access log has lost 2 lines: No space left on device") == 1
    assert server.log.count("access log") == 2


def test_a_worker_that_dies_leaves_the_others_their_log(serve_logged, log):
    server = serve_logged("--workers", "2", app="remote:app")
    server.log.wait_for(r"\] loaded", times=2)
    victim = server.workers[0]
    os.kill(victim, 9)
    wait_for_end(victim)
    get(server.socket)
    log.wait_for(" 200 4 ")


def test_a_program_that_the_application_runs_does_not_get_the_log(serve_logged, log):
    server = serve_logged(app="remote:app")
    source = (
        b"import subprocess\n"
        b"result = subprocess.run(['/bin/ls', '-l', '/proc/self/fd'], close_fds=False,"
        b" capture_output=True, text=True).stdout"
    )
    raw = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(source)
    assert b"access.log" not in request(server.socket, raw + source).body


@pytest.mark.parametrize("place", ["missing", "FIFO", "link"])
def test_a_start_with_a_log_that_is_none_is_refused(serve_logged, log, shared_directory, place):
    server = serve_logged()
    server.stop()
    log.path.unlink()
    if place == "missing":
        server = serve_logged("--access-logfile", f"{log.path}/a", ready=False)
        assert server.wait_end() == 64
        return
    if place == "FIFO":
        os.mkfifo(log.path)
    else:
        log.path.symlink_to("/etc/passwd")
    server = serve_logged(ready=False)
    assert server.wait_end() == 78
    assert re.search(r"udsrv: .*access\.log: .*; a log is a plain file", server.log.text())
