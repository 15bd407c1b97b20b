"""How a supervisor is called, and what it is told."""

import json
import os
import subprocess
import sys
from dataclasses import astuple

import pytest

import udsrv
from support.settings import make_settings
from udsrv.config.model import Settings
from udsrv.log import Form, Log
from udsrv.start.accounts import accounts
from udsrv.start.application import application, payload
from udsrv.start.image import _TITLE_ROOM, PACKAGE, command

SETTINGS = make_settings(
    app="app:app", socket="/run/app.sock", socket_group="daemon", env=["SECRET=hush"]
)
LOG = Log("test", level=100, form=Form())


def test_the_payload_holds_the_settings_and_the_looked_up_ids():
    who = accounts(SETTINGS)
    told = json.loads(payload(SETTINGS, who, Form(timestamps=True)))
    assert Settings.from_json(told.pop("settings").encode()) == SETTINGS
    assert told == {
        "version": udsrv.__version__,
        "identity": json.loads(json.dumps(who.identity and astuple(who.identity))),
        "trusted_uids": sorted(who.trusted_uids),
        "trusted_gids": sorted(who.trusted_gids),
        "form": {"timestamps": True, "priorities": False, "is_json": False},
    }


def test_every_place_of_a_supervisors_descriptors_is_taken():
    spec = application(SETTINGS, accounts(SETTINGS), LOG)
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in spec.fds]
    assert [name.partition(" ")[0] for name in (names[0], *names[3:])] == [
        "/dev/null", "/dev/null", "/memfd:udsrv-settings", "/dev/null", "/dev/null", "/dev/null",
    ]  # fmt: skip
    assert list(spec.fds[1:3]) == [2, 2]
    for fd in {fd for fd in spec.fds if fd > 2}:
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_what_a_supervisor_is_told_cannot_be_changed_by_one():
    spec = application(SETTINGS, accounts(SETTINGS), LOG)
    told_fd = spec.fds[4]
    for change in (lambda: os.pwrite(told_fd, b"x", 0), lambda: os.ftruncate(told_fd, 0)):
        with pytest.raises(PermissionError):
            change()
    for fd in {fd for fd in spec.fds if fd > 2}:
        os.close(fd)


def test_the_command_line_shows_no_setting_and_has_room_for_a_title():
    spec = application(SETTINGS, accounts(SETTINGS), LOG)
    assert "hush" not in " ".join(spec.argv)
    assert len(_TITLE_ROOM) >= 256
    assert spec.argv[-1] == _TITLE_ROOM
    # The working directory is not on the path of a starting supervisor.
    assert "-P" in spec.argv
    for fd in {fd for fd in spec.fds if fd > 2}:
        os.close(fd)


@pytest.mark.parametrize(("mode", "interpreters"), [("best-effort", 2), ("strict", 2), ("off", 1)])
def test_an_isolated_interpreter_comes_first_where_there_is_a_sandbox_to_enter(mode, interpreters):
    settings = make_settings(app="app:app", socket_group="daemon", sandbox=mode)
    spec = application(settings, accounts(settings), LOG)
    assert list(spec.argv).count(sys.executable) == interpreters
    assert ("-S" in spec.argv) == (mode != "off")
    for fd in {fd for fd in spec.fds if fd > 2}:
        os.close(fd)


@pytest.mark.parametrize("isolated", [(), ("-S",)])
def test_the_boot_code_finds_udsrv_in_the_environment_or_takes_the_masters(isolated):
    # Without site-packages there is no udsrv to be found, as in an environment that has none.
    boot = command(sys.executable, "-P", tier="supervisor.boot")[3].partition(
        "try:\n    from udsrv.supervisor"
    )[0]
    code = boot + "import udsrv.errors, os; print(os.path.dirname(udsrv.__file__))"
    result = subprocess.run(
        [sys.executable, "-I", *isolated, "-c", code, PACKAGE],
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert os.path.samefile(result.stdout.strip(), PACKAGE)
