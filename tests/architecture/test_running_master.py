"""The running master has the standard library and our own tiers in its memory, nothing else."""

import re
from pathlib import Path

import pytest

from support.accounts import APP_USER, IS_ROOT, make_accounts
from support.installations import PACKAGE
from support.remote import run_in_worker

# What root runs of our package.
ALLOWED = {
    "cli",
    "config",
    "master",
    "privileged",
    "errors",
    "events",
    "processes",
    "ipc",
    "log",
    "backoff",
    "title",
    "__init__",
}


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


def test_the_master_has_loaded_its_own_tiers_only(server):
    # The paths of loaded modules are text in its memory: each module has its file's name.
    package = str(PACKAGE).encode()
    loaded = set()
    for start, end in writable_areas(server.pid):
        with Path(f"/proc/{server.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(start)
            data = memory.read(end - start)
        loaded |= set(re.findall(re.escape(package) + rb"/([a-z_]+)(?:/[a-z_]+)?\.py\0", data))
    tiers = {name.decode() for name in loaded}
    assert {"master", "privileged", "config"} <= tiers
    assert tiers <= ALLOWED


def writable_areas(pid: int):
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        area, mode, *_ = line.split()
        if mode.startswith("rw"):
            start, end = area.split("-")
            yield int(start, 16), int(end, 16)
