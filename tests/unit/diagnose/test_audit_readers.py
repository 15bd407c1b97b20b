"""The pure parts of what looks: roles by the tree, places, an exposure, a threshold."""

from __future__ import annotations

import pytest

from support.settings import make_settings
from udsrv.diagnose.audit.command import read_threshold
from udsrv.diagnose.audit.facts import Place
from udsrv.diagnose.audit.places import places
from udsrv.diagnose.audit.processes import roles_of
from udsrv.diagnose.audit.surroundings import directories_to, exposure_in
from udsrv.diagnose.audit.writable import what_it_can_write
from udsrv.errors import UsageError

# 1 init, 10 master, 11 supervisor, 12 and 13 workers, 14 a program of a worker; 20 a shell.
TREE = {1: 0, 10: 1, 11: 10, 12: 11, 13: 11, 14: 12, 20: 1, 21: 20}


def test_roles_follow_the_tree_of_who_holds_the_listener():
    assert roles_of(TREE, dict.fromkeys((10, 11, 12, 13), 5), None) == {
        10: "master",
        11: "supervisor",
        12: "worker",
        13: "worker",
        14: "descendant",
    }


def test_who_holds_it_elsewhere_is_a_stranger_even_when_it_is_older():
    holders = {10: 5, 12: 5, 21: 1}
    roles = roles_of(TREE, holders, lock_owner=10)
    assert (roles[10], roles[21]) == ("master", "stranger")
    # Without a lock the oldest is taken, whose tree will not look like a server's.
    assert roles_of(TREE, holders, None)[21] == "master"


def test_a_holder_below_init_alone_is_the_master():
    assert roles_of({1: 0, 30: 1}, {30: 1}, None) == {30: "master"}


def test_nobody_holds_it():
    assert roles_of(TREE, {}, None) == {}


def test_a_place_is_looked_at_once_and_counts_as_the_strictest(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").touch()
    found, _ = what_it_can_write(
        [
            Place(str(tmp_path / "code"), 0, "fail", "first"),
            Place(str(tmp_path), 9, "ok", "second"),
        ]
    )
    assert [(each.file.path, each.place.what) for each in found] == [
        (str(tmp_path / "code"), "first"),
        (str(tmp_path), "second"),
    ]


def test_the_places_are_those_of_the_settings():
    settings = make_settings(
        socket="/run/app/app.sock",
        access_logfile="/var/log/app/a.log",
        python="/srv/venv/bin/python",
    )
    found = {
        each.path: each.verdict
        for each in reversed(
            places(
                settings,
                master_reads=("/etc/udsrv/app.toml",),
                code=("/srv/app", "/"),
                package="/opt/udsrv/lib/udsrv",
                interpreter="/opt/udsrv/bin/python3",
            )
        )
    }
    assert found["/run/app"] == found["/run/app/app.sock.d"] == found["/opt/udsrv"] == "fail"
    assert found["/etc/udsrv/app.toml"] == found["/var/log/app/a.log"] == found["/etc"] == "fail"
    assert found["/srv/app"] == found["/srv/venv"] == "warn"
    assert found["/"] == found["/srv"] == "fail"
    assert found["/tmp"] == "ok"


@pytest.mark.parametrize(
    ("text", "exposure"),
    [
        ("→ Overall exposure level for app.service: 2.1 OK 🙂\n", (2.1, "OK")),
        ("x\n→ Overall exposure level for a-b@c.service: 9.6 UNSAFE 😨", (9.6, "UNSAFE")),
        ("Failed to connect to bus", (None, "")),
    ],
)
def test_the_exposure_is_read_from_the_last_line(text, exposure):
    assert exposure_in(text) == exposure


@pytest.mark.parametrize(("text", "value"), [("3", 3.0), ("2.1", 2.1), ("0", 0.0), ("10", 10.0)])
def test_a_threshold_is_a_number_as_systemd_prints_it(text, value):
    assert read_threshold(text) == value


@pytest.mark.parametrize("text", ["", "low", "-1", "10.1", "nan", "inf"])
def test_another_threshold_is_refused(text):
    with pytest.raises(UsageError, match="is not a number from 0 to 10"):
        read_threshold(text)


def test_the_way_to_a_directory_includes_the_target_of_a_link(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    paths = [each.path for each in directories_to(str(tmp_path / "link" / "inner"))]
    assert paths[0] == "/"
    assert paths[-3:] == [str(tmp_path), str(tmp_path / "real"), str(tmp_path / "real" / "inner")]
