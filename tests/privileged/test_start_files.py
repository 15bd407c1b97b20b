"""Python's and the shell's start-up files run nothing as root.

Everything planted here writes the uid that ran it into one file.
"""

import pwd
import subprocess
import sys

import pytest

from support.accounts import APP_USER
from support.directories import open_to_applications
from support.installations import install_udsrv, make_environment, site_packages
from support.remote import run_in_worker

RECORD = """
import os as _os
_fd = _os.open({record!r}, _os.O_WRONLY | _os.O_APPEND)
_os.write(_fd, b"{name} %d\\n" % _os.getuid())
_os.close(_fd)
"""

# Modules of the standard library that our own code imports, or that anybody might.
SHADOWS = ("json", "socket", "struct", "ctypes", "signal", "select", "logging", "colorsys")
PROGRAMS = ("python3", "python", "readlink", "dirname", "sh", "env", "cat", "pwd")


@pytest.fixture
def record(shared_directory):
    file = open_to_applications(shared_directory) / "record"
    file.touch()
    file.chmod(0o666)
    return file


@pytest.fixture
def plant(record):
    def plant(path, name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORD.format(record=str(record), name=name))

    return plant


@pytest.fixture
def evil_environment(shared_directory, plant):
    """An environment with udsrv, in which everything that can be planted is planted."""
    environment = make_environment(shared_directory / "venv")
    install_udsrv(environment)
    packages = site_packages(environment)
    for name in ("sitecustomize", "usercustomize"):
        plant(packages / f"{name}.py", name)
    plant(packages / "planted.py", "pth")
    (packages / "planted.pth").write_text("import planted\n")
    return environment


@pytest.fixture
def evil_surroundings(shared_directory, record, plant):
    """Variables that lead to planted files, each named for how it is found."""
    path = shared_directory / "bin"
    path.mkdir()
    for name in PROGRAMS:
        (path / name).write_text(f"#!/bin/sh\necho program-{name} $(/usr/bin/id -u) >>{record}\n")
        (path / name).chmod(0o755)
    plant(shared_directory / "lib" / "sitecustomize.py", "PYTHONPATH")
    plant(shared_directory / "lib" / "udsrv" / "__init__.py", "PYTHONPATH-udsrv")
    plant(shared_directory / "startup.py", "PYTHONSTARTUP")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    user_site = shared_directory / "home" / ".local" / "lib" / version / "site-packages"
    plant(user_site / "usercustomize.py", "user-usercustomize")
    plant(user_site / "user_planted.py", "user-pth")
    (user_site / "user_planted.pth").write_text("import user_planted\n")
    (shared_directory / "env.sh").write_text(f"echo ENV $(/usr/bin/id -u) >>{record}\n")
    return {
        "PATH": f"{path}:/usr/bin:/bin",
        "HOME": str(shared_directory / "home"),
        "PYTHONPATH": str(shared_directory / "lib"),
        "PYTHONSTARTUP": str(shared_directory / "startup.py"),
        "PYTHONHOME": str(shared_directory / "lib"),
        "PYTHONINSPECT": "1",
        "ENV": str(shared_directory / "env.sh"),
        "BASH_ENV": str(shared_directory / "env.sh"),
    }


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_nothing_that_is_planted_runs_as_root(
    serve, shared_directory, record, plant, evil_environment, evil_surroundings, options
):
    evil = {"udsrv": evil_environment / "bin" / "udsrv", "environ": evil_surroundings}
    server = serve(*options, ready=False, **evil)
    server.wait_ready()
    for name in SHADOWS:
        plant(shared_directory / "app" / f"{name}.py", f"cwd-{name}")
    plant(shared_directory / "app" / "udsrv" / "__init__.py", "cwd-udsrv")
    assert server.stop() == 0
    # Now the working directory is full of modules too.
    server = serve(*options, **evil)
    assert run_in_worker(server.socket, "import colorsys; result = 1") == 1
    assert server.stop() == 0

    app = pwd.getpwnam(APP_USER).pw_uid
    ran = record.read_text().split("\n")[:-1]
    assert f"pth {app}" in ran
    assert f"cwd-colorsys {app}" in ran
    assert not [line for line in ran if not line.endswith(f" {app}")]


def test_what_root_is_told_to_pass_runs_as_the_application(serve, record, evil_surroundings):
    server = serve(
        "--pass-env", "PYTHONPATH", "-e", "PYTHONSTARTUP=x", environ=evil_surroundings, ready=False
    )
    server.wait_end()  # the planted udsrv is not ours
    app = pwd.getpwnam(APP_USER).pw_uid
    ran = set(record.read_text().split("\n")[:-1])
    assert f"PYTHONPATH {app}" in ran
    assert all(line.endswith(f" {app}") for line in ran)


def test_python_dash_m_is_refused_to_root(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "udsrv", "--socket", tmp_path / "s", "app:app"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 77
    assert "start the program 'udsrv' instead of 'python -m udsrv'" in result.stderr
    assert list(tmp_path.iterdir()) == []
