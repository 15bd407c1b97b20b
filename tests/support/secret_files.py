"""What may be wrong with a file that only root should know, done to one that is as it should be."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from support.accounts import APP_USER


def make_secret(path: Path, content: str) -> Path:
    """Make a file of root's, in a directory of its own, that nobody else can read."""
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    return path


def open_to_all(file: Path) -> None:
    file.chmod(0o644)


def open_to_a_group(file: Path) -> None:
    file.chmod(0o640)


def of_the_application(file: Path) -> None:
    os.chown(file, pwd.getpwnam(APP_USER).pw_uid, -1)


def behind_a_link(file: Path) -> None:
    file.rename(file.with_name("real"))
    file.symlink_to("real")


def in_an_open_directory(file: Path) -> None:
    file.parent.chmod(0o777)


def in_a_directory_of_the_application(file: Path) -> None:
    os.chown(file.parent, pwd.getpwnam(APP_USER).pw_uid, -1)


def missing(file: Path) -> None:
    file.unlink()


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)
