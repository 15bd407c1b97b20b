"""Giving privileges up, in a process of its own each time."""

import os
import pwd
import socket
import subprocess

import pytest

from support.accounts import APP_USER, OTHER_USER
from support.processes import status_of
from udsrv.errors import PrivilegeError
from udsrv.privileged.drop import Identity, confine_master, drop_to
from udsrv.privileged.spawn import run_as


def identity(name: str) -> Identity:
    account = pwd.getpwnam(name)
    groups = os.getgrouplist(name, account.pw_gid)
    return Identity(account.pw_uid, account.pw_gid, tuple(groups))


@pytest.fixture
def app() -> Identity:
    return identity(APP_USER)


def in_child(task) -> int:
    """Run ``task`` in a child that is still root, and return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            task()
            code = 0
        except PrivilegeError as error:
            os.write(2, f"{error}\n".encode())
            code = error.exit_code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_task_runs_as_the_identity_with_exactly_its_groups(app):
    def task():
        assert os.getresuid() == (app.uid,) * 3
        assert os.getresgid() == (app.gid,) * 3
        assert set(os.getgroups()) == set(app.groups)
        assert len(app.groups) == 2
        assert status_of(os.getpid())["CapBnd"] == "0" * 16

    assert run_as(app, task) == 0


@pytest.mark.parametrize("zero", ["uid", "gid", "groups"])
def test_root_is_no_identity_to_drop_to(app, zero, capfd):
    ids = {"uid": app.uid, "gid": app.gid, "groups": app.groups}
    ids[zero] = (*app.groups, 0) if zero == "groups" else 0
    assert run_as(Identity(**ids), lambda: None) == 77
    assert "refusing to run the application as root" in capfd.readouterr().err


def test_a_drop_without_the_capability_to_is_an_error(app):
    # What was dropped once can't be changed to another: nothing is left to do it with.
    def task():
        drop_to(identity(OTHER_USER))

    assert run_as(app, task) == 77


def test_a_confined_master_gains_nothing_by_running_a_program(tmp_path):
    # Without no_new_privs, exec would give root all of its capabilities back.
    def task():
        confine_master(may_chown=False)
        kept = status_of(os.getpid())
        with (tmp_path / "status").open("w") as out:
            subprocess.run(["/bin/cat", "/proc/self/status"], stdout=out, check=True)
        assert kept["CapEff"] == kept["CapPrm"] == kept["CapBnd"] == "00000000000001e0"

    assert in_child(task) == 0
    lines = (tmp_path / "status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["CapBnd"] == status["CapPrm"] == "00000000000001e0"
    assert status["NoNewPrivs"] == "1"


def test_a_confined_master_can_do_what_it_is_for_and_little_else(app, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.write_text("x")
    foreign.chmod(0o600)
    os.chown(foreign, app.uid, app.gid)

    def refused(action):
        try:
            action()
        except PermissionError:
            return True
        return False

    def task():
        confine_master(may_chown=False)
        assert run_as(app, lambda: None) == 0
        assert refused(lambda: foreign.read_text())
        assert refused(lambda: os.chown(foreign, 0, 0))
        assert refused(lambda: os.chroot("/"))
        assert refused(lambda: socket.sethostname(socket.gethostname()))
        assert refused(lambda: os.nice(-5))

    assert in_child(task) == 0


def test_a_root_that_lacks_a_capability_says_which(app, capfd):
    def task():
        confine_master(may_chown=False)
        confine_master(may_chown=True)

    assert in_child(task) == 77
    assert capfd.readouterr().err.startswith("this root lacks CAP_CHOWN: grant it")


def test_confining_an_ordinary_process_is_an_error(app):
    def task():
        with pytest.raises(PrivilegeError, match="this root lacks CAP_KILL, CAP_SETGID, CAP_SETP"):
            confine_master(may_chown=False)

    assert run_as(app, task) == 0
