"""Try attacks, each in a child of its own: it has the rights of its parent, and can't spoil it."""

from __future__ import annotations

import errno
import os
import select
import signal
import tempfile
from collections.abc import Iterable

from .registry import ATTACKS, Facts, RefusedError

PATIENCE_S = 10
SUCCEEDED = "succeeded"


def run(names: Iterable[str], facts: Facts) -> dict[str, str]:
    """Return for each attack an errno's name, a signal's name, or "succeeded" with evidence."""
    told = {"master": os.getppid(), **facts, "attacker": os.getpid(), "tmp": tempfile.gettempdir()}
    return {name: _run_one(name, told) for name in names}


def _run_one(name: str, facts: Facts) -> str:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        _attempt(name, facts, write_fd)
    os.close(write_fd)
    outcome = b""
    try:
        while select.select([read_fd], [], [], PATIENCE_S)[0]:
            if not (chunk := os.read(read_fd, 65536)):
                break
            outcome += chunk
        else:
            outcome = b"hangs"
    finally:
        os.close(read_fd)
        os.kill(pid, signal.SIGKILL)  # it may have become anything
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if outcome:
        return outcome.decode(errors="replace")
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _attempt(name: str, facts: Facts, write_fd: int) -> None:
    try:
        evidence = ATTACKS[name].attempt(facts)
        outcome = SUCCEEDED if evidence is None else f"{SUCCEEDED}: {evidence}"
    except RefusedError as refused:
        outcome = str(refused)
    except OSError as error:
        outcome = errno.errorcode.get(error.errno or 0, repr(error))
    except BaseException as error:
        outcome = repr(error)
    os.write(write_fd, outcome.encode()[:4096])
    os._exit(0)
