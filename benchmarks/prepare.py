"""Build what the benchmark runs: the two C programs and the peers' virtual environment.

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

CFLAGS = ("-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")

# Debian's package for each header that a build below includes.
HEADERS = {"stdio.h": "libc6-dev", "ev.h": "libev-dev", "Python.h": "python3-dev"}


def build_c_programs() -> None:
    """``floor`` and ``client`` are in the cache, built from their present source."""
    install_missing(["stdio.h"])
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("floor", "client"):
        run_or_explain(["cc", *CFLAGS, str(HERE / f"{name}.c"), "-o", str(CACHE / name)])


def build_peers() -> None:
    """Install the peers of ``peers.txt`` in a virtual environment of their own, once."""
    wanted = f"{sys.version}\n{(HERE / 'peers.txt').read_text()}"
    stamp = PEERS / "built-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    install_missing(["stdio.h", "ev.h", "Python.h"])
    print("installing bjoern and Granian into .cache/bench/peers", file=sys.stderr)
    run_or_explain([sys.executable, "-m", "venv", "--clear", str(PEERS)])
    pip = [str(PEERS / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run_or_explain([*pip, "install", "--use-pep517", "-r", str(HERE / "peers.txt")])
    stamp.write_text(wanted)


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
