"""Looking users and groups up."""

import grp
import os
import pwd

import pytest

from support.settings import make_settings
from udsrv.errors import ConfigError
from udsrv.start.accounts import accounts, group, group_name, user, user_name

OWN = pwd.getpwuid(os.getuid())


def test_names_and_numbers_find_the_same_account():
    assert user("daemon", "user", "--user") == user(str(pwd.getpwnam("daemon").pw_uid), "", "")
    assert group("daemon", "group", "-g") == group(str(grp.getgrnam("daemon").gr_gid), "", "")


@pytest.mark.parametrize("name", ["wwww", "4294967294"])
def test_an_account_that_does_not_exist_is_named_with_the_origin_of_its_name(name):
    with pytest.raises(ConfigError) as caught:
        user(name, "user", "/etc/udsrv.toml")
    assert str(caught.value) == f"user: no account named '{name}' (from /etc/udsrv.toml)"
    with pytest.raises(ConfigError) as caught:
        group(name, "group", "UDSRV_GROUP")
    assert str(caught.value) == f"group: no group named '{name}' (from UDSRV_GROUP)"


def test_ids_without_a_name_are_written_as_numbers():
    assert user_name(0) == "root"
    assert group_name(0) == "root"
    assert user_name(4294967290) == "4294967290"
    assert group_name(4294967290) == "4294967290"


@pytest.mark.parametrize(
    ("setting", "raw"),
    [
        ("user", "no-such"),
        ("group", "no-such"),
        ("socket_owner", "no-such"),
        ("socket_group", "no-such"),
        ("trusted_peer", ["no-such"]),
        ("trusted_peer", ["%no-such"]),
    ],
)
def test_every_setting_that_names_an_account_is_looked_up(setting, raw):
    given = {"user": "daemon" if os.getuid() == 0 else OWN.pw_name, setting: raw}
    with pytest.raises(ConfigError, match=f"^{setting}: no (account|group) named 'no-such'"):
        accounts(make_settings(app="app:app", socket="/run/app.sock", **given))


def test_named_peers_are_trusted_beside_root_and_the_sockets_group():
    daemon = pwd.getpwnam("daemon")
    who = accounts(
        make_settings(
            app="app:app",
            socket="/run/app.sock",
            user="nobody" if os.getuid() == 0 else OWN.pw_name,
            socket_group="mail",
            trusted_peer=["daemon", "%bin"],
        )
    )
    assert who.trusted_uids == {0, os.getuid(), daemon.pw_uid}
    assert who.trusted_gids == {grp.getgrnam("mail").gr_gid, grp.getgrnam("bin").gr_gid}
    assert who.socket_gid == grp.getgrnam("mail").gr_gid
