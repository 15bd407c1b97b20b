"""How a supervisor is called, and what it is told."""

import json
import os
import subprocess
import sys

import pytest

import udsrv
from support.settings import make_settings
from udsrv.config.model import Settings
from udsrv.log import Form
from udsrv.master.launch import _TITLE_ROOM, PACKAGE, Launch, argv, payload

SETTINGS = make_settings(app="app:app", socket="/run/app.sock", env=["SECRET=hush"])
LAUNCH = Launch(
    settings=SETTINGS,
    python="/venv/bin/python3",
    directory="/srv/app",
    environment={},
    identity=None,
    trusted_uids=frozenset({33, 0}),
    trusted_gids=frozenset({33}),
    form=Form(timestamps=True),
    stderr_fd=2,
)


def test_the_payload_holds_the_settings_and_the_looked_up_ids():
    told = json.loads(payload(LAUNCH, 3))
    assert Settings.from_json(told.pop("settings").encode()) == SETTINGS
    assert told == {
        "version": udsrv.__version__,
        "generation": 3,
        "trusted_uids": [0, 33],
        "trusted_gids": [33],
        "form": {"timestamps": True, "priorities": False, "is_json": False},
    }


def test_the_command_line_shows_no_setting():
    assert "hush" not in " ".join(argv(LAUNCH, "supervisor.boot"))


def test_the_working_directory_is_not_on_the_path_of_a_starting_supervisor():
    assert "-P" in argv(LAUNCH, "supervisor.boot")


def test_the_command_line_has_room_for_a_title():
    assert len(_TITLE_ROOM) >= 256
    assert argv(LAUNCH, "supervisor.boot")[-1] == _TITLE_ROOM


@pytest.mark.parametrize("isolated", [(), ("-S",)])
def test_the_boot_code_finds_udsrv_in_the_environment_or_takes_the_masters(isolated):
    # Without site-packages there is no udsrv to be found, as in an environment that has none.
    boot = argv(LAUNCH, "supervisor.boot")[3].partition("try:\n    from udsrv.supervisor")[0]
    code = boot + "import udsrv.errors, os; print(os.path.dirname(udsrv.__file__))"
    result = subprocess.run(
        [sys.executable, "-I", *isolated, "-c", code, PACKAGE],
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert os.path.samefile(result.stdout.strip(), PACKAGE)
