"""Start, observe and stop one server at a time.

Runs as: whoever runs the benchmark. Ends only processes below the one it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import ServerFailed

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class ServerSpec:
    """How one server is started; ``{socket}`` in the command stands for the socket's path."""

    name: str
    command: tuple[str, ...]


def server_specs(
    *, floor: Path, peers: Path, udsrv: Path, app_directory: Path, user: str | None
) -> tuple[ServerSpec, ...]:
    """Say how each server is run: one process that serves, one thread unless its name says so."""
    drop = ("--user", user) if user else ()
    return (
        ServerSpec("floor", (str(floor), "{socket}")),
        ServerSpec(
            "bjoern",
            (
                str(peers / "bin" / "python"),
                "-c",
                "import sys, bjoern, hello; bjoern.run(hello.app, 'unix:' + sys.argv[1])",
                "{socket}",
            ),
        ),
        ServerSpec(
            "granian",
            (
                str(peers / "bin" / "granian"),
                *("--interface", "wsgi"),
                *("--uds", "{socket}"),
                *("--workers", "1", "--blocking-threads", "1"),
                # Its default mode costs 6 % more here.
                *("--http", "1", "--runtime-mode", "st"),
                *("--log-level", "warning"),
                "hello:app",
            ),
        ),
        *(
            ServerSpec(
                f"udsrv-{threads}",
                (
                    str(udsrv),
                    *("--socket", "{socket}"),
                    *("--workers", "1", "--threads", str(threads)),
                    *("--pythonpath", str(app_directory)),
                    *drop,
                    "hello:app",
                ),
            )
            for threads in (1, 4)
        ),
    )


class RunningServer:
    """A server that answers connects on its socket, with every process below it."""

    def __init__(self, process: subprocess.Popen[bytes], *, directory: Path, log: Path) -> None:
        self.directory = directory
        self._process = process
        self._log = log

    def processes(self) -> list[int]:
        """List the pids of the started process and of everything below it."""
        return descendants(self._process.pid)

    def cpu_ns(self) -> dict[int, int]:
        """CPU time so far, user and system, of every thread of each process, by pid.

        Raises:
            ServerFailed: a process ended meanwhile.
        """
        try:
            return {pid: process_cpu_ns(pid) for pid in self.processes()}
        except OSError as error:
            raise self.failed("a process of it ended while it was measured") from error

    def failed(self, what: str) -> ServerFailed:
        """Describe a failure of this server with the end of what it wrote."""
        return ServerFailed(f"{what}; {self._log} ends with:\n{tail(self._log)}")

    def check_pinned(self, core: int) -> None:
        """Refuse a server that moved a thread away from ``core``.

        Raises:
            ServerFailed: one of its threads may run elsewhere.
        """
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").iterdir():
                if os.sched_getaffinity(int(task.name)) != {core}:
                    raise self.failed(f"thread {task.name} is not pinned to core {core}")

    def wait_until_ready(self, path: Path) -> None:
        """Return once a connect to ``path`` succeeds.

        Raises:
            ServerFailed: the server exited, or was not ready in time.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if (code := self._process.poll()) is not None:
                raise self.failed(f"exited with {code} before it served")
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(path))
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
        raise self.failed(f"did not listen on {path} within {START_TIMEOUT_S:.0f} s")

    def stop(self) -> None:
        """End the server: SIGTERM to the started process, SIGKILL to what is left of it later.

        Raises:
            ServerFailed: it was still running when its time was up.
        """
        held_fds = []
        for pid in self.processes():
            # A descriptor means this very process, whoever gets its pid later.
            with contextlib.suppress(ProcessLookupError):
                held_fds.append(os.pidfd_open(pid))
        try:
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise self.failed(f"did not stop within {STOP_TIMEOUT_S:.0f} s") from error
        finally:
            for held_fd in held_fds:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(held_fd, signal.SIGKILL)
                os.close(held_fd)
            self._process.wait()


@contextlib.contextmanager
def running(spec: ServerSpec, *, directory: Path, log: Path, core: int) -> Iterator[RunningServer]:
    """``spec`` serves on ``directory/bench.sock``, pinned to ``core``, until the block ends."""
    path = directory / "bench.sock"
    path.unlink(missing_ok=True)
    with log.open("wb") as output, pinned(core):
        process = subprocess.Popen(
            [part.replace("{socket}", str(path)) for part in spec.command],
            cwd=directory,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = RunningServer(process, directory=directory, log=log)
    try:
        server.wait_until_ready(path)
        server.check_pinned(core)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Start processes on ``core``: a child inherits the affinity of the thread that forks it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def process_cpu_ns(pid: int) -> int:
    """Read another process's CPU clock: all its threads, ended ones too, in nanoseconds.

    The clock's id is what clock_getcpuclockid(3) computes: the complement of the pid above three
    bits that say "the whole process, as the scheduler counts". (``/proc/PID/stat`` has ticks of
    10 ms.)
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def descendants(root: int) -> list[int]:
    """List ``root`` and every process below it, parents first."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # proc_pid_stat(5): the name may hold anything, so fields start after its last ')'.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            children[int(fields[1])].append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children[pid])
    return found


def tail(log: Path) -> str:
    """Return the last lines of ``log``."""
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join(lines) or "(nothing)"
