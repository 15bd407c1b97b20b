"""What a worker that has been taken over does to the others with what it holds."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.accounts import APP_USER
from support.gates import Gate
from support.processes import children_of
from support.raw_http import get
from support.remote import FIND_LISTENER, run_in_worker, start_in_worker
from support.waiting import wait_for_end


@pytest.fixture
def serve(start_udsrv):
    def start(*options: str, app: str = "remote:app", **details: object):
        return start_udsrv(app, "--user", APP_USER, *options, **details)

    return start


# ---- the listener -------------------------------------------------------------------------------

SPOIL_LISTENER = FIND_LISTENER + "found = find_listener(); found.setblocking(True); found.listen(0)"


def listener_of(server) -> tuple[bool, int]:
    """Tell whether accepting waits, and how long the queue may be. Source: proc(5), ss(8)."""
    shown = subprocess.run(["ss", "-Hxlp"], capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in shown.splitlines() if f"{server.socket}.d/staged " in line)
    fd = re.search(rf"pid={server.pid},fd=(\d+)", line)[1]
    facts = Path(f"/proc/{server.pid}/fdinfo/{fd}").read_text()
    flags = int(re.search(r"^flags:\s+(\d+)$", facts, re.MULTILINE)[1], 8)
    return not flags & os.O_NONBLOCK, int(line.split()[3])


def test_what_a_worker_makes_of_the_listener_ends_with_its_generation(serve):
    server = serve("--backlog", "64")
    assert listener_of(server) == (False, 64)
    run_in_worker(server.socket, SPOIL_LISTENER)
    assert listener_of(server) == (True, 0)
    os.kill(server.supervisors[0], signal.SIGKILL)
    server.log.wait_for("ready: ", times=2)
    assert listener_of(server) == (False, 64)
    assert get(server.socket).status == 200


# ---- signals that the kernel sends --------------------------------------------------------------

# Source: fcntl(2), F_SETOWN: who may be signalled is asked when the signal is sent.
ASYNC = """
import fcntl, os, signal, socket
for target in {targets}:
    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETOWN, target)
    fcntl.fcntl(ours, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    theirs.send(b"x")
result = os.getpid()
"""


def test_the_kernel_sends_the_master_nothing_for_a_worker(serve):
    server = serve()
    run_in_worker(server.socket, ASYNC.format(targets=[server.pid]))
    server.socket.unlink()
    server.log.wait_for("it is back, nothing queued was lost")


@pytest.mark.parametrize("whose", ["supervisor", "sibling"])
@pytest.mark.parametrize("sandbox", ["best-effort", "off"])
def test_the_kernel_sends_ours_nothing_for_a_worker(serve, whose, sandbox):
    """The same user's: what Landlock refuses since its ABI 6 ends them without it."""
    server = serve("--workers", "2", "--sandbox", sandbox)
    server.log.wait_for(r"\[worker 1\] loaded")
    abi = re.search(r" sandbox: Landlock ABI (\d+)", server.log.text())
    is_refused = sandbox != "off" and abi is not None and int(abi[1]) >= 6
    targets = server.supervisors
    if whose == "sibling":
        targets = f"{set(server.workers)} - {{os.getpid()}}"
    start_in_worker(server.socket, ASYNC.format(targets=targets)).close()
    if not is_refused:
        server.log.wait_for(r"was killed by signal 9; a new one starts$")
        return
    for worker in server.workers:
        os.kill(worker, signal.SIGTERM)
        server.log.wait_for(rf"\(pid {worker}\) was told to finish; a new one starts$")
        wait_for_end(worker)
    assert "killed by signal" not in server.log.text()


def test_the_kernel_sends_nobody_anything_about_the_listener(serve):
    # The description is shared with the master: its owner hears of every connection.
    source = f"""
{FIND_LISTENER}
import fcntl, signal
found = find_listener()
fcntl.fcntl(found, fcntl.F_SETOWN, {{pid}})
fcntl.fcntl(found, fcntl.F_SETSIG, signal.SIGKILL)
fcntl.fcntl(found, fcntl.F_SETFL, fcntl.fcntl(found, fcntl.F_GETFL) | os.O_ASYNC)
"""
    server = serve()
    run_in_worker(server.socket, source.format(pid=server.pid))
    assert get(server.socket).status == 200
    server.socket.unlink()
    server.log.wait_for("it is back, nothing queued was lost")


# ---- output, descriptors, processes -------------------------------------------------------------


def test_a_flood_of_output_starves_no_sibling(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    server = serve("--workers", "2")
    server.log.wait_for(r"\[worker 1\] loaded")
    flood = f"""
import os, threading
def pour():
    while True:
        os.write(1, b"x" * 100 + b"\\n")
threading.Thread(target=pour, daemon=True).start()
{gate.code}
"""
    with start_in_worker(server.socket, flood):
        gate.wait_reached()
        server.log.wait_for("x" * 100, times=1000)
        for _ in range(20):
            assert get(server.socket).status == 200
        victim = run_in_worker(server.socket, "import os; result = os.getpid()")
        os.kill(victim, signal.SIGKILL)
        server.log.wait_for(rf"\(pid {victim}\) was killed by signal 9; a new one starts$")
        assert get(server.socket).status == 200
        gate.open()
    gate.close()


FLOOD_MASTER = """
import os, socket
channel = socket.socket(fileno=os.dup(3))
sent = os.memfd_create("sent-upwards")
channel.setblocking(True)
drained = (2).to_bytes(1, "little") + bytes(15)
for number in range(200):
    socket.send_fds(channel, [drained], [sent] * (number % 50))
channel.setblocking(False)
"""


def test_descriptors_that_a_supervisor_sends_never_become_the_masters(serve):
    server = serve("--preload", "-e", f"BEFORE_LOADING={FLOOD_MASTER}", app="gated:app")
    held = {pid: held_by(pid) for pid in (server.pid, *server.supervisors)}
    assert [target for target in held[server.supervisors[0]] if "sent-upwards" in target]
    assert not [target for target in held[server.pid] if "sent-upwards" in target]


def held_by(pid: int) -> list[str]:
    """Return what the descriptors of a process are of."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(fd))
    return found


# A process that is gone when its child is there: who kills one has to find the next.
CHAIN = """
import os
if os.fork() == 0:
    os.setsid()
    for _ in range(8):
        if os.fork() == 0:
            os.closerange(3, 64)
            while True:
                if os.fork():
                    os._exit(0)
    os._exit(0)
os.wait()
"""


def test_a_chain_of_forks_ends_with_its_generation(serve):
    server = serve()
    run_in_worker(server.socket, CHAIN)
    below = children_of(server.supervisors[0])
    os.kill(server.supervisors[0], signal.SIGKILL)
    server.log.wait_for("ready: ", times=2)
    wait_for_end(*below, patience_s=1)
    assert len(children_of(server.pid)) == 1


OUTLIVE = """
import ctypes, os, signal
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG: none
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
"""


def test_a_worker_that_wants_to_outlive_its_supervisor_ends_with_it(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    server = serve()
    (worker,) = server.workers
    with start_in_worker(server.socket, OUTLIVE + gate.code):
        gate.wait_reached()
        os.kill(server.supervisors[0], signal.SIGKILL)
        wait_for_end(worker)
    server.log.wait_for("ready: ", times=2)
    assert get(server.socket).status == 200
    gate.close()
