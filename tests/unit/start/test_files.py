"""Files that may hold secrets."""

import os

import pytest

from udsrv.errors import ConfigError, PrivilegeError
from udsrv.start.files import LIMIT_BYTES, open_log, read_secret


@pytest.fixture
def secret(shared_directory):
    path = shared_directory / "app.env"
    path.write_text("SECRET=hush\n")
    path.chmod(0o600)
    return path


def test_a_closed_file_is_read(secret):
    assert read_secret(str(secret)) == b"SECRET=hush\n"
    secret.chmod(0o400)
    assert read_secret(str(secret)) == b"SECRET=hush\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610])
def test_a_file_that_is_open_to_others_is_refused(secret, mode):
    secret.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_secret(str(secret))
    assert str(caught.value) == (
        f"{secret} (uid {os.getuid()}, mode {mode:04o}) must belong to uid {os.getuid()} with"
        " mode 0600: it may hold secrets"
    )


def test_a_link_is_not_followed(secret):
    link = secret.with_name("link")
    link.symlink_to(secret)
    with pytest.raises(ConfigError, match="link"):
        read_secret(str(link))


@pytest.mark.parametrize("kind", ["FIFO", "directory", "device"])
def test_what_is_no_plain_file_is_refused_without_waiting(secret, kind):
    other = secret.with_name("other")
    if kind == "FIFO":
        os.mkfifo(other, 0o600)
    elif kind == "directory":
        other.mkdir(0o700)
    else:
        other = secret.parent / "/dev/null"
    with pytest.raises(ConfigError, match="is not a plain file"):
        read_secret(str(other))


def test_a_missing_file_is_named(secret):
    with pytest.raises(ConfigError, match=r"app\.envv: No such file"):
        read_secret(f"{secret}v")


def test_a_directory_that_others_may_write_is_refused(secret):
    secret.parent.chmod(0o777)
    with pytest.raises(PrivilegeError, match="is writable by everybody"):
        read_secret(str(secret))


def test_a_file_may_be_large_but_not_endless(secret):
    secret.write_bytes(b"x" * LIMIT_BYTES)
    assert len(read_secret(str(secret))) == LIMIT_BYTES
    secret.write_bytes(b"x" * (LIMIT_BYTES + 1))
    with pytest.raises(ConfigError, match=f"is larger than {LIMIT_BYTES} bytes"):
        read_secret(str(secret))


def read_mode(path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_log_is_made_for_its_owner_and_its_group_whatever_the_umask(shared_directory):
    path = shared_directory / "access.log"
    before = os.umask(0o077)
    try:
        fd = open_log(str(path))
    finally:
        os.umask(before)
    assert read_mode(path) == 0o640
    os.write(fd, b"one\n")
    os.close(fd)


def test_a_log_that_is_there_is_appended_to_and_keeps_its_mode(shared_directory):
    path = shared_directory / "access.log"
    path.write_text("one\n")
    path.chmod(0o600)
    fd = open_log(str(path))
    os.write(fd, b"two\n")
    os.close(fd)
    assert path.read_text() == "one\ntwo\n"
    assert read_mode(path) == 0o600


def test_looking_at_a_log_makes_none(shared_directory):
    path = shared_directory / "access.log"
    assert open_log(str(path), create=False) == -1
    assert not path.exists()


@pytest.mark.parametrize("kind", ["FIFO", "directory", "symbolic link", "dangling link"])
def test_only_a_plain_file_is_a_log(shared_directory, kind):
    path = shared_directory / "access.log"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        target = shared_directory / "target"
        if kind == "symbolic link":
            target.write_text("")
        path.symlink_to(target)
    with pytest.raises(ConfigError, match=r"access\.log: .*; a log is a plain file"):
        open_log(str(path))
    assert not (shared_directory / "target").exists() or kind == "symbolic link"


def test_a_device_is_no_log():
    with pytest.raises(ConfigError, match="/dev/null is not a plain file"):
        open_log("/dev/null")


def test_a_file_of_two_names_is_no_log(shared_directory):
    path = shared_directory / "access.log"
    path.write_text("")
    os.link(path, shared_directory / "other")
    with pytest.raises(PrivilegeError, match=r"access\.log has another name"):
        open_log(str(path))


def test_a_log_in_a_directory_that_others_may_write_is_refused(shared_directory):
    shared_directory.chmod(0o777)
    with pytest.raises(PrivilegeError, match="is writable by everybody"):
        open_log(str(shared_directory / "access.log"))
    assert not (shared_directory / "access.log").exists()
