"""A secret that only systemd can read, on its way to the application, on a machine of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.machine import Machine

APPLICATION = Path(__file__).parents[1] / "apps" / "remote.py"
SOCKET = "/run/shop/shop.sock"

# The secret lies where a root without CAP_DAC_OVERRIDE can't go.
DEPLOY = f"""
mkdir -p /srv/vault
cd /srv/shop
/opt/udsrv/bin/udsrv gen-systemd --socket {SOCKET} --user shop --output / \
    --credential db.password:/srv/vault/password remote:app
systemd-sysusers
printf hush >/srv/vault/password
chown -R shop:shop /srv/vault
chmod 0700 /srv/vault
chmod 0600 /srv/vault/password
systemctl enable --now shop
"""

READ = """
import os
here = os.environ["CREDENTIALS_DIRECTORY"]
result = [here, open(here + "/db.password").read(), os.getuid(), os.stat(here).st_uid]
"""


@pytest.fixture(scope="module")
def shop(machine: Machine) -> Machine:
    machine.copy_in(APPLICATION, "/srv/shop/remote.py")
    machine.shell(DEPLOY)
    return machine


def ask(machine: Machine, socket: str, source: str) -> list[object]:
    """Run ``source`` in the application behind ``socket``; return its result."""
    command = ("curl", "--silent", "--show-error", "--fail", "--unix-socket", socket)
    answer = machine.run(*command, "--data-binary", source, "http://localhost/")
    found = json.loads(answer)
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="module")
def directory(shop: Machine) -> str:
    here, content, uid, owner = ask(shop, SOCKET, READ)
    assert content == "hush"
    assert uid == owner != 0
    return str(here)


def inside(shop: Machine) -> tuple[str, ...]:
    """Return what makes a command see the files that the unit sees, its /tmp among them."""
    master = shop.run("systemctl", "show", "--property=MainPID", "--value", "shop").strip()
    return ("nsenter", f"--target={master}", "--mount")


def test_the_application_has_it_though_its_master_could_not_read_the_file(shop, directory):
    master = shop.run("systemctl", "show", "--property=MainPID", "--value", "shop").strip()
    status = shop.run("cat", f"/proc/{master}/status")
    (capabilities,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    assert not int(capabilities.split()[1], 16) & 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    kind = ("stat", "--file-system", "--format=%T", directory)
    assert shop.run(*inside(shop), *kind) == "tmpfs\n"


@pytest.mark.parametrize("user", ["nobody", "www-data"])
def test_nobody_else_reads_it(shop, directory, user):
    drop = ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups")
    for path in (f"{directory}/db.password", "/run/credentials/shop.service/db.password"):
        assert shop.run(*inside(shop), "cat", path) == "hush"
        result = shop.try_run(*inside(shop), *drop, "cat", path)
        assert (result.returncode, result.stdout) == (1, "")
        assert "Permission denied" in result.stderr


def test_it_shows_neither_in_the_unit_nor_in_the_list_of_processes(shop, directory):
    assert directory
    for command in (("systemctl", "show", "shop"), ("ps", "axeww"), ("journalctl", "--unit=shop")):
        text = shop.run(*command)
        assert "shop" in text
        assert "hush" not in text


def test_a_stop_leaves_none_of_it(shop, directory):
    shop.run("systemctl", "stop", "shop")
    places = ("/dev/shm", "/tmp", "/run/credentials")
    assert shop.run("find", *places, "-name", "udsrv-*", "-o", "-name", "*password*") == ""
    shop.run("systemctl", "start", "shop")
    assert ask(shop, SOCKET, READ)[0] != directory


def test_a_master_that_is_not_roots_has_its_own_from_systemd(shop, directory):
    assert directory
    socket = "/run/own/own.sock"
    shop.run(
        *("systemd-run", "--unit=own", "--uid=shop", "--property=Type=notify"),
        *("--property=RuntimeDirectory=own", "--working-directory=/srv/shop"),
        *("--property=LoadCredential=db.password:/srv/vault/password", "/opt/udsrv/bin/udsrv"),
        *("--socket", socket, "--credential", "db.password", "remote:app"),
    )
    assert ask(shop, socket, READ)[1] == "hush"
    shop.run("systemctl", "stop", "own")
