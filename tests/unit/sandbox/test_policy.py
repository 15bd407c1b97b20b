"""The page of the sandbox: what follows from the settings, and what a kernel leaves open."""

from __future__ import annotations

import socket
from errno import EAFNOSUPPORT, EPROTONOSUPPORT

import pytest

from support.settings import make_settings
from udsrv import _native
from udsrv.sandbox import policy
from udsrv.sandbox.place import Place
from udsrv.sandbox.policy import (
    CONNECT,
    RUN,
    WRITE,
    Tier,
    denials,
    doubts,
    entrance,
    gaps,
    grants,
    writable,
)

PLACE = Place(
    package="/opt/udsrv/lib/udsrv",
    interpreters=("/srv/app/venv", "/opt/python"),
    python_path=("/srv/more",),
    temporary="/tmp/udsrv-tmpdir-x",
    temporary_is_ours=True,
)


def rights(
    tier: Tier = Tier.WORKER, place: Place = PLACE, **settings: object
) -> dict[str, set[str]]:
    """Return the rights on each path, as they add up."""
    found: dict[str, set[str]] = {}
    for grant in grants(make_settings(**settings), place, tier):
        found.setdefault(grant.path, set()).update(grant.rights)
    return found


def test_the_application_and_what_runs_it_can_be_read_and_run_and_not_written():
    found = rights(chdir="/srv/app", pythonpath=["/srv/lib"])
    for path in ("/srv/app", "/srv/lib", "/srv/more", "/srv/app/venv", "/opt/python"):
        assert found[path] == set(RUN)
    assert found["/opt/udsrv/lib/udsrv"] == {"read_file", "read_dir"}


def test_starting_in_the_root_directory_opens_nothing():
    assert "/" not in rights(chdir="/", pythonpath=["/"])


def test_only_the_temporary_directory_shared_memory_and_named_paths_can_be_written():
    found = rights(write_path=["/var/lib/app"], read_path=["/srv/models"])
    written = {path for path in found if "make_reg" in found[path]}
    assert written == {"/dev/shm", PLACE.temporary, "/var/lib/app"}
    assert found["/var/lib/app"] >= {*WRITE, *CONNECT}
    assert found["/srv/models"] == {*RUN, *CONNECT}


def test_nothing_can_be_both_written_and_run():
    for path, held in rights(write_path=["/var/lib/app"], read_path=["/srv/models"]).items():
        assert not {"write_file", "execute"} <= held, path


def test_what_can_be_written_can_be_told():
    settings = make_settings(write_path=["/var/lib/app"])
    assert writable(settings, PLACE) == ("/dev/shm", PLACE.temporary, "/var/lib/app")


@pytest.mark.parametrize(
    ("write_path", "code"),
    [
        ("/srv/app", ["/srv/app", "/srv/app/venv"]),
        ("/srv/app/venv", ["/srv/app/venv"]),
        ("/srv/app/data", []),
        ("/srv/ap", []),
        ("/", ["/srv/app", "/srv/lib", "/srv/app/venv", "/opt/python"]),
    ],
)
def test_code_that_can_be_written_is_called_out(write_path, code):
    settings = make_settings(chdir="/srv/app", pythonpath=["/srv/lib"], write_path=[write_path])
    assert list(doubts(settings, PLACE, [])) == [
        f"write_path: {write_path} holds the code in {path}, which an attacker could change"
        for path in code
    ]


def test_places_that_the_environment_names_are_closed_and_said_to_be():
    """Else a package could open its user's keys with a .pth file."""
    path = ["/usr/lib/python3", "/srv/app/venv/lib/site-packages", "/home/dev/other", "/srv/app2"]
    assert list(doubts(make_settings(chdir="/srv/app"), PLACE, path)) == [
        "/home/dev/other is on the import path and closed; --read-path /home/dev/other opens it",
        "/srv/app2 is on the import path and closed; --read-path /srv/app2 opens it",
    ]


def test_a_worker_lacks_what_the_supervisor_needs_to_clear_up():
    assert rights(Tier.SUPERVISOR)["/tmp"] == {"remove_dir"}
    assert "/tmp" not in rights(Tier.WORKER)
    reloading = {"chdir": "/srv/app", "reload": True}
    assert "remove_file" in rights(Tier.SUPERVISOR, **reloading)["/srv/app"]
    assert rights(Tier.WORKER, **reloading)["/srv/app"] == set(RUN)


def test_a_directory_of_the_operators_is_not_removed():
    place = Place(PLACE.package, (), (), "/var/tmp/app", temporary_is_ours=False)
    assert "/var/tmp" not in rights(Tier.SUPERVISOR, place)
    assert rights(Tier.SUPERVISOR, place)["/var/tmp/app"] >= set(WRITE)


def test_credentials_can_be_read_by_workers_and_removed_by_the_supervisor():
    place = Place(PLACE.package, (), (), "/tmp/x", temporary_is_ours=True, credentials="/run/c")
    assert rights(place=place)["/run/c"] == {"read_file", "read_dir"}
    supervisor = rights(Tier.SUPERVISOR, place)
    assert supervisor["/run/c"] == {"read_file", "read_dir", "remove_file"}
    assert supervisor["/run"] == {"remove_dir"}


def test_before_the_temporary_directory_is_made_that_alone_is_open_beside_the_rest():
    held = grants(make_settings(), PLACE, Tier.SUPERVISOR)
    opened = entrance(make_settings(), PLACE, ["/tmp", "/var/tmp"])
    more = {(one.path, one.rights) for one in opened} - {(one.path, one.rights) for one in held}
    assert more == {("/tmp", WRITE), ("/var/tmp", WRITE)}


@pytest.mark.parametrize("tier", Tier)
def test_every_grant_has_a_reason_and_rights_that_exist(tier):
    for grant in grants(make_settings(reload=True, write_path=["/w"]), PLACE, tier):
        assert grant.why
        assert grant.rights


@pytest.mark.parametrize("network", ["none", "local", "full"])
def test_every_denial_has_a_reason_and_none_hides_another(network):
    """A call without conditions fails always; one with conditions beside it would weaken it."""
    always, sometimes = set(), set()
    for denial in denials(network):
        assert denial.why
        for call in denial.calls:
            (sometimes if denial.when else always).add((call, denial.error))
    assert not always & sometimes


def families_refused(network: str) -> set[int]:
    """Return which of some families ``socket`` refuses."""
    asked = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_ALG}
    (rule,) = (d.when for d in denials(network) if d.error == EAFNOSUPPORT)
    assert all((argument, comparison) == (0, "!=") for argument, comparison, _ in rule)
    return asked - {value for _, _, value in rule}


def test_the_network_decides_which_sockets_there_are():
    foreign = {socket.AF_NETLINK, socket.AF_ALG}
    assert families_refused("full") == families_refused("local") == foreign
    assert families_refused("none") == {*foreign, socket.AF_INET, socket.AF_INET6}


def test_only_the_internets_common_protocols_remain():
    rules = [d.when for d in denials("full") if d.error == EPROTONOSUPPORT]
    assert {rule[0] for rule in rules} == {(0, "==", 2), (0, "==", 10)}
    for rule in rules:
        assert {value for _, _, value in rule[1:]} == {0, 1, 6, 17, 58}


def test_a_current_kernel_leaves_nothing_grave_open():
    found = gaps(7, calls_denied=True, only_loopback=None)
    assert found
    assert not [gap for gap in found if gap.is_grave]
    assert gaps(9, calls_denied=True, only_loopback=True) == ()


def test_what_debian_12_leaves_open_is_named():
    texts = [gap.text for gap in gaps(2, calls_denied=True, only_loopback=None) if gap.is_grave]
    assert [text.rpartition("(")[2] for text in texts] == [
        "Landlock ABI 3, Linux 6.2)",
        "Landlock ABI 4, Linux 6.7)",
        "Landlock ABI 6, Linux 6.12)",
    ]


def test_without_seccomp_or_a_filter_of_addresses_there_is_a_gap():
    (gap,) = gaps(9, calls_denied=False, only_loopback=None)
    assert gap.is_grave
    assert gap.text == "a worker may make every system call (no seccomp)"
    (gap,) = gaps(9, calls_denied=True, only_loopback=False)
    assert gap.is_grave
    assert gap.text.startswith("network local: ")


def test_a_name_that_the_kernel_does_not_have_is_a_mistake():
    with pytest.raises(ValueError, match='no right "wirte_file"'):
        _native.restrict([("/", ["wirte_file"])], connect_tcp=True)
    with pytest.raises(ValueError, match='no system call "ptarce"'):
        _native.deny([("ptarce", 1, ())], policy.FIRST_UNKNOWN_CALL)
    with pytest.raises(ValueError, match="no comparison"):
        _native.deny([("ptrace", 1, ((0, "<", 1),))], policy.FIRST_UNKNOWN_CALL)
