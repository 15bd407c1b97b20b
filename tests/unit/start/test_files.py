"""Files that may hold secrets."""

import os

import pytest

from support.directories import grant_writing
from udsrv.errors import ConfigError, PrivilegeError
from udsrv.start.files import LIMIT_BYTES, open_log, read_configuration, read_secret


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
    me = os.getuid()
    assert str(caught.value) == (
        f"{secret} (uid {me}, gid {os.getgid()}, mode {mode:04o}) is open to others; it must belong"
        f" to uid {me} with mode 0600: chown {me} {secret} && chmod 0600 {secret}"
    )


def test_a_link_is_not_followed(secret):
    link = secret.with_name("link")
    link.symlink_to(secret)
    for read in (read_secret, read_configuration):
        with pytest.raises(ConfigError, match=f"link: Too many .*; name the file itself: {secret}"):
            read(str(link))


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
    with pytest.raises(ConfigError, match=r"app\.envv: No such file .*install -m 0600 "):
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


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400, 0o755])
def test_settings_may_be_read_by_all(secret, mode):
    secret.chmod(mode)
    assert read_configuration(str(secret)) == b"SECRET=hush\n"


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "writer"),
    [
        (0, 0, 0o646, "everybody"),
        pytest.param(65534, 0, 0o644, "uid 65534, its owner", marks=pytest.mark.root),
        pytest.param(0, 4294967, 0o664, "group 4294967", marks=pytest.mark.root),
    ],
)
def test_settings_that_others_can_write_are_refused(secret, uid, gid, mode, writer):
    me = os.getuid()
    if me == 0:
        os.chown(secret, uid, gid)
    secret.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_configuration(str(secret))
    assert (
        f"is writable by {writer}, who could decide what is started, and as whom; it must belong to"
        f" uid {me} with mode 0644: chown {me} {secret} && chmod 0644 {secret}"
    ) in str(caught.value)


def test_settings_with_an_access_list_that_lets_others_write_are_refused(secret):
    grant_writing(secret)
    with pytest.raises(ConfigError, match="is writable by somebody in its access control list"):
        read_configuration(str(secret))


@pytest.mark.root
def test_settings_in_a_sticky_directory_stay_ours(secret):
    secret.parent.chmod(0o1777)
    assert read_configuration(str(secret)) == b"SECRET=hush\n"


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
