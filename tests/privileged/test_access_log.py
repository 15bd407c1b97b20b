"""The access log as root opens it and as processes of the application hold it."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from support.accounts import APP_USER, OTHER_USER
from support.directories import make_directory_of
from support.log_file import LogFile
from support.processes import descendants_of
from support.raw_http import get, request, request_as
from support.servers import UDSRV
from support.strangers import run_as

# Less than the small disk has room for, and more than it takes for each worker to find it full.
SOME, ENOUGH = 20, 5000
PAD = "p" * 1500

# The file system is this process's alone, and goes with it. $1 is its place.
_ON_A_SMALL_DISK = """\
#!/bin/sh
exec unshare --mount sh -c '
    mount -t tmpfs -o size=64k,mode=755 none {place} && exec {udsrv} "$@"' sh "$@"
"""


def test_the_log_is_roots_and_its_directory_may_be_closed(serve, shared_directory):
    closed = shared_directory / "closed"
    closed.mkdir(mode=0o700)
    log = LogFile(closed / "access.log")
    server = serve("--access-logfile", str(log.path), app="logged:app")
    get(server.socket)
    log.wait_for('"GET / HTTP/1.1" 201 5')
    facts = log.path.stat()
    assert (facts.st_uid, facts.st_mode & 0o7777) == (0, 0o640)
    source = f"try: open({str(log.path)!r})\nexcept OSError as error: print(error.strerror)"
    assert run_as(APP_USER, source) == "Permission denied"


@pytest.mark.parametrize("planted", ["file", "FIFO"])
def test_what_somebody_else_has_put_there_is_refused(serve, shared_directory, planted):
    sticky = shared_directory / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    path = sticky / "access.log"
    make = f"os.mkfifo({str(path)!r})" if planted == "FIFO" else f"open({str(path)!r}, 'w')"
    run_as(OTHER_USER, f"import os; {make}")
    server = serve("--access-logfile", str(path), ready=False)
    assert server.wait_end() in (77, 78)
    assert re.search(r"access\.log", server.log.text())
    assert "ready" not in server.log.text()


def test_a_directory_of_the_applications_is_refused(serve, shared_directory):
    place = make_directory_of(APP_USER, shared_directory / "mine")
    server = serve("--access-logfile", str(place / "access.log"), ready=False)
    assert server.wait_end() == 77
    assert f"{place} (uid" in server.log.text()
    assert not list(place.iterdir())


def test_check_looks_at_the_log_and_makes_none(shared_directory):
    (shared_directory / "app").mkdir()
    path = shared_directory / "access.log"
    command = [UDSRV, "check", "--socket", shared_directory / "a.sock", "--user", APP_USER]
    command += ["--access-logfile", path, "os:getcwd"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=shared_directory / "app")
    assert f"ok  access log   {path}\n" in result.stdout
    assert result.returncode == 0, result.stderr
    assert not path.exists()
    path.mkdir()
    result = subprocess.run(command, capture_output=True, text=True, cwd=shared_directory / "app")
    assert result.returncode == 78
    assert "a log is a plain file" in result.stderr


def test_the_address_is_only_believed_from_a_trusted_peer(serve, shared_directory):
    log = LogFile(shared_directory / "access.log")
    server = serve(
        *("--access-logfile", str(log.path), "--access-logformat", "%(h)s %({x-real-ip}i)s"),
        *("--trusted-peer", "root", "--socket-owner", OTHER_USER),
        app="logged:app",
    )
    raw = b"GET / HTTP/1.0\r\nX-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.2\r\n\r\n"
    request_as(OTHER_USER, server.socket, raw)
    request(server.socket, raw)
    assert server.stop() == 0
    assert log.text() == "- -\n10.0.0.1 10.0.0.2\n"


def test_no_process_of_the_application_holds_a_terminal_for_the_log(serve):
    terminal_fd, theirs_fd = pty.openpty()
    name = os.ttyname(theirs_fd)
    server = serve("--access-logfile", "-", app="logged:app", stdout_fd=theirs_fd)
    os.close(theirs_fd)

    def held(pid: int) -> set[str]:
        return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}

    assert name in held(server.pid)
    assert not [pid for pid in descendants_of(server.pid) if name in held(pid)]
    get(server.socket)
    shown = b""
    while b" 201 5 " not in shown:
        shown += os.read(terminal_fd, 4096)
    os.close(terminal_fd)
    assert get(server.socket).status == 201
    assert server.stop() == 0


def test_a_disk_that_is_full_costs_lines_that_are_counted_and_no_request(serve, shared_directory):
    place = shared_directory / "disk"
    place.mkdir()
    script = shared_directory / "udsrv"
    script.write_text(_ON_A_SMALL_DISK.format(place=place, udsrv=UDSRV))
    script.chmod(0o755)
    server = serve(
        *("--workers", "2", "--access-logfile", str(place / "access.log")),
        *("--access-logformat", "%(U)s %({x-pad}i)s."),
        app="logged:app",
        udsrv=script,
    )
    path = Path(f"/proc/{server.pid}/root{place}/access.log")

    def ask(n: int) -> None:
        raw = f"GET /{n} HTTP/1.1\r\nHost: x\r\nX-Pad: {PAD}\r\n\r\n"
        assert request(server.socket, raw.encode()).status == 201

    # A worker that has not said so yet may be in the middle of a line, and go on with it.
    full = "the access log can't be written, its lines are lost: No space left"
    asked = 0
    while server.log.text().count(full) < 2:
        ask(asked)
        asked += 1
        assert asked < ENOUGH
    lines = path.read_text().splitlines()
    os.truncate(path, 0)
    for n in range(asked, asked + SOME):
        ask(n)
    # The tmpfs goes with the last process, so it is held until the file has been read.
    place_fd = os.open(path.parent, os.O_RDONLY)
    assert server.stop() == 0
    file_fd = os.open("access.log", os.O_RDONLY, dir_fd=place_fd)
    os.close(place_fd)
    with open(file_fd) as file:
        lines += file.read().splitlines()
    whole = [line for line in lines if re.fullmatch(rf"/\d+ {PAD}\.", line)]
    said = r"the access log has lost (\d+) lines?: No space left on device"
    losses = re.findall(said, server.log.text())
    # The end of the space cuts one line off, and what had been gathered may fill the disk once
    # more; each worker may have ended such a line.
    assert len([line for line in lines if line and line not in whole]) <= 2
    assert lines.count("") <= 2 * len(losses)
    lost = sum(map(int, losses))
    assert len(whole) == len(set(whole))
    assert len(whole) + lost == asked + SOME
