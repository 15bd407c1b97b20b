"""The operator's terminal stays the master's."""

import os
import pty

from support.processes import descendants_of
from support.remote import run_in_worker


def held(pid: int) -> set[str]:
    fds = f"/proc/{pid}/fd"
    return {os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)}


def test_no_process_of_the_application_gets_the_operators_terminal(serve):
    terminal_fd, theirs_fd = pty.openpty()
    server = serve(stderr_fd=theirs_fd)
    name = os.ttyname(theirs_fd)
    os.close(theirs_fd)
    assert name in held(server.pid)
    below = descendants_of(server.pid)
    assert len(below) == 2
    assert not [pid for pid in below if name in held(pid)]
    run_in_worker(server.socket, r"import os; os.write(2, b'\x1b]0;evil\x07\n')")
    shown = b""
    while b"evil" not in shown:
        shown += os.read(terminal_fd, 4096)
    assert b"\x1b" not in shown
    os.close(terminal_fd)
    # The terminal is gone; the service is not.
    assert run_in_worker(server.socket, "print('nobody sees it'); result = 1") == 1
    os.kill(server.workers[0], 9)
    assert run_in_worker(server.socket, "result = 2") == 2
    assert server.stop() == 0
