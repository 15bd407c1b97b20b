"""Directories that every user of this machine can pass through."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import struct
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


def grant_writing(path: Path) -> None:
    """Let a stranger write ``path``, which its mode shows as a right of the group's.

    user::rwx user:4294967000:rwx group::r-x mask::rwx other::r-x. Source: acl(5).
    """
    entries = [(1, 7, -1), (2, 7, 4294967000 - 2**32), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", acl)


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
