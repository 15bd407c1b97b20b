"""What root opens, and what a worker can make it open."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from support.accounts import APP_USER
from support.raw_http import get
from support.remote import run_in_worker
from support.servers import UDSRV


def opened_by_root(trace: str) -> set[str]:
    """Return the paths in system calls that processes made before they became another user.

    A process that is not root any more makes none that is.
    """
    dropped: set[str] = set()
    paths: set[str] = set()
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        if made := re.search(r"\b(?:v?fork|clone3?)\(.*= (\d+)$", call):
            dropped |= {made[1]} if pid in dropped else set()
        elif re.match(r"setresuid\([1-9].* = 0$", call.strip()):
            dropped.add(pid)
        elif pid not in dropped:
            paths |= set(re.findall(r'"((?:/tmp|/var/tmp|/dev/shm)[^"]*)"', call))
    return paths


def test_root_opens_nothing_where_everybody_may_write(start_udsrv, shared_directory):
    trace = shared_directory / "trace"
    wrapper = shared_directory / "traced"
    calls = "trace=%file,%process,setresuid,bind,connect"
    wrapper.write_text(f'#!/bin/sh\nexec strace -f -s 4096 -o {trace} -e {calls} {UDSRV} "$@"\n')
    wrapper.chmod(0o755)
    server = start_udsrv("remote:app", "--user", APP_USER, udsrv=wrapper, ready=False)
    server.log.wait_for("ready: ")
    assert get(server.socket).status == 200
    (master,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (supervisor,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    os.kill(int(supervisor), signal.SIGKILL)
    server.log.wait_for("ready: ", times=2)
    server.socket.unlink()
    server.log.wait_for("it is back")
    os.kill(int(master), signal.SIGTERM)
    server.wait_end()
    found = opened_by_root(trace.read_text())
    # The test's own directory is in /tmp; what is below it was named on the command line.
    assert f"{shared_directory}/app" in found
    named = str(shared_directory)
    assert {path for path in found if not path.startswith(named)} - {"/tmp"} == set()


PLANT = """
import os, shutil, tempfile
mine = tempfile.gettempdir()
for name in ("error.log", "access.log", "udsrv.pid", "app.sock"):
    os.symlink({victim!r}, os.path.join(mine, name))
result = "inside"
try:
    os.rename(mine, mine + "-moved")
    os.symlink({directory!r}, mine)
except PermissionError:
    pass
else:
    result = mine
"""


@pytest.mark.parametrize(
    ("signal_number", "sandbox"), [(signal.SIGTERM, "best-effort"), (signal.SIGKILL, "off")]
)
def test_links_that_a_worker_plants_lead_nobody_anywhere(
    start_udsrv, shared_directory, signal_number, sandbox
):
    victims = shared_directory / "victims"
    victims.mkdir()
    victim = victims / "file"
    victim.write_text("kept\n")
    victim.chmod(0o600)
    before = victim.stat()
    server = start_udsrv("remote:app", "--user", APP_USER, "--sandbox", sandbox)
    planted = run_in_worker(server.socket, PLANT.format(victim=str(victim), directory=str(victims)))
    os.kill(server.supervisors[0], signal.SIGKILL)
    server.log.wait_for("ready: ", times=2)
    assert run_in_worker(server.socket, "result = 1") == 1
    server.process.send_signal(signal_number)
    server.wait_end()
    again = start_udsrv("remote:app", "--user", APP_USER)
    assert again.stop() == 0
    assert victim.read_text() == "kept\n"
    assert victim.stat()[:7] == before[:7]
    assert list(victims.iterdir()) == [victim]
    # Without the sandbox the directory itself could be replaced.
    assert (planted == "inside") is (sandbox != "off")
    if sandbox == "off":
        Path(planted).unlink(missing_ok=True)
