"""The generated files, deployed as the README says, on a machine of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.machine import Machine
from support.processes import status_of
from support.waiting import wait_for_end
from udsrv.diagnose.audit.report import EXPOSURE_WITHOUT_NETWORK

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain.py"
SOCKET = "/run/app/app.sock"
URL = "http://127.0.0.1/"
GENERATE = (
    f"cd /srv/app && /opt/udsrv/bin/udsrv gen-systemd --socket {SOCKET} --user app --output /"
)
RESTART = "systemctl daemon-reload && systemctl restart app"
AUDIT = ("/opt/udsrv/bin/udsrv", "audit", "--socket", SOCKET, "--user", "app", "--json")

# The three commands of the README, and where this machine keeps application and environment.
DEPLOY = f"""
cd /srv/app
PATH=/opt/udsrv/bin:$PATH
udsrv gen-nginx --socket {SOCKET} --server-name 127.0.0.1 --output /
{GENERATE} plain:app
systemd-sysusers && systemctl enable --now app && systemctl reload nginx
"""


@pytest.fixture(scope="module")
def site(machine: Machine) -> Machine:
    machine.copy_in(EXAMPLE, "/srv/app/plain.py")
    old_nginx_workers = machine.processes("nginx: worker process")
    machine.shell(DEPLOY)
    # A reload of nginx goes on after systemctl has returned.
    wait_for_end(*old_nginx_workers)
    return machine


def as_user(user: str, group: str, *command: str) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *command)


def assert_serves(site: Machine) -> None:
    assert "GET /" in site.run("curl", "--silent", "--show-error", "--fail", URL)


def test_the_unit_is_active(site):
    assert site.run("systemctl", "is-active", "app.service") == "active\n"


def test_the_socket_is_root_s_and_nginx_s_group_may_connect(site):
    assert site.run("stat", "--format", "%U:%G %a %F", SOCKET) == "root:www-data 660 socket\n"


def test_nginx_answers_with_the_application(site):
    assert_serves(site)


def test_the_journal_knows_how_important_a_line_is(site):
    def lines(priority: str) -> list[str]:
        ask = ("journalctl", "--unit", "app.service", "--output", "cat", "--priority", priority)
        said = site.run(*ask, "--grep", "master.*ready").splitlines()
        return [line for line in said if "[master] ready: plain:app" in line]

    (ready,) = lines("info..info")
    assert ready.startswith("[master] ready: plain:app")
    result = site.try_run("journalctl", "--unit", "app.service", "--priority", "notice")
    assert "ready: plain:app" not in result.stdout


def test_the_workers_user_cannot_remove_or_replace_the_socket(site):
    for attack in (("rm", "-f", SOCKET), ("mv", SOCKET, "/tmp/x"), ("touch", "/run/app/x")):
        result = site.try_run(*as_user("app", "app", *attack))
        assert result.returncode != 0, attack
        assert "Permission denied" in result.stderr
    assert_serves(site)


@pytest.mark.parametrize("user", [("nobody", "nogroup"), ("app", "app")])
def test_neither_nobody_nor_the_workers_user_can_connect(site, user):
    curl = ("curl", "--silent", "--show-error", "--unix-socket", SOCKET, "http://localhost/")
    result = site.try_run(*as_user(*user, *curl))
    assert result.returncode == 7  # curl(1): failed to connect
    assert site.run(*as_user("www-data", "www-data", *curl))


def test_the_audit_sees_the_unit_and_what_is_in_it(site):
    seen = json.loads(site.try_run(*AUDIT).stdout)
    assert seen["unit"] == {"name": "app.service", "exposure": 2.1, "threshold": 3}
    assert [each["role"] for each in seen["processes"]] == ["master", "supervisor", "worker"]
    for process in seen["processes"]:
        assert process["seccomp"] == 2
        assert "/etc" not in process["writable"]
    failed = {each["check"] for each in seen["findings"] if each["verdict"] != "warn"}
    assert failed == set()
    stricter = json.loads(site.try_run(*AUDIT, "--threshold", "2").stdout)
    (unit,) = (each for each in stricter["findings"] if each["check"] == "unit")
    assert unit["fact"] == "its exposure is 2.1 (OK), more than 2"


def test_a_unit_that_was_opened_is_closed_by_what_the_audit_says(site):
    opened = "[Service]\nProtectSystem=no\nProtectHome=no\nSystemCallFilter=\nPrivateTmp=no\n"
    site.shell(
        f"mkdir -p /etc/systemd/system/app.service.d &&"
        f" printf '{opened}' > /etc/systemd/system/app.service.d/override.conf &&"
        " systemctl daemon-reload"
    )
    seen = json.loads(site.try_run(*AUDIT).stdout)
    (unit,) = (each for each in seen["findings"] if each["check"] == "unit")
    assert unit["verdict"] == "fail"
    assert unit["remedy"].startswith("systemctl revert app.service && udsrv gen-systemd ")
    site.shell(f"PATH=/opt/udsrv/bin:$PATH; {unit['remedy']}")
    assert json.loads(site.run(*AUDIT))["unit"]["exposure"] == 2.1
    assert_serves(site)


def test_a_unit_without_the_network_is_what_the_audit_says(site):
    assert all(each["network"] is None for each in json.loads(site.run(*AUDIT))["processes"])
    text = site.run(*(word for word in AUDIT if word != "--json"))
    assert f"connects to Unix sockets alone: exposure {EXPOSURE_WITHOUT_NETWORK}\n" in text
    site.shell(f"{GENERATE} --network none plain:app && {RESTART}")
    seen = json.loads(site.run(*AUDIT))
    assert {each["network"] for each in seen["processes"]} == {"lo"}
    assert seen["unit"]["exposure"] == EXPOSURE_WITHOUT_NETWORK
    assert_serves(site)
    site.shell(f"{GENERATE} plain:app && {RESTART}")
    assert_serves(site)


def test_the_unit_takes_nothing_away_that_the_drop_needs(site):
    # CAP_SETPCAP and capset, for the bounding set and the secure bits: the workers are there, and
    # none is without having read them back.
    workers = site.processes("udsrv: worker")
    assert workers
    for pid in workers:
        status = status_of(pid)
        assert (status["CapBnd"], status["NoNewPrivs"]) == ("0000000000000000", "1")
        limits = " ".join(Path(f"/proc/{pid}/limits").read_text().split())
        assert "Max core file size 0 0 bytes" in limits
        assert re.search(r"Max open files (\d+) \1 files", limits)
        assert "Max msgqueue size 0 0 bytes" in limits


def test_a_stop_leaves_no_path(site):
    site.run("systemctl", "stop", "app.service")
    assert site.run("find", "/run/app", "-mindepth", "1") == ""
    site.run("systemctl", "start", "app.service")
    assert_serves(site)


def test_the_site_is_back_after_a_reboot(site):
    site.reboot()
    assert_serves(site)
