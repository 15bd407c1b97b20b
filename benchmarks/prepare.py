"""Build what the benchmark runs: two C programs, the peers' virtual environment, applications.

Runs as: whoever runs the benchmark. Everything lands in the tree's ignored ``.cache/bench``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from errors import BenchmarkError

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "bench"
PEERS = CACHE / "peers"
FLASK = CACHE / "flask"
RESULTS = CACHE / "results.json"

CFLAGS = ("-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")

# Debian's package for each header that a build below includes.
HEADERS = {"stdio.h": "libc6-dev", "ev.h": "libev-dev", "Python.h": "python3-dev"}


def build_c_programs() -> None:
    """``floor`` and ``client`` are in the cache, built from their present source."""
    install_missing(["stdio.h"])
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("floor", "client"):
        run_or_explain(["cc", *CFLAGS, str(HERE / f"{name}.c"), "-o", str(CACHE / name)])


def build_peers(*, every_one: bool) -> None:
    """Install the peers in a virtual environment of their own, once.

    The few of ``peers.txt`` are quickly there; ``every_one`` adds those of ``peers-all.txt``.
    """
    lists = [HERE / "peers.txt", *([HERE / "peers-all.txt"] if every_one else [])]
    wanted = "\n".join([sys.version, *(path.read_text() for path in lists)])
    stamp = PEERS / "built-from"
    if stamp.exists() and stamp.read_text().startswith(wanted):
        return
    install_missing(["stdio.h", "ev.h", "Python.h"])
    print("installing the peers into .cache/bench/peers", file=sys.stderr)
    run_or_explain([sys.executable, "-m", "venv", "--clear", str(PEERS)])
    pip = [str(PEERS / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run_or_explain(
        [*pip, "install", "--use-pep517", *(word for path in lists for word in ("-r", str(path)))]
    )
    stamp.write_text(wanted)


def build_flask() -> None:
    """Install Flask into a directory that every server imports it from, once."""
    wanted = f"{sys.version}\n{(HERE / 'applications.txt').read_text()}"
    stamp = FLASK / "built-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(FLASK, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run_or_explain([*pip, "install", "--target", str(FLASK), "-r", str(HERE / "applications.txt")])
    stamp.write_text(wanted)


def fill_app_directory(directory: Path, *, with_flask: bool) -> None:
    """Put the applications, and what they serve, where an unprivileged user can read them."""
    for name in ("hello.py", "applications.py", "flask_route.py", "flask_aside.py", "loop.py"):
        shutil.copy(HERE / name, directory)
    alphabet = b"abcdefghijklmnopqrstuvwxyz"
    (directory / "one-mib.txt").write_bytes((alphabet * 40330)[: 1024 * 1024])
    (directory / "nginx-temp").mkdir()
    if with_flask:
        shutil.copytree(FLASK, directory, dirs_exist_ok=True)


def install_missing(headers: list[str]) -> None:
    """Make sure of a C compiler and ``headers``; root on Debian gets them installed.

    Raises:
        BenchmarkError: something is missing and we may not, or cannot, install it.
    """
    packages = missing_packages(headers)
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchmarkError(f"the benchmark needs {', '.join(packages)}: {' '.join(command)}")
    print(f"installing {', '.join(packages)}", file=sys.stderr)
    run_or_explain(["apt-get", "update", "--quiet"])
    run_or_explain(command)


def missing_packages(headers: list[str]) -> list[str]:
    """Name Debian's packages for what is missing among the compiler and ``headers``."""
    if shutil.which("cc") is None:
        return ["gcc", *(HEADERS[header] for header in headers)]
    include = sysconfig.get_path("include")
    return [
        HEADERS[header]
        for header in headers
        if subprocess.run(
            ["cc", "-E", f"-I{include}", "-x", "c", "-"],
            input=f"#include <{header}>\n",
            text=True,
            capture_output=True,
            check=False,
        ).returncode
    ]


def run_or_explain(command: list[str]) -> None:
    """Run ``command`` to its end.

    Raises:
        BenchmarkError: it failed; the text ends with the last line that it wrote.
    """
    done = subprocess.run(
        command, text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise BenchmarkError(f"{' '.join(command)} failed ({done.returncode}):\n{said}")
