"""Who every process is, as the kernel says."""

import os
import pwd

import pytest

from support.accounts import APP_USER, OTHER_USER
from support.processes import descendants_of, status_of, title_of
from support.remote import run_in_worker
from support.strangers import run_as

CHOWN, KILL, SETGID, SETUID, SETPCAP = (1 << number for number in (0, 5, 6, 7, 8))
NONE = "0000000000000000"


def ids(name: str) -> tuple[int, int, list[int]]:
    account = pwd.getpwnam(name)
    return account.pw_uid, account.pw_gid, sorted(os.getgrouplist(name, account.pw_gid))


@pytest.fixture
def server(serve):
    server = serve("--workers", "2")
    server.log.wait_for(r"\[worker 1\] loaded")
    return server


def test_every_process_below_the_master_is_the_applications_user_and_nothing_else(server):
    uid, gid, groups = ids(APP_USER)
    below = descendants_of(server.pid)
    assert len(below) == 3
    for pid in below:
        status = status_of(pid)
        assert status["Uid"].split() == [str(uid)] * 4
        assert status["Gid"].split() == [str(gid)] * 4
        assert sorted(map(int, status["Groups"].split())) == groups
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert status[name] == NONE, name
        assert status["NoNewPrivs"] == "1"


def test_the_accounts_supplementary_group_is_among_its_groups():
    uid, gid, groups = ids(APP_USER)
    assert len(groups) == 2
    assert uid != 0 != gid
    assert 0 not in groups


def test_a_group_replaces_the_primary_one(serve):
    server = serve("--group", "mail")
    worker = status_of(server.workers[0])
    mail = pwd.getpwnam("mail").pw_gid
    extra = set(os.getgrouplist(APP_USER, mail))
    assert worker["Gid"].split() == [str(mail)] * 4
    assert set(map(int, worker["Groups"].split())) == extra
    assert pwd.getpwnam(APP_USER).pw_gid not in extra


@pytest.mark.parametrize(
    ("options", "capabilities"),
    [
        ((), SETUID | SETGID | SETPCAP | KILL),
        (("--socket-owner", OTHER_USER), SETUID | SETGID | SETPCAP | KILL | CHOWN),
    ],
)
def test_the_master_keeps_its_few_capabilities_and_can_gain_no_others(serve, options, capabilities):
    status = status_of(serve(*options).pid)
    assert status["Uid"].split() == ["0"] * 4
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) == capabilities, name
    assert status["CapInh"] == status["CapAmb"] == NONE
    assert status["NoNewPrivs"] == "1"


def test_titles_say_who_is_who(server):
    below = sorted(map(title_of, descendants_of(server.pid)))
    assert title_of(server.pid) == f"udsrv: master [{server.socket}]"
    assert below == [
        "udsrv: supervisor remote:app generation 1",
        "udsrv: worker 0",
        "udsrv: worker 1",
    ]
    for pid in (server.pid, *descendants_of(server.pid)):
        assert status_of(pid)["Name"] == "udsrv"


def test_nobody_else_can_read_what_the_application_was_told(server):
    for pid in descendants_of(server.pid):
        source = "import sys\ntry:\n open(sys.argv[1])\nexcept OSError as e:\n print(e.strerror)"
        for user in (APP_USER, OTHER_USER):
            assert run_as(user, source, f"/proc/{pid}/environ") == "Permission denied"


def test_a_worker_holds_its_pipe_its_channel_its_listener_and_nothing_of_root(serve):
    server = serve()
    source = """
    import os
    result = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        result.append((int(name), target))
    """
    held = dict(run_in_worker(server.socket, source))
    assert held.pop(0) == "/dev/null"
    output = held.pop(1)
    assert output.startswith("pipe:")
    assert held.pop(2) == output
    sockets = [target for target in held.values() if target.startswith("socket:")]
    own = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]", f"/proc/{server.workers[0]}/fd"}
    # The listener, this connection, and the channel for us and for the engine.
    assert len(sockets) == 4
    assert len(set(sockets)) == 3
    assert set(held.values()) - set(sockets) <= own


def test_no_process_below_the_master_has_roots_session_or_umask(server):
    (supervisor,) = server.supervisors
    for pid in descendants_of(server.pid):
        assert os.getsid(pid) == supervisor
        assert status_of(pid)["Umask"] == "0077"
