"""Installations of udsrv in virtual environments of their own."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

from support.accounts import PYTHON
from support.directories import copy_readable
from support.servers import UDSRV

PACKAGE = Path(sysconfig.get_path("purelib")).resolve() / "udsrv"


def make_environment(directory: Path) -> Path:
    """Make a virtual environment that every user can read; return it."""
    command = [PYTHON, "-m", "venv", "--without-pip", directory]
    subprocess.run(command, umask=0o022, check=True)
    return directory


def site_packages(environment: Path) -> Path:
    """Return where its packages are."""
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


def install_udsrv(environment: Path) -> Path:
    """Copy the udsrv under test into ``environment``; return its launcher."""
    copy_readable(PACKAGE, site_packages(environment))
    launcher = copy_readable(UDSRV, environment / "bin")
    launcher.chmod(0o755)
    return launcher
