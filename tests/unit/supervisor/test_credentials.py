"""Where credentials are written, and that they arrive as they were."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from udsrv.errors import PrivilegeError
from udsrv.start.credentials import encode
from udsrv.start.memory import sealed_memfd
from udsrv.supervisor.credentials import (
    choose_parent,
    in_memory,
    is_usable,
    read_credentials,
    write_readable,
)


def test_what_the_master_sends_arrives_at_every_generation_and_its_descriptor_is_closed():
    contents = {"a": b"", "b.c": bytes(range(256)), "large": b"x" * 2**20}
    master_fd = sealed_memfd("test", encode(contents))
    try:
        for _generation in range(2):
            fd = os.dup(master_fd)
            assert read_credentials(fd) == contents
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
    finally:
        os.close(master_fd)


def test_without_credentials_there_is_nothing_to_read():
    assert read_credentials(os.open(os.devnull, os.O_RDWR)) == {}


def test_a_file_is_its_owners_to_read_and_is_made_once(tmp_path):
    path = tmp_path / "key"
    write_readable(str(path), b"hush")
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert path.read_bytes() == b"hush"
    with pytest.raises(PrivilegeError, match=r"can't be written to .*key: .*File exists"):
        write_readable(str(path), b"other")
    assert path.read_bytes() == b"hush"


def test_memory_is_told_from_disk_as_the_kernel_does(tmp_path):
    for directory in ("/", "/dev/shm", "/proc", "/usr", str(tmp_path)):
        command = ["stat", "--file-system", "--format=%T", directory]
        kind = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert in_memory(directory) == (kind in ("tmpfs", "ramfs")), directory
    assert in_memory("/dev/shm")
    assert not in_memory("/proc")


@pytest.mark.parametrize(
    ("mode", "usable"),
    [(0o755, True), (0o700, True), (0o1777, True), (0o777, False), (0o775, False)],
)
def test_a_directory_where_others_could_replace_ours_is_not_used(tmp_path, mode, usable):
    directory = tmp_path / "tmp"
    directory.mkdir()
    directory.chmod(mode)
    assert is_usable(str(directory)) == usable
    assert not is_usable(str(tmp_path / "missing"))


def test_memory_comes_before_disk_and_the_first_before_none():
    assert choose_parent(("/proc", "/dev/shm")) == "/dev/shm"
    assert choose_parent(("/proc", "/missing")) == "/proc"
