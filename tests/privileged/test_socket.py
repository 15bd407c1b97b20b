"""The published socket: whose it is, who can connect, and what the worker can't do to it."""

import grp
import pwd
import stat

import pytest

from support.accounts import APP_USER, NGINX_USER, OTHER_USER
from support.raw_http import get
from support.remote import run_in_worker
from support.servers import UDSRV
from support.strangers import connect_as, run_as


def owned(path) -> tuple[str, str, str]:
    facts = path.stat()
    assert stat.S_ISSOCK(facts.st_mode)
    owner, group = pwd.getpwuid(facts.st_uid).pw_name, grp.getgrgid(facts.st_gid).gr_name
    return owner, group, f"{stat.S_IMODE(facts.st_mode):04o}"


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ((), ("root", NGINX_USER, "0660")),
        (("--socket-group", "mail"), ("root", "mail", "0660")),
        (("--socket-group", "root"), ("root", "root", "0660")),
        (("--socket-mode", "0600"), ("root", NGINX_USER, "0600")),
        (("--socket-owner", OTHER_USER), (OTHER_USER, NGINX_USER, "0660")),
        (("--socket-owner", OTHER_USER, "--socket-group", "mail"), (OTHER_USER, "mail", "0660")),
    ],
)
def test_owner_group_and_mode_are_those_of_the_settings(serve, options, facts):
    server = serve(*options)
    assert owned(server.socket) == facts
    owner, group, mode = facts
    server.log.wait_for(rf"ready: remote:app on {server.socket} \({owner}:{group} {mode}\)")


def test_without_options_the_group_is_nginxs(start_udsrv):
    server = start_udsrv("hello:app", "--user", APP_USER)
    assert owned(server.socket) == ("root", NGINX_USER, "0660")


def test_nginx_can_connect_and_nobody_else(serve):
    server = serve()
    assert connect_as(NGINX_USER, server.socket) == "connected"
    for user in (APP_USER, OTHER_USER, "nobody"):
        assert connect_as(user, server.socket) == "Permission denied"


def test_the_private_directory_is_closed_to_everybody(serve):
    server = serve()
    private = server.socket.with_name("app.sock.d")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    for user in (APP_USER, OTHER_USER, NGINX_USER):
        for name in ("kept", "staged"):
            assert connect_as(user, private / name) == "Permission denied"


def test_root_with_nothing_but_the_four_capabilities_is_enough(serve, shared_directory):
    # As in the generated unit. The group then comes from the process that binds.
    wrapper = shared_directory / "confined"
    keep = "-all,+setuid,+setgid,+setpcap,+kill"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set {keep} {UDSRV} "$@"\n')
    wrapper.chmod(0o755)
    server = serve(udsrv=wrapper)
    assert owned(server.socket) == ("root", NGINX_USER, "0660")
    assert get(server.socket).status == 200
    server.socket.unlink()
    server.log.wait_for("it is back, nothing queued was lost")
    assert owned(server.socket) == ("root", NGINX_USER, "0660")
    assert server.stop() == 0
    assert list(server.socket.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("lacking", "options"),
    [
        ("setuid", ()),
        ("setgid", ()),
        ("setpcap", ()),
        ("kill", ()),
        ("chown", ("--socket-owner", OTHER_USER)),
    ],
)
def test_root_that_lacks_a_capability_is_refused(serve, shared_directory, lacking, options):
    wrapper = shared_directory / "confined"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set -{lacking} {UDSRV} "$@"\n')
    wrapper.chmod(0o755)
    server = serve(*options, udsrv=wrapper, ready=False)
    assert server.wait_end() == 77
    last = server.log.text().splitlines()[-1]
    assert last.startswith(f"udsrv: this root lacks CAP_{lacking.upper()}: grant it")
    assert list(server.socket.parent.iterdir()) == []


def test_who_removes_the_socket_of_another_owner_gets_a_fresh_one(serve):
    # Without CAP_FOWNER no link to it can be kept: see SocketPath.publish.
    server = serve("--socket-owner", OTHER_USER)
    server.socket.unlink()
    server.log.wait_for("was removed; a fresh listener takes its place")
    assert owned(server.socket) == (OTHER_USER, NGINX_USER, "0660")
    assert get(server.socket).status == 200
    assert "has shut the listener" not in server.log.text()


def test_a_worker_holds_one_listener_however_often_it_is_replaced(serve):
    server = serve("--socket-owner", OTHER_USER)
    for number in (1, 2, 3):
        server.socket.unlink()
        server.log.wait_for("a fresh listener takes its place", times=number)
    source = """
    import os, socket
    result = 0
    for fd in range(3, 64):
        try:
            found = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        with found:  # a copy that stays open would be counted too
            result += found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    """
    assert run_in_worker(server.socket, source) == 1


def test_the_helper_that_connects_as_others_can_fail_and_succeed(shared_directory):
    assert connect_as(OTHER_USER, shared_directory / "none") == "No such file or directory"
    assert run_as(OTHER_USER, "import os; print(os.getuid())") == str(
        pwd.getpwnam(OTHER_USER).pw_uid
    )
    assert run_as(OTHER_USER, "import os; print(os.getgroups())") == "[]"
