"""The launcher runs our package and nothing else, and says when it cannot.

Each test installs the launcher beside an interpreter and a package, as a wheel does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.accounts import IS_ROOT, ORDINARY_USER
from support.directories import copy_readable, make_shared_directory
from udsrv import __version__

ROOT = Path(__file__).parents[3]
LAUNCHER = ROOT / "packaging/udsrv.data/scripts/udsrv"
PYTHON = os.path.realpath(sys.executable)
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"

# Stands for the whole program: says what the launcher gave it.
STUB_MAIN = """\
import os, sys
def main(argv, *, start_directory):
    print([argv, start_directory, os.getcwd(), sys.executable])
    return 7
"""


class Installation:
    """A prefix like that of a virtual environment."""

    def __init__(self, prefix: Path, lib: str) -> None:
        self.packages = prefix / lib.format(VERSION)
        self.package = self.packages / "udsrv"
        self.package.mkdir(parents=True)
        self.bin = prefix / "bin"
        self.bin.mkdir()
        (self.bin / "python3").symlink_to(PYTHON)
        self.launcher = self.bin / "udsrv"
        shutil.copy(LAUNCHER, self.launcher)

    def install_stub(self) -> None:
        (self.package / "cli").mkdir()
        for name, text in (("__init__", ""), ("cli/__init__", ""), ("cli/main", STUB_MAIN)):
            (self.package / f"{name}.py").write_text(text)

    def install(self) -> None:
        shutil.rmtree(self.package)
        shutil.copytree(ROOT / "src/udsrv", self.package, ignore=shutil.ignore_patterns("__pyc*"))


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path.resolve() / "venv", "lib/{}/site-packages")


def run(*argv: str | Path, cwd: Path = Path("/"), **environ: str) -> subprocess.CompletedProcess:
    return subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


def test_the_real_package_runs(installation):
    installation.install()
    ran = run(installation.launcher, "--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"udsrv {__version__}\n", "")


@pytest.mark.parametrize(
    "lib",
    ["lib/{}/site-packages", "lib64/{}/site-packages", "lib/{}/dist-packages",
     "local/lib/{}/dist-packages"],
)  # fmt: skip
def test_the_package_is_found_where_installers_put_it(tmp_path, lib):
    installation = Installation(tmp_path.resolve(), lib)
    installation.install_stub()
    assert run(installation.launcher).returncode == 7


def test_arguments_and_directories_arrive_as_they_are(installation, tmp_path):
    installation.install_stub()
    real = tmp_path.resolve() / "start here"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    argv = ["-e", "A=1 2\n3", "", "--", "it's", "$HOME", "-I"]
    ran = run(installation.launcher, *argv, cwd=tmp_path / "link", PWD=str(tmp_path / "link"))
    expected = [argv, str(real), "/", str(installation.bin / "python3")]
    assert (ran.returncode, ran.stdout) == (7, f"{expected}\n")


def test_links_to_the_launcher_and_its_directories_are_resolved(installation, tmp_path):
    installation.install_stub()
    (tmp_path / "venv-link").symlink_to(installation.bin.parent)
    (tmp_path / "udsrv").symlink_to(tmp_path / "venv-link/bin/udsrv")
    ran = run(tmp_path / "udsrv")
    assert ran.returncode == 7
    assert f"'{installation.bin}/python3']" in ran.stdout


def test_nothing_but_our_package_runs(installation, tmp_path):
    installation.install()
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'a').write(__name__)\n"
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("argparse", "json", "sitecustomize", "usercustomize", "udsrv", "os"):
        (evil / f"{name}.py").write_text(code)
        (installation.packages / f"{name}.py").write_text(code)
    (installation.packages / "evil.pth").write_text(f"import sys; exec({code!r})\n")
    user = evil / f".local/lib/{VERSION}/site-packages"
    user.mkdir(parents=True)
    shutil.copy(installation.packages / "evil.pth", user)
    ran = run(
        installation.launcher,
        "print-config",
        "--json",
        cwd=evil,
        HOME=str(evil),
        PYTHONPATH=str(evil),
        PYTHONSTARTUP=str(evil / "os.py"),
        PYTHONHOME="/nonexistent",
        PYTHONINSPECT="1",
        PYTHONUSERBASE=str(evil / ".local"),
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not mark.exists()


def test_a_directory_that_is_gone_is_said(installation, tmp_path):
    installation.install_stub()
    gone = tmp_path / "gone"
    gone.mkdir()
    ran = run("/bin/sh", "-c", f"rmdir '{gone}' && exec '{installation.launcher}'", cwd=gone)
    assert (ran.returncode, ran.stdout) == (77, "")
    assert ran.stderr.splitlines()[-1] == (
        "udsrv: the working directory is gone or out of reach; change to one that exists"
    )


def test_an_installation_without_its_interpreter_is_broken(installation):
    (installation.bin / "python3").unlink()
    ran = run(installation.launcher)
    assert (ran.returncode, ran.stderr) == (
        70,
        f"udsrv: this installation is broken: there is no {installation.bin}/python3; "
        "install udsrv again\n",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [(None, ""), ("__init__.py", "1 +"), ("__init__.py", "import nothing_of_this_name")],
)
def test_an_installation_without_its_package_is_broken(installation, name, text):
    if name:
        (installation.package / name).write_text(text)
    ran = run(installation.launcher)
    assert ran.returncode == 70
    assert ran.stderr.startswith("udsrv: this installation is broken: ")
    assert ran.stderr.count("\n") == 1


@pytest.mark.root
def test_root_does_not_run_python_m():
    ran = run(PYTHON, "-m", "udsrv", "--version", PYTHONPATH=str(ROOT / "src"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        77,
        "",
        "udsrv: as root, start the program 'udsrv' instead of 'python -m udsrv': Python's "
        "start-up files would run as root\n",
    )


def test_others_run_python_m():
    directory = make_shared_directory("python-m")
    copy_readable(ROOT / "src/udsrv", directory)
    ran = subprocess.run(
        ["/usr/bin/python3", "-m", "udsrv", "print-config", "--socket", "a.sock"],
        cwd=directory,
        user=ORDINARY_USER if IS_ROOT else None,
        extra_groups=[] if IS_ROOT else None,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f'socket = "{directory}/a.sock"' in ran.stdout
    shutil.rmtree(directory)
