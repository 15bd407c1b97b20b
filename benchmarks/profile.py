"""Show where a hello request's CPU time goes, by group of functions (``make profile``).

Runs as: root, for perf and for what it says about the kernel. Builds the engine once more with its
symbols, runs it as run.py runs ``udsrv-1``, samples the worker's CPU clock, and prints two tables.
A sample is given to the innermost function of ours that the compiler inlined at its address.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import prepare
import report
import run
from errors import BenchmarkError, ServerFailed
from scenarios import BY_NAME
from servers import Places, pinned, running, server_spec

TREE = prepare.HERE.parent
SAMPLES_PER_S = 15_000
UNDISTURBED_SLICES = 3

# The system call that is on the stack of a sample in the kernel; the first that matches.
KERNEL_GROUPS = (
    (re.compile(r"_sys_(sendto|sendmsg|writev|write|sendfile)"), "kernel: send"),
    (re.compile(r"_sys_(recvfrom|recvmsg|readv?)$"), "kernel: receive"),
    (re.compile(r"_sys_epoll_p?wait"), "kernel: epoll_wait"),
    (re.compile(r"_sys_"), "kernel: other calls"),
    (re.compile(r""), "kernel: entry, exit, interrupts"),
)
# Files of ours, by path; the first that matches.
RUST_GROUPS = (
    (re.compile(r"rust/http1/src/response"), "Rust: response"),
    (re.compile(r"rust/http1/"), "Rust: parse"),
    (re.compile(r"rust/native/src/(environ|header_names|template)"), "Rust: environ"),
    (re.compile(r"rust/native/src/(response|exchange|date)"), "Rust: response"),
    (re.compile(r"rust/native/src/(python|input)"), "Rust: Python boundary"),
    (re.compile(r"rust/"), "Rust: connections and loop"),
    (re.compile(r""), "Rust: std and PyO3"),
)


@dataclass(frozen=True)
class Frame:
    """One line of a stack."""

    address: int
    symbol: str
    object: str


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/profile.py", description=__doc__)
    parser.add_argument("--scenario", default="hello", choices=["hello", "10k", "post-1k", "flask"])
    parser.add_argument("--seconds", type=float, default=5.0, help="of sampling (default 5, ≤ 30)")
    parser.add_argument("--top", type=int, default=25, help="functions listed (default 25)")
    chosen = parser.parse_args()
    if not 0.5 <= chosen.seconds <= 30:
        parser.error("--seconds: between 0.5 and 30")
    # What run.py's functions ask for.
    chosen.sleeping_client = False
    return chosen


def engine_with_symbols() -> Path:
    """Build the engine as the wheel has it, except that nothing is stripped."""
    cargo = subprocess.run(
        [str(TREE / "tools" / "find-cargo.sh")], capture_output=True, text=True, check=True
    )
    environment = {
        **os.environ,
        "PATH": f"{cargo.stdout.strip()}:{os.environ['PATH']}",
        "CARGO_TARGET_DIR": str(TREE / "target" / "profile"),
        "CARGO_PROFILE_RELEASE_DEBUG": "1",
        "PYO3_PYTHON": "/usr/bin/python3",
    }
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-j", "2"]
    command += ["--manifest-path", str(TREE / "rust" / "native" / "Cargo.toml")]
    command += ["--features", "extension-module"]
    done = subprocess.run(command, env=environment, cwd=TREE, check=False)
    if done.returncode:
        raise BenchmarkError("the engine cannot be built with its symbols; see above")
    return TREE / "target" / "profile" / "release" / "lib_native.so"


def install_with(engine: Path, directory: Path) -> Path:
    """Install the wheel of dist/ into an environment of its own, with ``engine`` in it."""
    wheel = next((TREE / "dist").glob("udsrv-*.whl"), None)
    if wheel is None:
        raise BenchmarkError("dist/ has no wheel: run `make build` first")
    environment = directory / "venv"
    prepare.run_or_explain([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    prepare.run_or_explain(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(environment / "bin" / "python"),
            "--disable-pip-version-check",
            "--quiet",
            "install",
            "--no-deps",
            "--no-index",
            str(wheel),
        ]
    )
    installed = next(environment.glob("lib/python3*/site-packages/udsrv/_native*.so"))
    shutil.copy(engine, installed)
    installed.chmod(0o755)
    return environment / "bin" / "udsrv"


def sampled(chosen: argparse.Namespace, udsrv: Path, directory: Path, data: Path) -> float:
    """Sample into ``data``; return the µs per request of slices without a profiler before that."""
    server_core, client_core = run.two_cores()
    places = Places(prepare.CACHE, udsrv, directory, "nobody")
    scenario = BY_NAME[chosen.scenario]
    spec = replace(server_spec("udsrv-1", scenario, places), name="profiled")
    address = str(directory / "bench.sock")
    log = prepare.CACHE / "profiled.log"
    with running(spec, address, directory=directory, log=log, core=server_core) as server:
        command = run.client_command(scenario, spec, address, chosen)
        undisturbed = [
            run.measure(server, command, scenario, spec, turn=turn, core=client_core, front=None)
            for turn in range(UNDISTURBED_SLICES)
        ]
        with pinned(client_core):
            client = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        try:
            if client.stdout is None:
                raise AssertionError("it was asked for")
            client.stdout.readline()
            pids = server.processes()
            perf = ["perf", "record", "--quiet", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-g"]
            perf += ["-p", ",".join(map(str, pids)), "-o", str(data)]
            with pinned(client_core):
                recorder = subprocess.Popen(
                    [*perf, "--", "sleep", str(chosen.seconds)], stderr=subprocess.DEVNULL
                )
            client.communicate("\n", chosen.seconds + 30)
            recorder.wait(60)
        finally:
            client.kill()
            client.wait()
        return report.cpu_us(undisturbed)


def code_offset(engine: Path) -> int:
    """What to add to an offset in the file to get the address that its symbols have.

    perf gives samples in a shared object as offsets in its file.
    """
    done = subprocess.run(
        ["readelf", "--segments", "--wide", str(engine)], capture_output=True, text=True, check=True
    )
    code = re.search(r"LOAD\s+(0x\w+) (0x\w+) .* R E ", done.stdout)
    if code is None:
        raise BenchmarkError(f"{engine} has no segment of code")
    return int(code[2], 16) - int(code[1], 16)


def stacks(data: Path) -> Iterator[list[Frame]]:
    """Read the samples back, innermost frame first."""
    command = ["perf", "script", "-i", str(data), "--no-inline", "-F", "ip,sym,dso"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    frame = re.compile(r"\s*([0-9a-f]+) (.*) \((.*)\)$")
    for block in done.stdout.split("\n\n"):
        found = [frame.match(line) for line in block.splitlines()]
        stack = [Frame(int(one[1], 16), one[2], one[3]) for one in found if one]
        if stack:
            yield stack


def inlined(engine: Path, addresses: Iterable[int]) -> dict[int, tuple[str, str]]:
    """For addresses of the engine: the innermost function of ours, and its file."""
    wanted = sorted(set(addresses))
    done = subprocess.run(
        ["addr2line", "--addresses", "--functions", "--inlines", "--demangle", "-e", str(engine)],
        input="".join(f"{address:#x}\n" for address in wanted),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[int, tuple[str, str]] = {}
    address = 0
    function = ""
    for line in done.stdout.splitlines():
        if re.fullmatch(r"0x[0-9a-f]{16}", line):
            address, function = int(line, 16), ""
            found[address] = ("std", "")
        elif not function:
            function = line
        else:
            if "/rust/" in line and "rust/" not in found[address][1] and "/rustc/" not in line:
                found[address] = (re.sub(r"::h[0-9a-f]{16}$", "", function), line)
            function = ""
    return found


def group_of(stack: list[Frame], ours: dict[int, tuple[str, str]], offset: int) -> tuple[str, str]:
    """Name a sample's group and function."""
    leaf = stack[0]
    if leaf.object.startswith("[") and "vdso" not in leaf.object:
        above = [one.symbol for one in stack if one.object == leaf.object]
        group = next(
            name
            for pattern, name in KERNEL_GROUPS
            if any(pattern.search(symbol) for symbol in above)
        )
        return group, leaf.symbol
    if "/_native." in leaf.object:
        function, file = ours.get(leaf.address + offset, ("", ""))
        group = next(name for pattern, name in RUST_GROUPS if pattern.search(file))
        return group, function or leaf.symbol
    if "python" in leaf.object:
        is_dict = re.search(r"dict", leaf.symbol, re.IGNORECASE)
        return ("libpython: dicts" if is_dict else "libpython: other"), leaf.symbol
    return "libc and vdso", leaf.symbol


def tables(samples: list[tuple[str, str]], cpu_us: float, top: int) -> str:
    """Lay out the share of the samples, and so of the time, of each group and function."""
    groups = Counter(group for group, _ in samples)
    functions = Counter(samples)
    total = len(samples)
    rows = [["group", "share", "µs/request"]]
    for group, count in sorted(groups.items(), key=lambda item: (item[0].split(":")[0], -item[1])):
        rows.append([group, f"{count / total:.1%}", f"{count / total * cpu_us:.2f}"])
    rows.append(["all", "100%", f"{cpu_us:.2f}"])
    listed = [["function", "share", "µs/request", "group"]]
    for (group, function), count in functions.most_common(top):
        share = count / total
        listed.append([function[:70], f"{share:.1%}", f"{share * cpu_us:.2f}", group])
    return f"{report.aligned(rows)}\n\n{report.aligned(listed)}\n\n{total} samples"


def main() -> int:
    """Build, run, sample, print."""
    chosen = parse_arguments()
    if os.geteuid() != 0:
        raise BenchmarkError("the profile needs root: perf shows the kernel to nobody else")
    missing = [name for name in ("perf", "addr2line") if shutil.which(name) is None]
    if missing:
        raise BenchmarkError(f"{missing[0]} is missing: apt-get install linux-perf binutils")
    prepare.build_c_programs()
    engine = engine_with_symbols()
    if chosen.scenario == "flask":
        prepare.build_flask()
    with tempfile.TemporaryDirectory(prefix="udsrv-profile-", dir="/run") as made:
        directory = Path(made)
        directory.chmod(0o755)
        prepare.fill_app_directory(directory, with_flask=chosen.scenario == "flask")
        udsrv = install_with(engine, directory)
        data = directory / "perf.data"
        cpu_us = sampled(chosen, udsrv, directory, data)
        all_stacks = list(stacks(data))
    if not all_stacks:
        raise BenchmarkError("perf took no sample")
    leaves = [stack[0] for stack in all_stacks]
    offset = code_offset(engine)
    ours = inlined(engine, (leaf.address + offset for leaf in leaves if "/_native." in leaf.object))
    samples = [group_of(stack, ours, offset) for stack in all_stacks]
    print(tables(samples, cpu_us, chosen.top))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchmarkError, ServerFailed) as stopped:
        print(f"benchmark: {stopped}", file=sys.stderr)
        sys.exit(2)
