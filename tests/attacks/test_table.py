"""Every attack of the table: from a worker, from a supervisor, and as other local users."""

from __future__ import annotations

import json
import os
import signal

import pytest

from apps.attacker.registry import ATTACKS
from attacks.outcomes import surprises
from support.accounts import NGINX_USER, OTHER_USER
from support.raw_http import get
from support.strangers import run_as

SUBJECTS = sorted({attack.subject for attack in ATTACKS.values()})


def of(subject: str, outcomes: dict[str, str]) -> dict[str, str]:
    """Return those of one module of the attacker's."""
    found = {name: one for name, one in outcomes.items() if ATTACKS[name].subject == subject}
    assert found
    return found


# ---- from a worker ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(set_scene):
    return set_scene()


@pytest.fixture(scope="module")
def outcomes(scene) -> dict[str, str]:
    """What came of every attack, tried in a worker."""
    return scene.attempt(*ATTACKS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_worker_is_refused_what_the_table_says(outcomes, subject):
    assert surprises(of(subject, outcomes), landlock_abi=0, seccomp=False) == {}


def test_after_all_attacks_everything_is_as_it_was(scene, outcomes):
    assert outcomes
    assert get(scene.server.socket).status == 200
    assert scene.server.supervisors == [scene.facts["supervisor"]]
    assert scene.server.workers == scene.facts["workers"]
    facts = scene.server.socket.stat()
    assert (facts.st_ino, facts.st_uid, facts.st_mode & 0o777) == (
        scene.facts["inode"], 0, 0o660,
    )  # fmt: skip
    with open(scene.facts["foreign_secret"], "rb") as secret:
        assert secret.read() == b"content\n"


# ---- from a supervisor --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes_at_import(set_scene) -> dict[str, str]:
    """What came of the attacks that an application tried when it was preloaded."""
    needs_a_sibling, needs_a_connection = ("supervisor", "sibling"), {"signal-peer"}
    names = [
        name
        for name in ATTACKS
        if not name.endswith(needs_a_sibling) and name not in needs_a_connection
    ]
    scene = set_scene(at_import=names)
    # Again, now that there is a published socket to attack.
    os.kill(scene.server.supervisors[0], signal.SIGKILL)
    scene.server.log.wait_for("ready: ", times=2)
    answer = json.loads(get(scene.server.socket).body)["at_import"]
    assert answer["pid"] == scene.server.supervisors[0]
    assert answer["outcomes"].keys() == set(names)
    return answer["outcomes"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_supervisor_is_refused_what_the_table_says(outcomes_at_import, subject):
    assert surprises(of(subject, outcomes_at_import), landlock_abi=0, seccomp=False) == {}


# ---- as another user ----------------------------------------------------------------------------

STANDALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import attacker
order = json.loads(sys.argv[2])
print(json.dumps(attacker.run(order["attacks"], order["facts"])))
"""

OURS = {"master", "supervisor", "sibling"}
REFUSED = {"EPERM", "EACCES", "EXDEV", "EADDRINUSE"}


def try_as(user: str, scene, names: list[str]) -> dict[str, str]:
    order = json.dumps({"attacks": names, "facts": scene.facts})
    printed = run_as(user, STANDALONE, scene.server.directory / "app", order)
    return json.loads(printed.splitlines()[-1])


def against_us() -> list[str]:
    """Name the attacks whose target is a process, the socket or a file of the server's."""
    targets = [name for name in ATTACKS if name.rpartition(" ")[2] in OURS]
    foreign = {"connect-abstract", "send-to-abstract", "connect-others-socket"}
    paths = [name for name in ATTACKS if ATTACKS[name].subject == "sockets" and name not in foreign]
    files = ["read access_log", "write access_log", "list private directory"]
    return targets + paths + files


def test_another_user_can_touch_nothing_of_the_server(scene):
    names = against_us()
    outcomes = try_as(OTHER_USER, scene, names)
    assert {name: outcomes[name] for name in names if outcomes[name] not in REFUSED} == {}


def test_nginxs_user_can_connect_and_touch_nothing_else(scene):
    names = against_us()
    outcomes = try_as(NGINX_USER, scene, names)
    assert outcomes.pop("connect-published") == "succeeded"
    assert {name: one for name, one in outcomes.items() if one not in REFUSED} == {}
