"""Measure the CPU time that udsrv and its peers need for one request (``make bench``).

Runs as: root or an ordinary user; as root udsrv drops to ``nobody``. Opens Unix sockets, and a port
of the loopback interface for the one scenario that says so. Exits 1 when a server failed or
answered wrongly, 2 when nothing could be measured, and never because something was slow. README.md
explains how it measures. What was measured stays in ``.cache/bench/results.json`` for document.py.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import prepare
import report
from errors import BenchmarkError, ServerFailed
from scenarios import BY_NAME, Scenario, chosen_scenarios
from servers import (
    Places,
    RunningServer,
    ServerSpec,
    connected,
    free_port,
    nginx_spec,
    pinned,
    running,
    server_spec,
)

UDSRV = prepare.HERE.parent / ".venv" / "bin" / "udsrv"

# A second bound beside the time: no slice sends more than this, however fast a server is.
REQUESTS_PER_SECOND_MAX = 2_000_000
# With every server started once; then shorter ones follow, more of them.
DEFAULT_ROUNDS = 9
DEFAULT_SECONDS = 2.0
ALL_ROUNDS = 7
ALL_SECONDS = 0.8
# What holds 10,000 connections needs some descriptors beside them.
SPARE_DESCRIPTORS = 200

IDLE_REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\nX-Forwarded-Proto: https\r\n\r\n"


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; the bounds keep a run within an hour."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument(
        "--scenario",
        action="append",
        choices=[*BY_NAME, "all"],
        help="what to measure (repeatable; default quick: hello with five servers)",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each server (≤ 50)")
    parser.add_argument("--seconds", type=float, metavar="S", help="per turn (≤ 10)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=14.0,
        metavar="M",
        help="start no round that would end later than this (default 14, ≤ 60)",
    )
    parser.add_argument("--only", action="append", help="measure only this server (repeatable)")
    parser.add_argument(
        "--sleeping-client",
        action="store_true",
        help="let the client sleep while it waits, so that the server pays for waking it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    chosen = parser.parse_args(arguments)
    chosen.scenario = chosen.scenario or ["quick"]
    is_all = "all" in chosen.scenario
    chosen.rounds = chosen.rounds or (ALL_ROUNDS if is_all else DEFAULT_ROUNDS)
    chosen.seconds = chosen.seconds or (ALL_SECONDS if is_all else DEFAULT_SECONDS)
    if not 1 <= chosen.rounds <= 50:
        parser.error("--rounds: between 1 and 50")
    if not 0.1 <= chosen.seconds <= 10:
        parser.error("--seconds: between 0.1 and 10")
    if not 0.1 <= chosen.minutes <= 60:
        parser.error("--minutes: between 0.1 and 60")
    known = {name for one in chosen_scenarios(chosen.scenario) for name in one.servers}
    if unknown := sorted(set(chosen.only or ()) - known):
        parser.error(f"--only {unknown[0]}: these scenarios have {', '.join(sorted(known))}")
    return chosen


def two_cores() -> tuple[int, int]:
    """Choose the server's core and the client's.

    Raises:
        BenchmarkError: this process may use one core only.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkError(
            "the benchmark needs two cores, one for the server, one for the client"
        )
    return cores[0], cores[1]


def client_command(
    scenario: Scenario, spec: ServerSpec, address: str, chosen: argparse.Namespace
) -> list[str]:
    """Say how the client is run for one slice; pure."""
    limit = int(chosen.seconds * REQUESTS_PER_SECOND_MAX)
    command = [str(prepare.CACHE / "client"), address, str(chosen.seconds), str(limit)]
    command += ["--body", str(scenario.body_bytes)]
    if scenario.post_bytes:
        command += ["--post", str(scenario.post_bytes)]
    if scenario.has_sleeper:
        command.append("--sleeper")
    if spec.is_tcp:
        command.append("--tcp")
    # nginx keeps its clients' connections whatever the server behind it does.
    if spec.reuse and not scenario.through_nginx:
        command += ["--reuse", str(spec.reuse)]
    # nginx shares the client's core: a client that spins would take it away from nginx.
    if not chosen.sleeping_client and not scenario.through_nginx:
        command.append("--spin")
    return command


def measure(
    server: RunningServer,
    command: list[str],
    scenario: Scenario,
    spec: ServerSpec,
    *,
    turn: int,
    core: int,
    front: RunningServer | None,
) -> report.Slice:
    """Let the client, pinned to ``core``, load ``server`` for one slice.

    Both readings of the server's CPU clock fall into moments without an outstanding request; those
    in between are the client's.

    Raises:
        ServerFailed: a response was wrong, late or missing, or a process ended.
    """
    with pinned(core):
        client = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        if client.stdout is None or client.stdin is None:
            raise AssertionError("both were asked for")
        warm = client.stdout.readline()
        before = server.cpu_ns()
        front_before = front.cpu_ns() if front else {}
        watched = " ".join(str(pid) for pid in before)
        said, complaint = client.communicate(f"{watched}\n" if warm else "", 60)
        after = server.cpu_ns()
        front_after = front.cpu_ns() if front else {}
    except subprocess.TimeoutExpired as error:
        raise server.failed("the client did not finish") from error
    finally:
        client.kill()
        client.wait()
    if client.returncode and complaint.startswith("client: not offered"):
        raise ServerFailed("not measured: no wsgi.file_wrapper")
    if client.returncode:
        raise server.failed(complaint.strip() or f"the client exited with {client.returncode}")
    if before.keys() != after.keys():
        raise server.failed("a process of it started or ended while it was measured")
    return report.Slice(
        scenario=scenario.name,
        server=spec.name,
        round=turn,
        cpu_ns=sum(after.values()) - sum(before.values()),
        pss_bytes=sum(server.pss_bytes().values()),
        front_cpu_ns=sum(front_after.values()) - sum(front_before.values()),
        **json.loads(said),
    )


def measure_idle(
    server: RunningServer, scenario: Scenario, spec: ServerSpec, *, turn: int, address: str
) -> report.Slice:
    """Open the connections, one request on each, and see what the process that holds them grew by.

    A few connections before warm the server up, so that it has what it needs for any request.

    Raises:
        ServerFailed: a connection was refused, or a request not answered.
    """
    wanted = scenario.idle_connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted + SPARE_DESCRIPTORS:
        raise ServerFailed(f"not measured: at most {hard} descriptors")
    with contextlib.ExitStack() as warm_up:
        for _ in range(100):
            ask_once(warm_up, server, address)
    before = server.pss_bytes()
    cpu_before, start_ns = server.cpu_ns(), time.monotonic_ns()
    with contextlib.ExitStack() as held:
        for _ in range(wanted):
            ask_once(held, server, address)
        cpu_ns = sum(server.cpu_ns().values()) - sum(cpu_before.values())
        elapsed_ns = time.monotonic_ns() - start_ns
        after = server.pss_bytes()
    each_us = elapsed_ns / wanted / 1000
    return report.Slice(
        scenario=scenario.name,
        server=spec.name,
        round=turn,
        count=wanted,
        cpu_ns=cpu_ns,
        elapsed_ns=elapsed_ns,
        p50_us=each_us,
        p99_us=each_us,
        max_us=each_us,
        pss_bytes=sum(after.values()),
        growth_bytes=max(size - before.get(pid, 0) for pid, size in after.items()),
    )


def ask_once(held: contextlib.ExitStack, server: RunningServer, address: str) -> None:
    """Open a connection that ``held`` closes, and have one request answered on it."""
    try:
        connection = held.enter_context(connected(address))
        connection.settimeout(10)
        connection.sendall(IDLE_REQUEST)
        received = b""
        while not received.endswith(b"Hello, World!"):
            piece = connection.recv(4096)
            if not piece:
                raise server.failed("a connection was closed instead of kept")
            received += piece
    except OSError as error:
        raise server.failed(f"a connection was not served: {error}") from error


def measure_one(
    scenario: Scenario, name: str, places: Places, chosen: argparse.Namespace, *, turn: int
) -> report.Slice:
    """Give one server its turn, in a fresh process.

    Raises:
        ServerFailed: it could not be measured; the text says why.
    """
    server_core, client_core = two_cores()
    if name == "udsrv-1-log" and not takes_access_log(places.udsrv):
        raise ServerFailed("not measured: no --access-logfile")
    spec = server_spec(name, scenario, places)
    address = str(free_port() if spec.is_tcp else places.app_directory / "bench.sock")
    directory = places.app_directory
    log = prepare.CACHE / f"{spec.name}.log"
    try:
        with (
            running(spec, address, directory=directory, log=log, core=server_core) as server,
            in_front(scenario, places, core=client_core) as front,
        ):
            if scenario.idle_connections:
                return measure_idle(server, scenario, spec, turn=turn, address=address)
            target = str(directory / "front.sock") if front else address
            command = client_command(scenario, spec, target, chosen)
            return measure(
                server, command, scenario, spec, turn=turn, core=client_core, front=front
            )
    finally:
        places.access_log.unlink(missing_ok=True)


@contextlib.contextmanager
def in_front(scenario: Scenario, places: Places, *, core: int) -> Iterator[RunningServer | None]:
    """An nginx in front of the server for the scenario that wants one, else None."""
    if not scenario.through_nginx:
        yield None
        return
    with running(
        nginx_spec(places),
        str(places.app_directory / "front.sock"),
        directory=places.app_directory,
        log=prepare.CACHE / "nginx.log",
        core=core,
    ) as front:
        yield front


def takes_access_log(udsrv: Path) -> bool:
    """True when the installed udsrv has the setting."""
    done = subprocess.run([str(udsrv), "--help"], capture_output=True, text=True, check=False)
    return "--access-logfile" in done.stdout


def fits(*, elapsed_s: float, longest_round_s: float, minutes: float) -> bool:
    """True when another round as long as the longest so far ends in time."""
    return elapsed_s + longest_round_s <= minutes * 60


def measure_all(
    scenarios: Sequence[Scenario], places: Places, chosen: argparse.Namespace
) -> tuple[list[report.Slice], dict[str, str], int]:
    """Run the rounds that fit; return the slices, what went wrong, and how many rounds it were.

    The order rotates, so that no server always follows the same one or always starts. Every
    slice has a fresh process: a lucky or unlucky layout of its memory counts once, not always.
    """
    slices: list[report.Slice] = []
    failures: dict[str, str] = {}
    start_s = time.monotonic()
    longest_round_s = 0.0
    for turn in range(chosen.rounds):
        began_s = time.monotonic()
        if turn and not fits(
            elapsed_s=began_s - start_s, longest_round_s=longest_round_s, minutes=chosen.minutes
        ):
            print(f"{chosen.minutes:g} minutes are over after {turn} rounds", file=sys.stderr)
            return slices, failures, turn
        for scenario in scenarios:
            if turn >= scenario.rounds_at_most:
                continue
            servers = [name for name in scenario.servers if not chosen.only or name in chosen.only]
            first = turn % len(servers) if servers else 0
            for name in [*servers[first:], *servers[:first]]:
                key = f"{scenario.name} {name}"
                if key in failures:
                    continue
                try:
                    slices.append(measure_one(scenario, name, places, chosen, turn=turn))
                except ServerFailed as error:
                    failures[key] = str(error)
        longest_round_s = max(longest_round_s, time.monotonic() - began_s)
        print(f"round {turn + 1} of {chosen.rounds}, {longest_round_s:.0f} s", file=sys.stderr)
    return slices, failures, chosen.rounds


def machine(scenarios: Sequence[Scenario]) -> dict[str, str]:
    """Say what the figures were measured on, and with which versions."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    peers = [
        line.strip().replace("==", " ")
        for name in ("peers.txt", "peers-all.txt", "applications.txt")
        for line in (prepare.HERE / name).read_text().splitlines()
        if "==" in line
    ]
    about = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "udsrv": first_line([str(UDSRV), "--version"]),
        "commit": first_line(["git", "-C", str(prepare.HERE), "rev-parse", "--short", "HEAD"]),
        "peers": ", ".join(peers),
    }
    if any(scenario.through_nginx for scenario in scenarios):
        about["nginx"] = first_line(["nginx", "-v"])
    return about


def first_line(command: list[str]) -> str:
    """The first line that a command writes to either stream, or "unknown"."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except OSError:
        return "unknown"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines and not done.returncode else "unknown"


def prepare_all(scenarios: Sequence[Scenario], chosen: argparse.Namespace) -> None:
    """Build and install what these scenarios need.

    Raises:
        BenchmarkError: something is missing and cannot be installed.
    """
    names = {
        name
        for scenario in scenarios
        for name in scenario.servers
        if not chosen.only or name in chosen.only
    }
    prepare.build_c_programs()
    programs = {name.split("-")[0] for name in names}
    if programs - {"floor", "udsrv"}:
        few = {"floor", "udsrv", "loop", "bjoern", "granian"}
        prepare.build_peers(every_one=bool(programs - few))
    if "flask" in {scenario.name for scenario in scenarios}:
        prepare.build_flask()
    if not UDSRV.exists():
        raise BenchmarkError(f"{UDSRV} does not exist: run `make build` first")
    if any(scenario.through_nginx for scenario in scenarios) and not shutil.which(
        "nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin"
    ):
        raise BenchmarkError("the scenario nginx needs nginx: apt-get install nginx")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(arguments: Sequence[str]) -> int:
    """Prepare, measure, keep the results, print."""
    chosen = parse_arguments(arguments)
    # A terminated benchmark must stop its server too: turn the signal into an exception.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    scenarios = chosen_scenarios(chosen.scenario)
    two_cores()
    prepare_all(scenarios, chosen)
    about = machine(scenarios)
    as_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(
        prefix="udsrv-bench-", dir="/run" if as_root else None
    ) as made:
        directory = Path(made)
        if as_root:
            # `nobody` must be able to import the application.
            directory.chmod(0o755)
        with_flask = any(scenario.name == "flask" for scenario in scenarios)
        prepare.fill_app_directory(directory, with_flask=with_flask)
        places = Places(prepare.CACHE, UDSRV, directory, "nobody" if as_root else None)
        slices, failures, rounds = measure_all(scenarios, places, chosen)
    results = report.Results(
        slices=slices,
        scenarios=[scenario.name for scenario in scenarios],
        rounds=rounds,
        seconds=chosen.seconds,
        machine=about,
        failures=failures,
        command=shlex.join(["python", "benchmarks/run.py", *arguments]),
    )
    written = json.dumps(dataclasses.asdict(results), indent=1)
    prepare.RESULTS.write_text(written)
    if chosen.json:
        print(written)
    else:
        print(f"\n{', '.join(f'{key} {value}' for key, value in about.items())}")
        print(f"{rounds} rounds of {chosen.seconds:g} s, 16 connections, one core each\n")
        print(report.text(results))
    for key, what in failures.items():
        print(f"\n{key}: {what}", file=sys.stderr)
    is_wrong = any(not what.startswith("not measured: ") for what in failures.values())
    return 1 if is_wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchmarkError as stopped:
        print(f"benchmark: {stopped}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
