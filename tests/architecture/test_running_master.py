"""The running master has the standard library and our own tiers in its memory, nothing else."""

import re
from pathlib import Path

import pytest

from support.accounts import APP_USER, IS_ROOT, make_accounts
from support.code_lines import code_lines_of
from support.installations import PACKAGE
from support.remote import run_in_worker

# What is in the running master of our package; config, cli and start are gone by then.
TIERS = {
    "__init__",
    "backoff",
    "errors",
    "events",
    "fds",
    "ipc",
    "log",
    "master",
    "privileged",
    "processes",
    "title",
}
# The code lines that may run as root while the service runs: readable in one sitting.
MOST_PRIVILEGED, MOST_WITH_MASTER, MOST_RUNNING = 350, 900, 1800


@pytest.fixture
def server(start_udsrv):
    options = ()
    if IS_ROOT:
        make_accounts()
        options = ("--user", APP_USER)
    server = start_udsrv("remote:app", *options)
    # Everything is loaded when it has started, served and replaced a process.
    assert run_in_worker(server.socket, "result = 1") == 1
    return server


def mapped(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if line.count(" ") >= 5 and "/" in line}


def test_the_masters_memory_maps_hold_no_compiled_module_of_ours_and_no_file_of_the_application(
    server,
):
    files = mapped(server.pid)
    assert any("libc" in file for file in files)
    assert not [file for file in files if "_native" in file]
    assert not [file for file in files if file.startswith(str(server.directory))]
    assert not [file for file in files if "site-packages" in file]


def test_the_master_holds_no_file_of_the_application_open(server):
    fds = Path(f"/proc/{server.pid}/fd")
    held = {str(fd.readlink()) for fd in fds.iterdir()}
    assert not [file for file in held if file.startswith(str(server.directory / "app"))]
    assert str(Path(f"/proc/{server.pid}/cwd").readlink()) == "/"


def loaded_by(pid: int) -> set[str]:
    """Return the files of our package whose paths are text in a process's memory.

    Each loaded module has its file's path.
    """
    pattern = re.escape(str(PACKAGE).encode()) + rb"/((?:[a-z_]+/)*[a-z_]+\.py)\0"
    loaded = set()
    for start, end in writable_areas(pid):
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(start)
            loaded |= set(re.findall(pattern, memory.read(end - start)))
    return {name.decode() for name in loaded}


def test_the_master_has_loaded_its_own_tiers_only(server):
    loaded = loaded_by(server.pid)
    assert {"master/loop.py", "privileged/spawn.py", "ipc.py"} <= loaded
    assert {name.partition("/")[0].removesuffix(".py") for name in loaded} <= TIERS


def test_the_code_that_runs_as_root_is_readable_in_one_sitting(server):
    privileged = list((PACKAGE / "privileged").glob("*.py"))
    master = list((PACKAGE / "master").glob("*.py"))
    assert 0 < code_lines_of(privileged) <= MOST_PRIVILEGED
    assert 0 < code_lines_of([*privileged, *master]) <= MOST_WITH_MASTER
    running = {PACKAGE / name for name in loaded_by(server.pid)}
    assert {*privileged, *master} <= running
    assert code_lines_of(running) <= MOST_RUNNING


def writable_areas(pid: int):
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        area, mode, *_ = line.split()
        if mode.startswith("rw"):
            start, end = area.split("-")
            yield int(start, 16), int(end, 16)
