"""The temporary directory of a generation, and those that killed ones left."""

from __future__ import annotations

import os
import tempfile

import pytest

from udsrv.supervisor.tmpdir import PREFIX, private_directory, private_tmpdir


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    os.environ.pop("TMPDIR", None)


def test_it_is_ours_alone_and_is_where_temporary_files_go(parent):
    with private_tmpdir() as path:
        assert os.path.dirname(path) == str(parent)
        assert os.stat(path).st_mode & 0o777 == 0o700
        assert tempfile.gettempdir() == path
    assert list(parent.iterdir()) == []


def test_what_a_killed_generation_left_is_removed(parent):
    left = parent / f"{PREFIX}left"
    (left / "deep").mkdir(parents=True)
    with private_tmpdir():
        assert not left.exists()


def test_what_is_closed_to_its_owner_is_removed_too(parent):
    with private_directory(str(parent), PREFIX) as path:
        (parent / os.path.basename(path) / "key").touch(0o400)
        os.chmod(path, 0o500)
    assert list(parent.iterdir()) == []


def test_a_directory_that_another_generation_takes_for_unused_is_made_again(parent, monkeypatch):
    make = tempfile.mkdtemp

    def make_and_sweep(**details):
        path = make(**details)
        monkeypatch.setattr(tempfile, "mkdtemp", make)
        with private_directory(str(parent), PREFIX):  # the other one starts at that moment
            assert not os.path.exists(path)
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_sweep)
    with private_directory(str(parent), PREFIX) as path:
        assert os.path.isdir(path)


def test_the_directory_of_a_running_generation_stays(parent, monkeypatch):
    with private_tmpdir() as first:
        monkeypatch.delenv("TMPDIR")
        monkeypatch.setattr(tempfile, "tempdir", str(parent))
        with private_tmpdir() as second:
            assert first != second
            assert os.path.isdir(first)


def test_what_is_called_otherwise_stays(parent):
    other = parent / "udsrv-clone"
    other.mkdir()
    link = parent / f"{PREFIX}link"
    link.symlink_to(other)
    with private_tmpdir():
        assert other.is_dir()
        assert link.is_symlink()


def test_the_operators_directory_is_left_alone(parent, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    with private_tmpdir() as path:
        assert path is None
    assert os.environ["TMPDIR"] == "/var/tmp"
