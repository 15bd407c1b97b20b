"""Every attack of the table: from a worker, from a supervisor, and as other local users."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from dataclasses import dataclass

import pytest

from apps.attacker.registry import ATTACKS
from attacks.conftest import Scene
from attacks.outcomes import surprises
from support import older_kernel
from support.accounts import NGINX_USER, OTHER_USER
from support.raw_http import get
from support.servers import UDSRV
from support.strangers import run_as

SUBJECTS = sorted({attack.subject for attack in ATTACKS.values()})


# ---- what the kernel can and what the settings ask for -----------------------------------------


@dataclass(frozen=True)
class Tier:
    """One way to run a server."""

    landlock_abi: int | None = None  # what Landlock is held to
    options: tuple[str, ...] = ()


TIERS = {
    "this-kernel": Tier(),
    "landlock-2": Tier(2),  # Debian 12's own kernel
    "no-landlock": Tier(0),
    "no-sandbox": Tier(options=("--sandbox", "off")),
}


def surprises_of(subject: str, outcomes: dict[str, str], scene: Scene) -> dict[str, str]:
    """Return what came of the attacks of one module and is not what the table says."""
    found = {name: one for name, one in outcomes.items() if ATTACKS[name].subject == subject}
    assert found
    log = scene.server.log.text()
    (enforced,) = re.findall(r" sandbox: (Landlock ABI \d+|no Landlock|off)(, seccomp)?", log)[:1]
    abi = re.findall(r"\d+", enforced[0]) or ["0"]
    return surprises(found, landlock_abi=int(abi[0]), seccomp=bool(enforced[1]))


# ---- from a worker ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=TIERS.values(), ids=TIERS)
def scene(request, set_scene, module_directory) -> Scene:
    """A server on a kernel of one tier."""
    tier, held = request.param, {}
    if tier.landlock_abi is not None:
        held["udsrv"] = older_kernel.launcher(module_directory, UDSRV, abi=tier.landlock_abi)
    return set_scene(*tier.options, **held)


@pytest.fixture(scope="module")
def outcomes(scene) -> dict[str, str]:
    """What came of every attack, tried in a worker."""
    return scene.attempt(*ATTACKS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_worker_is_refused_what_the_table_says(outcomes, subject, scene):
    assert surprises_of(subject, outcomes, scene) == {}


def test_after_all_attacks_everything_is_as_it_was(scene, outcomes):
    assert outcomes
    assert get(scene.server.socket).status == 200
    assert scene.server.supervisors == [scene.facts["supervisor"]]
    assert scene.server.workers == scene.facts["workers"]
    facts = scene.server.socket.stat()
    assert facts.st_ino == scene.facts["inode"]
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (0, 0o660)
    with open(scene.facts["foreign_secret"], "rb") as secret:
        assert secret.read() == b"content\n"


# ---- from a supervisor --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def preloaded(set_scene) -> tuple[Scene, dict[str, str]]:
    """A server whose application tried the attacks when it was preloaded, and what came of them."""
    needs_others, needs_a_connection = {"supervisor", "sibling"}, {"signal-peer"}
    names = [
        name
        for name in ATTACKS
        if name.rpartition(" ")[2] not in needs_others and name not in needs_a_connection
    ]
    scene = set_scene(at_import=names)
    # Again, now that there is a published socket to attack.
    os.kill(scene.server.supervisors[0], signal.SIGKILL)
    scene.server.log.wait_for("ready: ", times=2)
    answer = json.loads(get(scene.server.socket).body)["at_import"]
    assert answer["pid"] == scene.server.supervisors[0]
    assert answer["outcomes"].keys() == set(names)
    scene.know_processes()
    return scene, answer["outcomes"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_supervisor_is_refused_what_the_table_says(preloaded, subject):
    scene, outcomes = preloaded
    assert surprises_of(subject, outcomes, scene) == {}


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
    pairs = (name.partition(" ") for name in ATTACKS)
    targets = [
        f"{action} {target}"
        for action, _, target in pairs
        if target in OURS and action != "read-command-line"  # which ps shows to everybody
    ]
    foreign = {"connect-abstract", "send-to-abstract", "connect-others-socket"}
    paths = [name for name in ATTACKS if ATTACKS[name].subject == "sockets" and name not in foreign]
    files = ["read access_log", "write access_log", "list private directory"]
    return targets + paths + files


def test_another_user_can_touch_nothing_of_the_server(preloaded):
    names = against_us()
    outcomes = try_as(OTHER_USER, preloaded[0], names)
    assert {name: outcomes[name] for name in names if outcomes[name] not in REFUSED} == {}


def test_nginxs_user_can_connect_and_touch_nothing_else(preloaded):
    names = against_us()
    outcomes = try_as(NGINX_USER, preloaded[0], names)
    assert outcomes.pop("connect-published") == "succeeded"
    assert {name: one for name, one in outcomes.items() if one not in REFUSED} == {}


def test_what_no_new_privileges_refuses_works_for_others(preloaded):
    names = ["set-user-id-program", "file-capability-program"]
    outcomes = try_as(OTHER_USER, preloaded[0], names)
    assert outcomes == dict.fromkeys(names, "succeeded: root")
