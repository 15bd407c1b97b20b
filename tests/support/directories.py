"""Directories that every user of this machine can pass through."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path


def make_shared_directory(name: str) -> Path:
    """Return a new directory, 0755 and ours, with nothing above it that is closed to others.

    Not pytest's ``tmp_path``: that one lies below a 0700 directory. Its name is short because the
    path of a socket may have at most 107 bytes.
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "-", name)[:24]
    directory = Path(tempfile.mkdtemp(prefix=f"udsrv-{plain}-", dir="/tmp"))
    directory.chmod(0o755)
    return directory


def make_directory_of(owner: str, directory: Path) -> Path:
    """Make ``directory``, 0755 and of ``owner``."""
    directory.mkdir(mode=0o755)
    who = pwd.getpwnam(owner)
    if who.pw_uid != os.getuid():
        os.chown(directory, who.pw_uid, who.pw_gid)
    return directory


def open_to_applications(directory: Path) -> Path:
    """Return the part of ``directory`` that the sandbox of servers started there leaves open."""
    inside = directory / "open"
    if not inside.exists():
        inside.mkdir()
        inside.chmod(0o777)  # whoever that is
    return inside


def copy_readable(source: Path, directory: Path) -> Path:
    """Copy a file or folder into ``directory`` so that every user can read it."""
    target = directory / source.name
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    else:
        shutil.copyfile(source, target)
        target.chmod(0o644)
    return target
