"""What only root can ask for, and is refused."""

import os
import pwd

import pytest

from support.accounts import APP_USER, ROOTED_USER
from support.processes import children_of, title_of


def refused(server) -> tuple[int, str]:
    """Return code and last line of a server that doesn't start, having left nothing."""
    code = server.wait_end()
    assert os.listdir(server.socket.parent) == []
    assert not [title for title in map(title_of, children_of(os.getpid())) if "udsrv" in title]
    lines = server.log.text().splitlines()
    assert "Traceback" not in server.log.text()
    return code, lines[-1]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--user", "no-such"), 78, "user: no account named 'no-such' (from --user)"),
        (("--user", "4294967000"), 78, "user: no account named '4294967000' (from --user)"),
        (("--user", APP_USER, "--group", "no-such"), 78, "group: no group named 'no-such'"),
        (("--user", APP_USER, "--socket-owner", "no-such"), 78, "socket_owner: no account named"),
        (("--user", APP_USER, "--socket-group", "no-such"), 78, "socket_group: no group named"),
        (("--user", APP_USER, "--trusted-peer", "%no-such"), 78, "trusted_peer: no group named"),
        (("--user", "root"), 64, "'root' would run the application as root"),
        (("--user", "0"), 64, "'0' would run the application as root"),
        (("--user", APP_USER, "--group", "root"), 64, "'root' would run the application as root"),
        (("--user", APP_USER, "--group", "0"), 64, "'0' would run the application as root"),
        (
            ("--user", ROOTED_USER), 78,
            f"user: '{ROOTED_USER}' would run with group 0 (root) (from --user):"
            " take it out of that group, or name another account",
        ),
    ],
)  # fmt: skip
def test_accounts(start_udsrv, options, code, sentence):
    got, line = refused(start_udsrv("hello:app", *options, ready=False))
    assert got == code
    assert line.startswith("udsrv: ")
    assert sentence in line


def test_without_a_user_the_account_udsrv_or_nobody_is_taken(start_udsrv):
    server = start_udsrv("remote:app")
    names = {account.pw_name for account in pwd.getpwall()}
    expected = "udsrv" if "udsrv" in names else "nobody"
    assert server.log.count(rf"ready: .* as {expected}$") == 1
    warnings = server.log.count("which other software shares; make an account with")
    assert warnings == (expected == "nobody")


def test_an_application_directory_that_its_user_cannot_enter(serve, shared_directory):
    closed = shared_directory / "home"
    (closed / "app").mkdir(parents=True)
    closed.chmod(0o700)
    code, line = refused(serve("--chdir", str(closed / "app"), ready=False))
    assert code == 77
    assert line == (
        f"udsrv: user '{APP_USER}' can't read {closed}/app: {closed} is closed to it;"
        f" open it (chmod o+rx {closed}) or move the application out of it"
    )


def test_a_path_of_modules_that_its_user_cannot_read(serve, shared_directory):
    closed = shared_directory / "lib"
    closed.mkdir(mode=0o700)
    code, line = refused(serve("--pythonpath", str(closed), ready=False))
    assert code == 77
    assert f"can't read {closed}: {closed} is closed to it" in line
