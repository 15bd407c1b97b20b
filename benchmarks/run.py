"""Measure the CPU time that udsrv and its peers need for one request (``make bench``).

Runs as: root or an ordinary user; as root udsrv drops to ``nobody``. Opens Unix sockets only.
Exits 1 when a server failed or answered wrongly, 2 when nothing could be measured, and never
because something was slow. README.md explains how it measures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import prepare
import report
from errors import BenchmarkError, ServerFailed
from servers import RunningServer, ServerSpec, pinned, running, server_specs

NAMES = ("floor", "bjoern", "granian", "udsrv-1", "udsrv-4")
UDSRV = prepare.HERE.parent / ".venv" / "bin" / "udsrv"

# A second bound beside the time: no slice sends more than this, however fast a server is.
REQUESTS_PER_SECOND_MAX = 2_000_000


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; the bounds keep a run within an hour."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=9, metavar="N", help="turns of each server (default 9, ≤ 50)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="per turn (default 2, ≤ 10)"
    )
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="measure only this server (repeatable)"
    )
    parser.add_argument(
        "--sleeping-client",
        action="store_true",
        help="let the client sleep while it waits, so that the server pays for waking it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.rounds <= 50:
        parser.error("--rounds: between 1 and 50")
    if not 0.1 <= chosen.seconds <= 10:
        parser.error("--seconds: between 0.1 and 10")
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


def measure(
    server: RunningServer, spec: ServerSpec, chosen: argparse.Namespace, *, turn: int, core: int
) -> report.Slice:
    """Let the client, pinned to ``core``, load ``server`` for one slice.

    Both readings of the server's CPU clock fall into moments without an outstanding request.

    Raises:
        ServerFailed: a response was wrong, late or missing, or a process ended.
    """
    path = prepare.CACHE / "client"
    limit = int(chosen.seconds * REQUESTS_PER_SECOND_MAX)
    command = [str(path), "bench.sock", str(chosen.seconds), str(limit)]
    if not chosen.sleeping_client:
        command.append("--spin")
    with pinned(core):
        client = subprocess.Popen(
            command,
            cwd=server.directory,
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
        said, complaint = client.communicate("go\n" if warm else "", chosen.seconds + 30)
        after = server.cpu_ns()
    except subprocess.TimeoutExpired as error:
        raise server.failed("the client did not finish") from error
    finally:
        client.kill()
        client.wait()
    if client.returncode:
        raise server.failed(complaint.strip() or f"the client exited with {client.returncode}")
    if not before.keys() <= after.keys():
        raise server.failed("a process of it ended while it was measured")
    outcome = json.loads(said)
    return report.Slice(
        server=spec.name,
        round=turn,
        count=outcome["count"],
        cpu_ns=sum(after.values()) - sum(before.values()),
        elapsed_ns=outcome["elapsed_ns"],
        p50_us=outcome["p50_us"],
        p99_us=outcome["p99_us"],
    )


def measure_all(
    specs: Sequence[ServerSpec], chosen: argparse.Namespace, directory: Path
) -> tuple[list[report.Slice], dict[str, str]]:
    """Run all rounds; return the slices and, by name, what went wrong.

    The order rotates, so that no server always follows the same one or always starts. Every
    slice has a fresh process: a lucky or unlucky layout of its memory counts once, not always.
    """
    server_core, client_core = two_cores()
    slices: list[report.Slice] = []
    failures: dict[str, str] = {}
    for turn in range(chosen.rounds):
        first = turn % len(specs)
        for spec in [*specs[first:], *specs[:first]]:
            if spec.name in failures:
                continue
            log = prepare.CACHE / f"{spec.name}.log"
            try:
                with running(spec, directory=directory, log=log, core=server_core) as server:
                    slices.append(measure(server, spec, chosen, turn=turn, core=client_core))
            except ServerFailed as error:
                failures[spec.name] = str(error)
        print(f"round {turn + 1} of {chosen.rounds}", file=sys.stderr)
    return slices, failures


def machine() -> dict[str, str]:
    """Say what the figures were measured on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def as_json(
    slices: Sequence[report.Slice],
    failures: dict[str, str],
    names: Sequence[str],
    about: dict[str, str],
) -> str:
    """Write everything that was measured, slice by slice, with the sums and ratios."""
    summed = [report.figures(slices, name) for name in names]
    ratios = {
        f"{name}/{base}": dataclasses.asdict(found)
        for name in names
        for base in dict.fromkeys((*report.BASES, "udsrv-1"))
        if name != base and (found := report.ratio(slices, name, base)) is not None
    }
    return json.dumps(
        {
            "machine": about,
            "servers": [dataclasses.asdict(one) for one in summed if one is not None],
            "ratios": ratios,
            "targets": [dataclasses.asdict(target) for target in report.TARGETS],
            "failures": failures,
            "slices": [dataclasses.asdict(one) for one in slices],
        },
        indent=2,
    )


def main(arguments: Sequence[str]) -> int:
    """Prepare, measure, print."""
    chosen = parse_arguments(arguments)
    # A terminated benchmark must stop its server too: turn the signal into an exception.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    names = [name for name in NAMES if not chosen.only or name in chosen.only]
    two_cores()
    prepare.build_c_programs()
    if {"bjoern", "granian"} & set(names):
        prepare.build_peers()
    if any(name.startswith("udsrv") for name in names) and not UDSRV.exists():
        raise BenchmarkError(f"{UDSRV} does not exist: run `make build` first")
    about = machine()
    as_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(
        prefix="udsrv-bench-", dir="/run" if as_root else None
    ) as made:
        directory = Path(made)
        if as_root:
            # `nobody` must be able to import the application.
            directory.chmod(0o755)
        shutil.copy(prepare.HERE / "hello.py", directory)
        specs = server_specs(
            floor=prepare.CACHE / "floor",
            peers=prepare.PEERS,
            udsrv=UDSRV,
            app_directory=directory,
            user="nobody" if as_root else None,
        )
        slices, failures = measure_all(
            [spec for spec in specs if spec.name in names], chosen, directory
        )
    if chosen.json:
        print(as_json(slices, failures, names, about))
    else:
        print(f"\n{', '.join(f'{key} {value}' for key, value in about.items())}")
        print(f"{chosen.rounds} rounds of {chosen.seconds:g} s, 16 connections, one core each\n")
        print(report.table(slices, names))
    for name, what in failures.items():
        print(f"\n{name}: {what}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchmarkError as stopped:
        print(f"benchmark: {stopped}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
