"""Start a program under the application's ids: fork, drop, exec.

Runs as: root, and between fork and exec as the application's user. Imports the standard library
and ``udsrv.errors`` only. The master is single-threaded, so Python may run in its fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from udsrv.errors import PrivilegeError, UdsrvError
from udsrv.privileged import kernel
from udsrv.privileged.drop import Identity, drop_to

# Descriptors are first moved up here, so that putting one in place can't overwrite another.
_SAFE_FD = 64

# The open files of a process when nobody asked for more: as in the generated unit.
OPEN_FILES = 65536
# With fewer there is no room for what is moved up, nor for connections.
FEWEST_FILES = 128


@dataclass(frozen=True)
class SpawnSpec:
    """What to start, as whom (None: as we are), and which descriptors it gets, from 0 up.

    Whoever it is has no capability and no privilege to gain any.
    """

    argv: Sequence[str]
    environ: dict[str, str]
    directory: str
    fds: Sequence[int]
    identity: Identity | None


def spawn(spec: SpawnSpec) -> int:
    """Start the program and return its pid. It dies with the caller."""
    return _fork(spec.identity, lambda: _execute(spec))


def run_as(identity: Identity | None, task: Callable[[], None]) -> int:
    """Run ``task`` in a child with the ids of ``identity`` and return its exit code.

    Raises:
        PrivilegeError: it was killed.
    """
    _, status = os.waitpid(_fork(identity, task), 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise PrivilegeError(f"a preparing process was killed by signal {-code}")
    return code


def _fork(identity: Identity | None, task: Callable[[], None]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(identity, parent, task)
    return pid


def _child(identity: Identity | None, parent: int, task: Callable[[], None]) -> NoReturn:
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()  # no controlling terminal whose input could be faked
        os.umask(0o077)
        _limit_resources()
        drop_to(identity)
        # After the drop, which clears it. Source: prctl(2), PR_SET_PDEATHSIG.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            task()
            code = 0
    except UdsrvError as error:
        _say(str(error))
        code = error.exit_code
    except OSError as error:
        _say(f"{error.filename or 'a system call'}: {error.strerror}")
        code = PrivilegeError.exit_code
    except BaseException as error:  # the edge of a process: nothing may return into the master
        _say(repr(error))
    finally:
        os._exit(code)


def _limit_resources() -> None:
    """Set limits that can't be raised again once the ids are gone. Source: getrlimit(2).

    No core, which would put the application's secrets on the disk; no POSIX message queue, which
    outlives its maker; a number of open files that is both limits. Processes aren't limited here:
    RLIMIT_NPROC counts all of a user's on the machine, TasksMax= of a unit those of one service.

    Raises:
        PrivilegeError: too few files may be open.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(soft, min(hard, OPEN_FILES))
    if files < FEWEST_FILES:
        raise PrivilegeError(
            f"at most {files} files may be open, and a process of the application's needs"
            f" {FEWEST_FILES}: raise it with 'ulimit -n 1024', or LimitNOFILE= in a unit"
        )
    for which, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NOFILE, files),
    ):
        resource.setrlimit(which, (most, most))


def _say(text: str) -> None:
    os.write(2, f"udsrv: {text}\n".encode("utf-8", "backslashreplace"))


def _execute(spec: SpawnSpec) -> None:
    os.chdir(spec.directory)
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, _SAFE_FD) for fd in spec.fds]
    for place, fd in enumerate(moved):
        os.dup2(fd, place)
    # Not closerange(): where close_range(2) is refused, it would try two thousand million numbers.
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd >= len(moved):
            with contextlib.suppress(OSError):  # the listing's own
                os.close(fd)
    os.execve(spec.argv[0], list(spec.argv), spec.environ)  # noqa: S606 - exec is the point
