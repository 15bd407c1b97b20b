"""What gen-systemd decides. What systemd makes of it is in tests/golden."""

from __future__ import annotations

import re

import pytest

from support.settings import CONFIG_PATH, make_settings
from udsrv.errors import ConfigError, UsageError
from udsrv.generate.files import GeneratedFile
from udsrv.generate.systemd import SystemdOptions, systemd_files

LAUNCHER = "/opt/udsrv/bin/udsrv"


def files(*, launcher: str = LAUNCHER, **raw: object) -> tuple[GeneratedFile, ...]:
    raw.setdefault("from_file", {})
    given = {"app": "app:app", "socket": "/run/app/app.sock"} | raw
    settings = make_settings(**given)  # type: ignore[arg-type]
    return systemd_files(settings, SystemdOptions(command="udsrv gen-systemd", launcher=launcher))


def unit(**raw: object) -> str:
    return files(**raw)[0].text  # type: ignore[arg-type]


def values(text: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def command_line(text: str) -> list[str]:
    found = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert found
    return [line.strip(" \\") for line in found[1].splitlines()]


def test_the_command_line_names_what_was_given_and_where_it_was_typed():
    text = unit(workers="4", socket_mode="0600", keep_alive="75", start_directory="/srv/here")
    assert command_line(text) == [
        LAUNCHER,
        "--chdir /srv/here",
        "--socket /run/app/app.sock",
        "--socket-mode 0600",
        "--workers 4",
        "--user udsrv",
        "--keep-alive 75",
        "app:app",
    ]


def test_variables_become_flags_since_a_unit_does_not_have_them():
    text = unit(from_environment={"UDSRV_THREADS": "8", "UDSRV_USER": "shop"})
    assert {"--threads 8", "--user shop"} <= set(command_line(text))


def test_a_switch_has_no_value_and_can_be_turned_off():
    assert "--preload" in command_line(unit(preload="true"))
    assert "--no-preload" in command_line(unit(from_file={"preload": True}, preload="false"))
    assert not [word for word in command_line(unit()) if "preload" in word]


def test_a_unit_is_not_for_development():
    with pytest.raises(ConfigError) as refused:
        unit(reload="true")
    assert str(refused.value) == (
        "reload: for development, and the unit's master is root's; leave it out (from --reload)"
    )


def test_what_a_platform_says_is_spelled_out():
    assert "--workers 3" in command_line(unit(from_environment={"WEB_CONCURRENCY": "3"}))


def test_what_the_file_says_stays_in_the_file():
    said = {"app": "shop:app", "socket": "/run/shop/shop.sock", "user": "shop", "chdir": "/srv/s"}
    settings = make_settings(from_file=said, threads="2")
    text = systemd_files(settings, SystemdOptions(command="udsrv", launcher=LAUNCHER))[0].text
    assert command_line(text) == [LAUNCHER, f"--config {CONFIG_PATH}", "--threads 2"]
    assert values(text, "RuntimeDirectory") == ["shop"]


def test_repeated_and_awkward_values_survive():
    text = unit(env=["A=1", "C=a b"], pythonpath=["/a", "/b"], pass_env=["-x*"])
    assert command_line(text)[2:7] == [
        "--pythonpath /a",
        "--pythonpath /b",
        "--env A=1",
        '--env "C=a b"',
        # As a word of its own it would be taken for a flag.
        '"--pass-env=-x*"',
    ]


def test_a_list_that_was_emptied_stays_empty():
    settings = make_settings(
        from_file={"pythonpath": ["/a"]}, app="app", socket="/run/app/app.sock", pythonpath=[]
    )
    text = systemd_files(settings, SystemdOptions(command="udsrv", launcher=LAUNCHER))[0].text
    assert '--pythonpath ""' in command_line(text)


@pytest.mark.parametrize(
    ("socket", "expected"),
    [
        ("/run/shop/app.sock", {"ReadOnlyPaths": "/run", "RuntimeDirectory": "shop"}),
        ("/var/run/shop/app.sock", {"ReadOnlyPaths": "/run", "RuntimeDirectory": "shop"}),
        ("/run/a/b/app.sock", {"ReadOnlyPaths": "/run", "RuntimeDirectory": "a/b"}),
        ("/run/a b/app.sock", {"ReadOnlyPaths": "/run", "RuntimeDirectory": '"a b"'}),
        ("/run/app.sock", {"ReadWritePaths": "/run"}),
        ("/var/run/app.sock", {"ReadWritePaths": "/run"}),
        ("/srv/app/s/app.sock", {"ReadOnlyPaths": "/run", "ReadWritePaths": "/srv/app/s"}),
        ("/runner/app.sock", {"ReadOnlyPaths": "/run", "ReadWritePaths": "/runner"}),
    ],
)
def test_only_the_sockets_directory_is_open_for_writing(socket, expected):
    text = unit(socket=socket)
    keys = ("ReadOnlyPaths", "ReadWritePaths", "RuntimeDirectory")
    assert {key: values(text, key)[0] for key in keys if values(text, key)} == expected
    if "RuntimeDirectory" in expected:
        # nginx passes through, and systemd must not remove a directory that others use too.
        assert values(text, "RuntimeDirectoryMode") == ["0755"]
        assert values(text, "RuntimeDirectoryPreserve") == ["yes"]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("-", {}),
        ("/var/log/shop/access.log", {"LogsDirectory": ["shop"]}),
        ("/var/log/a b/c/access.log", {"LogsDirectory": ['"a b/c"']}),
        ("/var/log/access.log", {"ReadWritePaths": ["/var/log"]}),
        ("/srv/logs/access.log", {"ReadWritePaths": ["/srv/logs"]}),
        ("/run/app/access.log", {}),
        ("/run/logs/access.log", {"ReadWritePaths": ["/run/logs"]}),
    ],
)
def test_the_directory_of_the_access_log_is_open_for_writing(log, expected):
    text = unit(access_logfile=log)
    keys = ("LogsDirectory", "ReadWritePaths")
    assert {key: values(text, key) for key in keys if values(text, key)} == expected
    assert values(text, "LogsDirectoryMode") == (["0750"] if "LogsDirectory" in expected else [])


def test_an_access_log_that_a_unit_could_not_write_is_refused():
    with pytest.raises(ConfigError, match=r"below a home.*use /var/log/app/access\.log"):
        unit(access_logfile="/home/shop/access.log")
    with pytest.raises(ConfigError, match=r"can't be seen from a unit.*below /var/log/app"):
        unit(access_logfile="/tmp/access.log")


def test_a_socket_directly_in_run_opens_run_and_says_so():
    assert "The socket lies directly in /run" in unit(socket="/run/app.sock")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, "yes"),
        ({"chdir": "/home/dev/app"}, "read-only"),
        ({"python": "/home/dev/venv/bin/python"}, "read-only"),
        ({"pythonpath": ["/srv/lib", "/root/lib"]}, "read-only"),
        ({"env_file": "/root/app.env"}, "read-only"),
        ({"launcher": "/home/dev/venv/bin/udsrv"}, "read-only"),
        ({"chdir": "/homes/dev"}, "yes"),
    ],
)
def test_homes_are_hidden_unless_something_is_in_one(raw, expected):
    assert values(unit(**raw), "ProtectHome") == [expected]


@pytest.mark.parametrize(
    "raw",
    [
        {"socket": "/tmp/app.sock"},
        {"socket": "/var/tmp/app/app.sock"},
        {"chdir": "/tmp/app"},
        {"python": "/tmp/venv/bin/python"},
        {"launcher": "/tmp/venv/bin/udsrv"},
        {"socket": "/home/dev/app.sock"},
        {"socket": "/root/app.sock"},
        {"socket": "/run/user/1000/app.sock"},
    ],
)
def test_what_a_unit_can_not_see_is_refused(raw):
    with pytest.raises(ConfigError, match=re.escape(repr(next(iter(raw.values()))))):
        files(**raw)


@pytest.mark.parametrize(
    ("owner", "has_chown"), [(None, False), ("root", False), ("0", False), ("operator", True)]
)
def test_the_master_may_chown_only_for_a_foreign_owner(owner, has_chown):
    text = unit(**({} if owner is None else {"socket_owner": owner}))
    kept = ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"]
    (capabilities,) = values(text, "CapabilityBoundingSet")
    assert capabilities.split() == kept + ["CAP_CHOWN"] * has_chown


def test_timeouts_are_longer_than_the_servers_own():
    text = unit(start_timeout="120", graceful_timeout="0.5")
    assert values(text, "TimeoutStartSec") == ["130"]
    assert values(text, "TimeoutStopSec") == ["11"]


def test_a_database_that_is_late_does_not_end_the_site_and_a_mistake_does_not_loop():
    text = unit()
    assert values(text, "StartLimitIntervalSec") == ["0"]
    assert values(text, "Restart") == ["on-failure"]
    assert values(text, "RestartPreventExitStatus") == ["64 77 78"]


# What breaks ordinary applications, belongs to another mode, or is not there yet.
ABSENT = (
    *("PrivateNetwork", "PrivateUsers", "MemoryDenyWriteExecute", "ProcSubset", "IPAddressDeny"),
    *("User", "Group", "DynamicUser", "ExecReload", "WatchdogSec", "FileDescriptorStoreMax"),
    *("UMask", "MemoryMax", "TasksMax"),
)


@pytest.mark.parametrize("key", ABSENT)
def test_it_does_not_say(key):
    assert values(unit(), key) == []


def test_every_key_that_is_no_list_is_said_once():
    keys = re.findall(r"^([A-Z]\w+)=", unit(), re.MULTILINE)
    assert {key for key in keys if keys.count(key) > 1} == {"SystemCallFilter"}


def test_credentials_are_read_by_systemd_and_named_to_the_master():
    text = unit(credential=["db:/home/dev/100% db", "stored"])
    assert values(text, "LoadCredential") == ["db:/home/dev/100%% db", "stored"]
    assert [word for word in command_line(text) if "credential" in word] == [
        "--credential db", "--credential stored",
    ]  # fmt: skip
    assert values(text, "ProtectHome") == ["yes"]  # which isn't systemd's own view


def test_credentials_that_the_file_of_settings_names_are_the_masters_to_read():
    text = unit(from_file={"credential": ["db:/home/dev/db", "stored"]})
    assert values(text, "LoadCredential") == []
    assert not [word for word in command_line(text) if "credential" in word]
    assert values(text, "ProtectHome") == ["read-only"]
    with pytest.raises(ConfigError, match="credential: '/tmp/db' can't be seen from a unit"):
        unit(from_file={"credential": ["db:/tmp/db"]})


@pytest.mark.parametrize("path", ["/etc/app/db\\", "/etc/app/db "])
def test_a_credential_that_a_unit_cannot_name_is_refused(path):
    with pytest.raises(ConfigError, match="that LoadCredential= can't end with"):
        unit(credential=[f"db:{path}"])


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        ({}, ['u udsrv - "Web application served by udsrv" /nonexistent']),
        ({"user": "shop"}, ['u shop - "Web application served by udsrv" /nonexistent']),
        (
            {"user": "shop", "group": "shop"},
            ['u shop - "Web application served by udsrv" /nonexistent'],
        ),
        (
            {"user": "shop", "group": "sites"},
            ["g sites -", 'u shop -:sites "Web application served by udsrv" /nonexistent'],
        ),
        (
            {"user": "shop", "group": "990"},
            ['u shop -:990 "Web application served by udsrv" /nonexistent'],
        ),
    ],
)
def test_the_account_is_made_where_it_is_missing(raw, lines):
    _, account = files(**raw)
    assert account.path == "/etc/sysusers.d/app.conf"
    assert account.text.splitlines() == ["# Generated by: udsrv gen-systemd", *lines]


@pytest.mark.parametrize("user", ["nobody", "www-data", "nginx", "1000", "DOMAIN\\user"])
def test_accounts_of_others_are_not_made(user):
    assert [file.path for file in files(user=user)] == ["/etc/systemd/system/app.service"]


@pytest.mark.parametrize(
    ("raw", "remark"),
    [
        ({"user": "nobody"}, "nobody is shared with other software"),
        ({"user": "www-data"}, "runs as www-data, which is also nginx's"),
        ({"group": "nginx"}, "runs as nginx, which is also nginx's"),
        ({"group": "web", "socket_group": "web"}, "runs as web, which is also nginx's"),
    ],
)
def test_an_account_that_gives_something_away_is_remarked_on(raw, remark):
    assert remark in unit(**raw)
    assert "also nginx's" not in unit()


def test_an_application_is_needed():
    with pytest.raises(UsageError, match="no application named"):
        systemd_files(
            make_settings(socket="/run/app/app.sock"),
            SystemdOptions(command="udsrv gen-systemd", launcher=LAUNCHER),
        )


def test_a_launcher_that_systemd_would_expand_is_refused():
    with pytest.raises(ConfigError, match="install udsrv at a path without it"):
        files(launcher="/opt/$x/udsrv")
