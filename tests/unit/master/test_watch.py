"""Noticing what happens to one name in a directory."""

import os
import select
from pathlib import Path

import pytest

from udsrv.errors import PrivilegeError
from udsrv.master.watch import PathWatch


@pytest.fixture
def watch(tmp_path):
    directory_fd = os.open(tmp_path, os.O_PATH)
    (tmp_path / "app.sock").touch()
    watch = PathWatch(directory_fd, "app.sock")
    yield watch
    watch.close()
    os.close(directory_fd)


def readable(watch: PathWatch) -> bool:
    return bool(select.select([watch], [], [], 0)[0])


def remove(directory):
    (directory / "app.sock").unlink()


def move_away(directory):
    (directory / "app.sock").rename(directory / "elsewhere")


def replace(directory):
    (directory / "other").touch()
    (directory / "other").rename(directory / "app.sock")


@pytest.mark.parametrize("touch", [remove, move_away, replace])
def test_a_change_of_the_name_is_noticed_once(watch, tmp_path, touch):
    assert not watch.changed()
    touch(tmp_path)
    assert readable(watch)
    assert watch.changed()
    assert not watch.changed()


def test_other_names_are_nobodys_business(watch, tmp_path):
    (tmp_path / "app.sock2").touch()
    (tmp_path / "app.soc").touch()
    assert readable(watch)
    assert not watch.changed()


def test_lost_events_count_as_a_change(watch, tmp_path):
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    other = tmp_path / "other"
    for _ in range(limit // 2 + 1):
        other.touch()
        other.unlink()
    seen = [watch.changed()]
    while readable(watch):
        seen.append(watch.changed())
    assert any(seen)


def test_a_watch_that_cannot_be_had_is_an_error():
    with pytest.raises(PrivilegeError, match="inotify: No such file"):
        PathWatch(1 << 30, "app.sock")
