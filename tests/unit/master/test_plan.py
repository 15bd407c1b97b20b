"""What the starting image tells the running one."""

import os

import pytest

from udsrv.errors import PrivilegeError
from udsrv.log import LEVELS, Form
from udsrv.master.plan import Plan
from udsrv.privileged.drop import Identity
from udsrv.privileged.listener import ListenerSpec
from udsrv.privileged.spawn import SpawnSpec


def make_plan(identity: Identity | None) -> Plan:
    null_fd = os.open(os.devnull, os.O_RDONLY)
    return Plan(
        listener=ListenerSpec("/run/a b.sock", 0, 33, 0o660, 2048, null_fd, null_fd, null_fd),
        supervisor=SpawnSpec(["/usr/bin/python3"], {"LANG": "C"}, "/", [0, 1, 2], identity),
        start_timeout_s=60.0,
        graceful_timeout_s=30.0,
        may_reload=False,
        app="app:app",
        ready="app:app on /run/a b.sock",
        log_level=LEVELS["info"],
        form=Form(),
        notify_socket=None,
    )


@pytest.mark.parametrize("identity", [None, Identity(998, 998, [998, 27])])
def test_what_was_written_is_read(identity):
    plan = make_plan(identity)
    assert Plan.read(plan.write()) == plan


def test_a_plan_that_cannot_be_read_is_the_systems_refusal():
    write_only_fd = os.open(os.devnull, os.O_WRONLY)
    with pytest.raises(PrivilegeError, match="plan can't be read: Bad file descriptor; start"):
        Plan.read(write_only_fd)
