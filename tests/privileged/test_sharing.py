"""At start it is said which accounts the application shares with somebody, and what that means."""

import grp
import os
import pwd

import pytest

from support.accounts import APP_USER, EXTRA_GROUP, NGINX_USER, OTHER_USER
from support.remote import run_in_worker

NGINX_S = (
    f"warning: user: '{NGINX_USER}' is Nginx's user too: the application can signal Nginx, read"
    " what Nginx reads and connect to every socket that Nginx may; make an account of its own with"
    " 'useradd --system --user-group udsrv', and name that with --user"
)
SOCKET_GROUP_S = (
    f"warning: user: '{APP_USER}' is in the socket's group '{EXTRA_GROUP}': the application can"
    " connect to the socket it serves, past Nginx, and forge forwarded headers; take it out with"
    f" 'gpasswd --delete {APP_USER} {EXTRA_GROUP}'"
)
NGINX_GROUP_S = (
    f"warning: user: '{APP_USER}' is in the group of Nginx's user '{NGINX_USER}': the application"
    " can read what that group may, and connect to the sockets of other applications; run it in"
    f" another group, with --group or an account that isn't of '{NGINX_USER}'"
)
OWNER_S = (
    f"warning: socket_owner: '{APP_USER}' owns the socket it serves: the application can connect to"
    " it, forge forwarded headers and let anybody in; leave --socket-owner to root"
)


@pytest.mark.parametrize(
    ("user", "options", "warning", "connects"),
    [
        (NGINX_USER, (), NGINX_S, True),
        (APP_USER, ("--socket-group", EXTRA_GROUP), SOCKET_GROUP_S, True),
        (APP_USER, ("--group", NGINX_USER, "--socket-group", "mail"), NGINX_GROUP_S, False),
        (APP_USER, ("--socket-owner", APP_USER), OWNER_S, True),
        (APP_USER, ("--socket-owner", OTHER_USER), None, False),
        (APP_USER, ("--socket-group", EXTRA_GROUP, "--socket-mode", "0600"), None, False),
    ],
)
def test_a_shared_account_is_called_out_once(start_udsrv, user, options, warning, connects):
    server = start_udsrv("remote:app", "--user", user, *options)
    assert server.log.count("warning: ") == (warning is not None)
    assert warning is None or warning in server.log.text()
    source = f"""
    import socket
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect("{server.socket}")
            result = True
        except PermissionError:
            result = False
    """
    assert run_in_worker(server.socket, source) is connects


@pytest.fixture
def settings(shared_directory):
    directory = shared_directory / "etc"
    directory.mkdir()
    file = directory / "app.toml"
    file.write_text("workers = 1\n")
    for path in (directory, file):
        path.chmod(0o755)
    return file


def owned(path):
    os.chown(path, pwd.getpwnam(APP_USER).pw_uid, -1)


def of_its_group(path):
    os.chown(path, 0, grp.getgrnam(EXTRA_GROUP).gr_gid)
    path.chmod(0o775)


def of_everybody(path):
    path.chmod(0o777)


@pytest.mark.parametrize("what", ["file", "directory"])
@pytest.mark.parametrize(
    ("spoil", "writer"),
    [
        (owned, ", its owner, who"),
        (of_its_group, "writable by group"),
        (of_everybody, "writable by everybody"),
    ],
)
def test_settings_that_the_application_could_write_are_refused(
    start_udsrv, settings, spoil, writer, what
):
    path = settings if what == "file" else settings.parent
    spoil(path)
    server = start_udsrv("remote:app", "--user", APP_USER, "-c", str(settings), ready=False)
    assert server.wait_end() == (78 if what == "file" else 77)
    (line,) = server.log.text().splitlines()
    assert f"{path} (uid" in line
    assert writer in line
    if what == "file":
        assert "who could decide what is started, and as whom" in line
    assert f"chown 0 {path} && chmod 0644 {path}" in line or f"chmod 0755 {path}'" in line
    assert list(server.socket.parent.iterdir()) == []


def test_settings_that_root_alone_can_write_are_read(start_udsrv, settings):
    server = start_udsrv("remote:app", "--user", APP_USER, "-c", str(settings))
    assert server.log.count("warning: ") == 0
