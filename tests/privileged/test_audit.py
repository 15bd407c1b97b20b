"""The audit of a running server: it sees what is wrong, and what it names mends it."""

from __future__ import annotations

import array
import os
import pwd
import re
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.accounts import APP_USER, NGINX_USER, OTHER_USER
from support.audit import audit, mend, run_audit
from support.processes import title_of
from support.raw_http import get
from support.remote import run_in_worker, start_in_worker
from support.servers import UDSRV, Udsrv
from support.waiting import wait_for_end

JOINED_USER = "udsrv-test-joined"


@pytest.fixture(scope="module")
def server(start_module_udsrv) -> Udsrv:
    """Return a server that nothing is wrong with; a test that breaks it mends it."""
    server = start_module_udsrv("remote:app", "--user", APP_USER, "--workers", "2")
    server.log.wait_for(r"\] loaded", times=2)  # it is ready when one of them is
    return server


def ids(user: str) -> tuple[int, int]:
    who = pwd.getpwnam(user)
    return who.pw_uid, who.pw_gid


def test_a_server_as_it_should_be(server):
    seen = audit(server.socket)
    assert (seen.code, seen.failed) == (0, set())
    (master,), workers = seen.processes("master"), seen.processes("worker")
    (supervisor,) = seen.processes("supervisor")
    assert master["pid"] == server.pid
    assert [supervisor["pid"]] == server.supervisors
    assert {each["pid"] for each in workers} == set(server.workers)
    uid, _ = ids(APP_USER)
    for each in (supervisor, *workers):
        assert each["uids"] == [uid] * 4
        assert set(each["capabilities"].values()) == {"0" * 16}
        assert each["dumpable"] is False
        assert each["seccomp"] == 2
        assert each["landlock"] is True
        assert set(each["attempts"].values()) <= {"EACCES", "EPERM"}
        assert each["ports"] == []
        assert "/tmp" in each["writable"]
    assert set(master["attempts"].values()) == {"done"}
    assert master["capabilities"]["CapBnd"] == master["capabilities"]["CapEff"] == f"{0x1E0:016x}"


def test_the_live_socket_is_left_alone_and_nothing_remains(server):
    before = server.socket.stat()
    listing = sorted(os.listdir(server.socket.parent))
    audit(server.socket)
    assert server.socket.stat() == before
    assert sorted(os.listdir(server.socket.parent)) == listing
    assert get(server.socket).status == 200


# What it does by name, in its children too. Source: the table of audit events in Python's manual.
RECORD = """
import os, sys
record_fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
acts = "os.chmod os.chown os.link os.remove os.rename os.setxattr socket.connect".split()
def hook(event, arguments):
    if event in acts:
        os.write(record_fd, f"{event} {arguments}\\n".encode())
from udsrv.cli.main import main
sys.addaudithook(hook)
sys.exit(main(["audit", "--socket", sys.argv[2]], start_directory="/"))
"""


def test_nothing_is_tried_on_the_live_socket(server, shared_directory):
    record = shared_directory / "record"
    subprocess.run([sys.executable, "-c", RECORD, record, server.socket], capture_output=True)
    lines = record.read_text().splitlines()
    for event in ("socket.connect", "os.chmod", "os.remove"):
        assert [line for line in lines if line.startswith(event) and ".udsrv-audit-" in line]
    assert [line for line in lines if f"{server.socket}'" in line] == []
    # Root gives an owner and a mode to what is in its private directory alone.
    changed = [line for line in lines if line.startswith("os.chown")]
    assert changed
    assert [line for line in changed if "('/proc/self/fd/" not in line] == []


def test_the_table_is_the_same_at_every_run(server):
    first, second = (run_audit("--socket", server.socket) for _ in range(2))
    assert first.stdout == second.stdout
    assert first.returncode == second.returncode == 0
    header, *rows = first.stdout.splitlines()
    assert header.split() == ["master", "supervisor", "worker", "1-2"]
    assert rows[0].startswith("user, group     root:root (0:0)")
    assert "\x1b" not in first.stdout
    for line in first.stdout.splitlines():
        if line.startswith("FAIL"):
            assert re.search(r"; fix: \S", line)


def test_titles_are_not_believed(server):
    claim = ["udsrv: worker 9", "-c", "import time; print(flush=True); time.sleep(600)"]
    with subprocess.Popen(claim, executable=sys.executable, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"\n"
            assert title_of(other.pid).startswith("udsrv: worker 9")
            seen = audit(server.socket).document["processes"]
            assert other.pid not in {each["pid"] for each in seen}
        finally:
            other.kill()


def test_a_replaced_worker_is_audited_as_the_first_was(server):
    os.kill(server.workers[0], 9)
    server.log.wait_for("loaded", times=3)
    seen = audit(server.socket)
    assert {each["pid"] for each in seen.processes("worker")} == set(server.workers)
    assert seen.failed == set()


def test_a_socket_open_to_everybody(server):
    server.socket.chmod(0o666)
    seen = audit(server.socket)
    assert seen.failed == {"socket", "other users", "can connect"}
    assert "has mode 0666: every local user may connect" in seen.finding("socket")["fact"]
    assert "tried" in seen.finding("other users")["fact"]
    for check in ("socket", "other users", "can connect"):
        assert seen.finding(check)["remedy"] == f"chmod 0660 {server.socket}"
    mend(seen.finding("socket")["remedy"])
    assert audit(server.socket).failed == set()


def test_a_socket_of_somebody_whom_nobody_has_named(server):
    os.chown(server.socket, *ids(OTHER_USER))
    seen = audit(server.socket)
    assert seen.failed == {"socket"}
    by_owner, by_group = (
        seen.finding("socket", words=words) for words in ("belongs to", "lets the group")
    )
    assert f"belongs to {OTHER_USER}, neither the master nor Nginx" in by_owner["fact"]
    assert f"lets the group {OTHER_USER} connect" in by_group["fact"]
    named = ("--socket-owner", OTHER_USER, "--socket-group", OTHER_USER)
    assert audit(server.socket, *named).failed <= {"capabilities"}
    mend(by_owner["remedy"])
    mend(by_group["remedy"])
    assert server.socket.stat().st_gid == ids(NGINX_USER)[1]
    assert audit(server.socket).failed == set()


def test_an_access_control_list_on_the_socket(server):
    # user::rw- user:APP:rw- group::rw- mask::rw- other::---. Source: linux/posix_acl_xattr.h.
    uid, _ = ids(APP_USER)
    nobody = 0xFFFFFFFF
    entries = ((1, 6, nobody), (2, 6, uid), (4, 6, nobody), (16, 6, nobody), (32, 0, nobody))
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)
    os.setxattr(server.socket, "system.posix_acl_access", value)
    seen = audit(server.socket)
    assert seen.failed == {"socket", "can connect"}
    assert seen.finding("socket")["remedy"] == f"setfacl -b {server.socket}"
    assert seen.finding("can connect")["remedy"] == f"setfacl -b {server.socket}"
    os.removexattr(server.socket, "system.posix_acl_access")
    assert audit(server.socket).failed == set()


def test_a_directory_open_to_everybody(server):
    directory = server.socket.parent
    directory.chmod(0o777)
    seen = audit(server.socket)
    broken = {"directories", "can plant", "can unlink", "other users", "can write"}
    assert seen.failed == broken
    for check in broken:
        directory.chmod(0o777)
        mend(seen.finding(check)["remedy"])
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755, check
    assert audit(server.socket).failed == set()


def test_a_directory_of_the_applications_user(server):
    directory = server.socket.parent
    os.chown(directory, *ids(APP_USER))
    seen = audit(server.socket)
    assert seen.failed >= {"directories", "can plant", "can unlink", "can write"}
    mend(seen.finding("can unlink")["remedy"])
    assert audit(server.socket).failed == set()
    os.chown(directory, 0, 0)


def test_a_private_directory_that_others_can_enter(server):
    private = server.socket.with_name("app.sock.d")
    private.chmod(0o755)
    mend(audit(server.socket).finding("directories")["remedy"])
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert audit(server.socket).failed == set()


def test_code_that_the_application_can_change_is_warned_of(server):
    code = server.directory / "app"
    os.chown(code, *ids(APP_USER))
    found = audit(server.socket).finding("can write")
    assert found["verdict"] == "warn"
    assert f"{code} (the application's code)" in found["fact"]
    mend(found["remedy"])
    assert code.stat().st_uid == 0
    assert audit(server.socket).failed == set()


def test_what_root_reads_and_others_can_write(server):
    secrets = server.directory / "secrets"
    secrets.write_text("A=1\n")
    secrets.chmod(0o666)
    seen = audit(server.socket, "--env-file", secrets)
    assert seen.failed == {"read by root", "can write", "secrets"}
    mend(seen.finding("read by root", str(secrets))["remedy"])
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o644
    # What is left of it: everybody can read.
    for option in (("--env-file", secrets), ("--credential", f"key:{secrets}")):
        secrets.chmod(0o644)
        seen = audit(server.socket, *option)
        assert seen.failed == {"secrets"}
        mend(seen.finding("secrets")["remedy"])
        assert audit(server.socket, *option).failed == set()


def test_a_foreign_file_at_the_path(server):
    foreign = server.directory / "run" / "foreign"
    foreign.touch()
    foreign.rename(server.socket)
    server.log.wait_for("has been replaced by something that is not ours")
    found = audit(server.socket).finding("socket")
    assert found["fact"] == "isn't a socket"
    mend(found["remedy"])
    server.log.wait_for("was removed; it is back")
    assert audit(server.socket).failed == set()
    server.socket.with_name("app.sock.moved").unlink()


def test_a_mode_that_is_not_that_of_the_settings(server):
    server.socket.chmod(0o600)
    assert audit(server.socket).failed == set()  # stricter than the default is nobody's fault
    found = audit(server.socket, "--socket-mode", "0660").finding("socket")
    assert found["fact"] == "has mode 0600: not 0660"
    mend(found["remedy"])
    assert audit(server.socket, "--socket-mode", "0660").failed == set()


def test_a_user_that_is_not_that_of_the_settings(server):
    found = audit(server.socket, "--user", OTHER_USER).finding("user, group")
    assert f"not as {OTHER_USER} of the settings" in found["fact"]
    assert found["remedy"] == f"kill -TERM {server.pid}, and start udsrv again"
    assert audit(server.socket, "--user", APP_USER).failed == set()


HOLD_LISTENER = """
import os, socket, sys, ctypes
libc = ctypes.CDLL(None)
pidfd = os.pidfd_open(int(sys.argv[1]))
for number in os.listdir(f"/proc/{sys.argv[1]}/fd"):
    fd = libc.syscall(438, pidfd, int(number), 0)
    try:
        found = socket.socket(fileno=fd)
    except OSError:
        continue
    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        break
print("holds", flush=True)
sys.stdin.read()
"""


def test_a_stranger_that_holds_the_listener(server):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LISTENER, str(server.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"holds\n"
        found = audit(server.socket).finding("processes")
        assert found["pids"] == [other.pid]
        assert found["remedy"] == f"kill -KILL {other.pid}"
        mend(found["remedy"])
        assert other.wait() == -9
    assert audit(server.socket).failed == set()


TAKE_DESCRIPTORS = """
import array, socket, sys
with socket.socket(socket.AF_UNIX) as giver:
    giver.connect({path!r})
    message, ancillary, *_ = giver.recvmsg(1, 64)
fds = array.array("i")
fds.frombytes(ancillary[0][2])
sys.given = list(fds)
result = len(fds)
"""


def test_a_descriptor_of_roots_and_a_port_in_a_worker(start_udsrv, shared_directory):
    server = start_udsrv("remote:app", "--user", APP_USER)
    secret = shared_directory / "secret"
    secret.write_text("of root's\n")
    secret.chmod(0o600)
    path = str(shared_directory / "giver")
    with (
        socket.socket(socket.AF_UNIX) as giver,
        socket.create_server(("127.0.0.1", 0)) as port,
        secret.open("rb") as opened,
    ):
        giver.bind(path)
        os.chmod(path, 0o666)  # noqa: S103 - the worker has to get at it
        giver.listen()
        connection = start_in_worker(server.socket, TAKE_DESCRIPTORS.format(path=path))
        taker, _ = giver.accept()
        with taker:
            fds = array.array("i", [opened.fileno(), port.fileno()])
            taker.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        assert connection.read_response().status == 200
        number = port.getsockname()[1]
        seen = audit(server.socket)
        assert seen.failed == {"descriptors", "network"}
        assert str(secret) in seen.finding("descriptors")["fact"]
        assert f"listens on tcp {number}" in seen.finding("network")["fact"]
        (worker,) = server.workers
        assert seen.finding("network")["remedy"] == f"kill -TERM {worker}"
        connection.close()  # the worker leaves that to its client
        mend(seen.finding("network")["remedy"])
        wait_for_end(worker)
        server.log.wait_for("loaded", times=2)
        assert audit(server.socket).failed == set()


START_A_PROGRAM = """
import subprocess, sys
pipe = subprocess.PIPE
sys.started = subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, stderr=pipe)
result = sys.started.pid
"""


def test_a_program_that_a_worker_has_started(start_udsrv):
    server = start_udsrv("remote:app", "--user", APP_USER)
    pid = run_in_worker(server.socket, START_A_PROGRAM)
    seen = audit(server.socket)
    assert seen.code == 0
    assert [each["pid"] for each in seen.processes("descendant")] == [pid]
    assert seen.finding("dumpable")["verdict"] == "warn"


def test_a_worker_that_has_made_itself_dumpable(start_udsrv):
    server = start_udsrv("remote:app", "--user", APP_USER)
    run_in_worker(server.socket, "import ctypes\nresult = ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)")
    seen = audit(server.socket)
    assert seen.failed == {"dumpable"}
    assert seen.finding("dumpable")["pids"] == server.workers


@pytest.fixture
def joined_user() -> Iterator[str]:
    """Make an account that is in Nginx's group."""
    subprocess.run(
        ["useradd", "--system", "--user-group", "--groups", NGINX_USER, JOINED_USER], check=True
    )
    yield JOINED_USER
    subprocess.run(["userdel", JOINED_USER], check=True, capture_output=True)


def test_an_application_in_nginxs_group(start_udsrv, joined_user):
    server = start_udsrv("remote:app", "--user", joined_user)
    seen = audit(server.socket)
    assert seen.failed == {"other groups", "can connect"}
    found = seen.finding("other groups")
    assert f"is in the socket's group, {NGINX_USER}" in found["fact"]
    command, _, rest = found["remedy"].partition(", and start udsrv again")
    assert (rest, seen.finding("can connect")["remedy"]) == ("", found["remedy"])
    mend(command)
    assert server.wait_end() == 0
    server = start_udsrv("remote:app", "--user", joined_user)
    assert audit(server.socket).failed == set()
    server.stop()


def test_an_application_that_owns_its_socket(start_udsrv):
    server = start_udsrv("remote:app", "--user", APP_USER, "--socket-owner", APP_USER)
    seen = audit(server.socket, "--socket-owner", APP_USER)
    assert seen.failed == {"can chmod", "can connect"}
    mend(seen.finding("can chmod")["remedy"])
    assert server.socket.stat().st_uid == 0
    after = audit(server.socket)
    assert after.failed <= {"capabilities"}  # the master no longer needs CAP_CHOWN


def test_a_server_without_its_sandbox(start_udsrv):
    server = start_udsrv("remote:app", "--user", APP_USER, "--sandbox", "off")
    seen = audit(server.socket)
    assert seen.failed == {"seccomp", "landlock"}
    for check in seen.failed:
        found = seen.finding(check)
        assert found["subject"] == "supervisor, worker"
        assert found["remedy"].startswith("take 'sandbox off' out of the settings, and kill -TERM")
    server.stop()
    server = start_udsrv("remote:app", "--user", APP_USER)
    assert audit(server.socket).failed == set()


def test_an_application_that_is_nginxs_user(start_udsrv):
    server = start_udsrv("remote:app", "--user", NGINX_USER)
    seen = audit(server.socket)
    assert {"user, group", "other groups", "can connect"} <= seen.failed
    assert "is Nginx's user too" in seen.finding("user, group")["fact"]


def test_a_server_that_was_not_started_by_root(start_udsrv):
    server = start_udsrv("remote:app", run_as=OTHER_USER)
    seen = audit(server.socket)
    assert {"user, group", "can connect", "can chmod", "can unlink"} <= seen.failed
    assert "as the master does" in seen.finding("user, group")["fact"]
    # Who has started it sees the same, but for what a process that isn't dumpable hides.
    own = audit(server.socket, user=OTHER_USER)
    assert {each["role"] for each in own.document["processes"]} == {
        "master",
        "supervisor",
        "worker",
    }
    assert {"user, group", "can connect", "can chmod", "can unlink"} <= own.failed
    assert own.finding("descriptors")["verdict"] == "unknown"


def test_logs_that_were_given_on_purpose(start_udsrv, shared_directory):
    (shared_directory / "log").mkdir()
    (shared_directory / "link").symlink_to("log")
    for options in (
        ("--access-logfile", "-"),
        ("--access-logfile", f"{shared_directory}/link/access.log"),
        ("--preload",),
    ):
        server = start_udsrv("remote:app", "--user", APP_USER, *options)
        server.log.path.chmod(0o600)
        assert audit(server.socket, *options).failed == set()
        assert server.stop() == 0


def confined(directory: Path, wrapper: str) -> Path:
    """Return a program that runs udsrv as ``wrapper`` says."""
    program = directory / "confined"
    program.write_text(f'#!/bin/sh\n{wrapper} {UDSRV} "$@"\n')
    program.chmod(0o755)
    return program


def test_a_network_of_its_own(start_udsrv, shared_directory):
    program = confined(shared_directory, "exec unshare --net")
    server = start_udsrv("remote:app", "--user", APP_USER, udsrv=program)
    seen = audit(server.socket)
    assert seen.failed == set()
    assert {each["network"] for each in seen.document["processes"]} == {"lo"}


def test_what_it_can_write_is_what_it_can_see(start_udsrv, shared_directory):
    uid, _ = ids(APP_USER)
    hide = f"mount -t tmpfs -o uid={uid},mode=0755 none /srv"
    program = confined(shared_directory, f"exec unshare --mount sh -c '{hide}; exec \"$@\"' sh")
    server = start_udsrv("remote:app", "--user", APP_USER, udsrv=program)
    found = audit(server.socket).finding("can write")
    assert "/srv (the machine's)" in found["fact"]


def test_without_root_what_cannot_be_seen_is_not_taken_for_right(server):
    seen = audit(server.socket, user=OTHER_USER)
    assert seen.code == 1
    assert seen.failed == set()
    for check in ("processes", "other users"):
        found = seen.finding(check)
        assert found["verdict"] == "unknown"
        assert found["remedy"].startswith("sudo udsrv audit")


def test_where_nobody_listens(shared_directory):
    path = shared_directory / "app.sock"
    seen = audit(path)
    assert seen.finding("socket")["fact"] == "isn't there"
    assert seen.finding("socket")["remedy"] == f"start udsrv with --socket {path}"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    path.chmod(0o660)
    assert audit(path).finding("socket")["fact"] == "nobody listens there"
