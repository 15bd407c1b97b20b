"""Start, observe and stop one server at a time.

Runs as: whoever runs the benchmark. Ends only processes below the one it started.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import BenchmarkError, ServerFailed
from scenarios import Scenario

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class ServerSpec:
    """How one server is started; ``{address}`` in the command stands for where it listens."""

    name: str
    command: tuple[str, ...]
    # Requests that the client sends on one connection; 0 is no limit.
    reuse: int = 0
    is_tcp: bool = False


@dataclass(frozen=True)
class Places:
    """Where the programs are, and what surrounds a server."""

    cache: Path
    udsrv: Path
    app_directory: Path
    user: str | None

    @property
    def peers(self) -> Path:
        """The directory of the peers' commands."""
        return self.cache / "peers" / "bin"

    @property
    def access_log(self) -> Path:
        """What a server with an access log writes; removed after its turn."""
        return self.app_directory / "access.log"


def server_spec(name: str, scenario: Scenario, places: Places) -> ServerSpec:
    """Say how the server called ``name`` is run: one process that serves ``scenario.app``.

    A name is a program, and after it ``-N`` (threads), ``-log`` (access log), ``-tcp``, or
    ``-aside`` for hello with a call of the Flask route.
    """
    program, *marks = name.split("-")
    threads = next((int(mark) for mark in marks if mark.isdigit()), 1)
    build = PROGRAMS[program]
    return build(name, scenario, places, threads, "log" in marks)


def floor(name: str, scenario: Scenario, places: Places, threads: int, has_log: bool) -> ServerSpec:
    """The C program, told what the scenario's answers are."""
    is_tcp = name.endswith("-tcp")
    body = str(scenario.body_bytes)
    options = ["--body", body]
    if scenario.post_bytes:
        options = ["--post", str(scenario.post_bytes)]
    if scenario.from_file:
        options += ["--file", str(places.app_directory / "one-mib.txt")]
    if is_tcp:
        options.append("--tcp")
    return ServerSpec(name, (str(places.cache / "floor"), "{address}", *options), is_tcp=is_tcp)


def loop(name: str, scenario: Scenario, places: Places, threads: int, has_log: bool) -> ServerSpec:
    """The few lines of Python, which call Flask if the name says so."""
    options = ["--flask"] if name == "loop-flask" else []
    program = str(places.app_directory / "loop.py")
    return ServerSpec(name, (str(places.peers / "python"), program, "{address}", *options))


def in_python(places: Places, code: str) -> tuple[str, ...]:
    """The command of a server that has none of its own."""
    return (str(places.peers / "python"), "-c", code, "{address}")


def bjoern(
    name: str, scenario: Scenario, places: Places, threads: int, has_log: bool
) -> ServerSpec:
    """One thread is all it has."""
    is_tcp = name.endswith("-tcp")
    module, app = scenario.app.split(":")
    address = "'127.0.0.1', int(sys.argv[1])" if is_tcp else "'unix:' + sys.argv[1]"
    code = f"import sys, bjoern, {module}; bjoern.run({module}.{app}, {address})"
    return ServerSpec(name, in_python(places, code), is_tcp=is_tcp)


def freastal(
    name: str, scenario: Scenario, places: Places, threads: int, has_log: bool
) -> ServerSpec:
    """TCP is all it has."""
    module, app = scenario.app.split(":")
    code = (
        f"import sys, freastal, {module}; "
        f"freastal.serve({module}.{app}, host='127.0.0.1', port=int(sys.argv[1]))"
    )
    return ServerSpec(name, in_python(places, code), is_tcp=True)


def pyruvate(
    name: str, scenario: Scenario, places: Places, threads: int, has_log: bool
) -> ServerSpec:
    """A connection per request, its default: told otherwise it hung at the second request."""
    module, app = scenario.app.split(":")
    code = f"import sys, pyruvate, {module}; pyruvate.serve({module}.{app}, sys.argv[1], {threads})"
    return ServerSpec(name, in_python(places, code), reuse=1)


def granian(
    name: str, scenario: Scenario, places: Places, threads: int, has_log: bool
) -> ServerSpec:
    """In its cheapest mode for one process; its default runtime mode cost 6 % more."""
    return ServerSpec(
        name,
        (
            str(places.peers / "granian"),
            *("--interface", "wsgi"),
            *("--uds", "{address}"),
            *("--workers", "1", "--blocking-threads", str(threads)),
            *("--http", "1", "--runtime-mode", "st"),
            # Its limit of open connections: 1,024 unless told otherwise.
            *("--backlog", "20000", "--backpressure", "20000"),
            *("--log-level", "info" if has_log else "warning"),
            *(("--access-log",) if has_log else ()),
            scenario.app,
        ),
    )


def gunicorn(
    name: str, scenario: Scenario, places: Places, threads: int, has_log: bool
) -> ServerSpec:
    """The gthread worker, allowed to keep as many connections as come."""
    return ServerSpec(
        name,
        (
            str(places.peers / "gunicorn"),
            *("--worker-class", "gthread"),
            *("--workers", "1", "--threads", str(threads)),
            *("--bind", "unix:{address}"),
            *("--keep-alive", "120", "--worker-connections", "20000"),
            "--no-control-socket",
            *(("--access-logfile", str(places.access_log)) if has_log else ()),
            scenario.app,
        ),
    )


def uwsgi(name: str, scenario: Scenario, places: Places, threads: int, has_log: bool) -> ServerSpec:
    """Its HTTP socket, a connection per request: with keep-alive one connection holds a thread."""
    return ServerSpec(
        name,
        (
            str(places.peers / "uwsgi"),
            *("--http-socket", "{address}", "--listen", "1024"),
            *("--processes", "1", "--threads", str(threads)),
            "--die-on-term",
            *(("--logto", str(places.access_log)) if has_log else ("--disable-logging",)),
            *("--wsgi", scenario.app),
        ),
        reuse=1,
    )


def udsrv(name: str, scenario: Scenario, places: Places, threads: int, has_log: bool) -> ServerSpec:
    """The installed command, as in production: every check on, dropped to ``nobody`` by root."""
    return ServerSpec(
        name,
        (
            str(places.udsrv),
            *("--socket", "{address}"),
            *("--workers", "1", "--threads", str(threads)),
            *("--pythonpath", str(places.app_directory)),
            *(("--user", places.user) if places.user else ()),
            *(("--access-logfile", str(places.access_log)) if has_log else ()),
            "flask_aside:app" if name.endswith("-aside") else scenario.app,
        ),
    )


PROGRAMS: dict[str, Callable[[str, Scenario, Places, int, bool], ServerSpec]] = {
    "floor": floor,
    "loop": loop,
    "bjoern": bjoern,
    "freastal": freastal,
    "granian": granian,
    "gunicorn": gunicorn,
    "pyruvate": pyruvate,
    "uwsgi": uwsgi,
    "udsrv": udsrv,
}

NGINX_CONFIG = """\
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    # One connection serves the whole run.
    keepalive_requests 100000000;
    client_body_temp_path {directory}/nginx-temp;
    proxy_temp_path {directory}/nginx-temp;
    fastcgi_temp_path {directory}/nginx-temp;
    uwsgi_temp_path {directory}/nginx-temp;
    scgi_temp_path {directory}/nginx-temp;
{site}
}}
"""


def nginx_spec(places: Places) -> ServerSpec:
    """Write the configuration that udsrv generates, and say how nginx is run with it.

    Its worker keeps our user, so that it can connect to every server's socket.
    """
    directory = places.app_directory
    command = [str(places.udsrv), "gen-nginx", "--socket", str(directory / "bench.sock")]
    command += ["--server-name", "bench.example", "--listen", f"unix:{directory / 'front.sock'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"udsrv gen-nginx failed: {done.stderr.strip()}")
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    main = directory / "nginx.conf"
    main.write_text(NGINX_CONFIG.format(directory=directory, user=user, site=done.stdout))
    nginx = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin") or "nginx"
    return ServerSpec("nginx", (nginx, "-p", str(directory), "-c", str(main), "-e", "stderr"))


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

    def pss_bytes(self) -> dict[int, int]:
        """Resident memory of each process, shared pages by their share, by pid; 0 if unreadable."""
        return {pid: process_pss_bytes(pid) for pid in self.processes()}

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

    def wait_until_ready(self, address: str) -> None:
        """Return once a connect to ``address`` succeeds.

        Raises:
            ServerFailed: the server exited, or was not ready in time.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if (code := self._process.poll()) is not None:
                raise self.failed(f"exited with {code} before it served")
            with contextlib.suppress(OSError):
                connected(address).close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
        raise self.failed(f"did not listen on {address} within {START_TIMEOUT_S:.0f} s")

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
def running(
    spec: ServerSpec, address: str, *, directory: Path, log: Path, core: int
) -> Iterator[RunningServer]:
    """``spec`` serves on ``address``, pinned to ``core``, until the block ends.

    An address is a path or a port of the loopback interface.
    """
    if not address.isdigit():
        Path(address).unlink(missing_ok=True)
    with log.open("wb") as output, pinned(core):
        process = subprocess.Popen(
            [part.replace("{address}", address) for part in spec.command],
            cwd=directory,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = RunningServer(process, directory=directory, log=log)
    try:
        server.wait_until_ready(address)
        server.check_pinned(core)
        yield server
    finally:
        server.stop()


def connected(address: str) -> socket.socket:
    """Connect to a server.

    Raises:
        OSError: it does not listen.
    """
    if address.isdigit():
        return socket.create_connection(("127.0.0.1", int(address)))
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


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


def process_pss_bytes(pid: int) -> int:
    """Read a process's proportional set size, proc_pid_smaps(5); 0 when we may not."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


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
