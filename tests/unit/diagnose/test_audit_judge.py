"""What is right, what isn't, and what mends it: decided from facts alone."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from support.audited import (
    APP,
    DEV_NULL,
    LOG,
    MASTER_MASK,
    NGINX,
    SOCKET,
    attempts,
    directory,
    make_facts,
    plain,
    process,
    with_master,
    with_worker,
)
from udsrv.diagnose.audit.facts import Attempts, Descriptor, Place, Unit, Writable
from udsrv.diagnose.audit.judge import judge
from udsrv.diagnose.audit.verdicts import Finding

GOOD = make_facts()
RESTART = "systemctl restart app.service"
SECRET = Descriptor(7, "/secret", stat.S_IFREG | 0o600, 0, 0, (1, 2), reads=True, writes=False)
OWN = replace(SECRET, uid=APP)
MEMORY = replace(SECRET, target="/memfd:settings (deleted)", mode=stat.S_IFREG | 0o777)


def mask(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


def only(facts) -> Finding:
    (found,) = judge(facts).findings
    return found


def test_nothing_is_said_of_a_server_as_it_should_be():
    report = judge(GOOD)
    assert report.findings == ()
    assert report.passed
    assert [column.title for column in report.columns] == ["master", "supervisor", "worker 1-2"]


# A change of the second worker, the row it is found in, and words of what is said.
OF_A_WORKER = [
    ({"uids": (0, APP, APP, APP)}, "user, group", "an id of root's"),
    ({"uids": (APP, APP, 5, APP)}, "user, group", "can change between ids"),
    ({"gids": (APP, APP, 0, APP)}, "user, group", "an id of root's"),
    ({"uids": (NGINX,) * 4}, "user, group", "Nginx's user"),
    ({"groups": (APP, 0)}, "other groups", "group 0"),
    ({"groups": (APP, 27)}, "other groups", "that its account hasn't: 27"),
    ({"capabilities": {**GOOD.processes[-1].capabilities, "CapEff": 1}}, "capabilities", "chown"),
    (
        {"capabilities": {**GOOD.processes[-1].capabilities, "CapBnd": mask(21)}},
        "capabilities",
        "in its bounding set: sys_admin",
    ),
    ({"no_new_privs": False}, "no_new_privs", "set-user-ID"),
    ({"seccomp": 0}, "seccomp", "no filter"),
    ({"seccomp": 1}, "seccomp", "no filter"),
    ({"landlocked": False}, "landlock", "nothing that it holds was opened inside"),
    ({"landlocked": None}, "landlock", "nothing that it holds was opened inside"),
    ({"dumpable": True}, "dumpable", "read its memory"),
    ({"descriptors": (DEV_NULL, SECRET)}, "descriptors", "7 (/secret)"),
    ({"descriptors": (DEV_NULL, replace(OWN, writes=True, mode=stat.S_IFREG | 0o400))},
     "descriptors", "7 (/secret)"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "check", "words"), OF_A_WORKER)
def test_a_worker_that_is_wrong_fails_alone_and_a_restart_mends_it(change, check, words):
    report = judge(with_worker(GOOD, **change))
    (found,) = report.findings
    assert (found.check, found.subject, found.pids) == (check, "worker 2", (13,))
    assert found.verdict == "fail"
    assert words in found.fact
    assert RESTART in found.remedy
    assert not report.passed
    assert [each.title for each in report.columns][2:] == ["worker 1", "worker 2"]


@pytest.mark.parametrize("held", [OWN, MEMORY, replace(DEV_NULL, reads=True, writes=True)])
def test_a_descriptor_that_the_user_could_have_opened_is_no_fault(held):
    assert judge(with_worker(GOOD, descriptors=(DEV_NULL, held))).passed


def test_a_file_among_the_devices_is_a_file_and_shows_no_name():
    shared = replace(OWN, target="/dev/shm/psm_1a2b3c")
    report = judge(with_worker(GOOD, descriptors=(DEV_NULL, LOG, shared)))
    assert report.passed
    assert "/dev/null, file" in report.columns[-1].cells
    assert [column.title for column in report.columns] == ["master", "supervisor", "worker 1-2"]


def test_the_access_log_may_be_held():
    facts = with_worker(GOOD, descriptors=(DEV_NULL, SECRET))
    assert judge(replace(facts, wanted=replace(GOOD.wanted, access_log="/secret"))).passed


@pytest.mark.parametrize(
    ("role", "access_log", "passed"),
    [("worker", None, False), ("worker", "-", True), ("supervisor", None, True)],
)
def test_where_the_log_goes_may_be_held_by_whom_it_was_given(role, access_log, passed):
    pid = {"supervisor": 11, "worker": 13}[role]
    held = replace(LOG, number=6)
    facts = replace(
        GOOD,
        wanted=replace(GOOD.wanted, access_log=access_log),
        processes=tuple(
            replace(each, descriptors=(DEV_NULL, held)) if each.pid == pid else each
            for each in GOOD.processes
        ),
    )
    assert judge(facts).passed == passed


def test_a_port_is_mended_by_the_end_of_who_listens():
    found = only(with_worker(GOOD, ports=("tcp 8000",)))
    assert (found.check, found.remedy) == ("network", "kill -TERM 13")


def test_the_same_fault_of_all_is_one_line():
    facts = replace(GOOD, processes=tuple(replace(p, seccomp=0) for p in GOOD.processes))
    found = only(facts)
    assert (found.subject, found.pids) == ("supervisor, worker 1-2", (11, 12, 13))


@pytest.mark.parametrize(
    ("number", "owner", "verdict"),
    [(0, 0, "fail"), (0, 5, "ok"), (1, 5, "fail"), (21, 0, "fail"), (7, 0, "ok")],
)
def test_the_master_may_hold_four_capabilities_and_chown_for_a_foreign_owner(
    number, owner, verdict
):
    held = MASTER_MASK | 1 << number
    sets = {**GOOD.processes[0].capabilities, "CapPrm": held}
    facts = with_master(GOOD, capabilities=sets)
    facts = replace(
        facts,
        socket=replace(GOOD.socket, uid=owner),
        wanted=replace(GOOD.wanted, owner=owner),
    )
    assert judge(facts).passed == (verdict == "ok")


def test_a_server_that_is_not_roots_is_told_what_that_gives_away():
    bounding = {**GOOD.processes[-1].capabilities, "CapBnd": mask(*range(41))}
    facts = with_master(GOOD, uids=(APP,) * 4, no_new_privs=False, capabilities=bounding)
    facts = with_worker(facts, capabilities=bounding)
    facts = replace(
        facts, socket=replace(GOOD.socket, uid=APP), private=directory("/p", 0o700, APP)
    )
    assert {each.check for each in judge(facts).findings} == {"user, group"}
    found = only(facts)
    assert "as the master does" in found.fact
    assert found.remedy == "kill -TERM 10, and start udsrv as root with --user"


# What the account database says of supplementary group 33, and the command.
@pytest.mark.parametrize(
    ("database", "remedy"),
    [
        ({APP, NGINX}, f"gpasswd -d app www-data && {RESTART}"),
        ({APP}, RESTART),
    ],
)
def test_a_member_of_nginxs_group_leaves_it(database, remedy):
    facts = with_worker(GOOD, groups=(APP, NGINX))
    found = only(replace(facts, account_groups={APP: frozenset(database)}))
    assert (found.check, found.remedy) == ("other groups", remedy)


def test_a_socket_of_the_applications_own_group_becomes_nginxs():
    facts = replace(GOOD, socket=replace(GOOD.socket, gid=APP))
    by_check = {each.check: each for each in judge(facts).findings}
    assert set(by_check) == {"socket", "other groups"}
    assert by_check["other groups"].subject == "supervisor, worker 1-2"
    assert {each.remedy for each in by_check.values()} == {f"chgrp www-data {SOCKET}"}


@pytest.mark.parametrize(
    ("groups", "remedy"),
    [
        ({NGINX}, f"usermod --gid nogroup app && {RESTART}"),
        ({APP}, f"leave out --group www-data, and {RESTART}"),
    ],
)
def test_an_application_that_runs_in_nginxs_group_gets_another(groups, remedy):
    facts = with_worker(GOOD, gids=(NGINX,) * 4, groups=(NGINX,))
    found = only(replace(facts, account_groups={APP: frozenset(groups)}))
    assert (found.check, found.remedy) == ("other groups", remedy)


def tried(facts, **outcomes: str):
    changed = replace(attempts("EACCES"), outcomes={**attempts("EACCES").outcomes, **outcomes})
    return replace(facts, attempts={**facts.attempts, 13: changed})


def test_a_worker_that_can_unlink_is_mended_at_the_directory():
    facts = tried(GOOD, unlink="done", create="done")
    facts = replace(facts, directories=(directory("/run/app", 0o775, 0, APP),))
    by_check = {each.check: each for each in judge(facts).findings}
    assert set(by_check) == {"can plant", "can unlink", "directories"}
    assert by_check["can unlink"].remedy == "chmod g-w /run/app"


def test_a_worker_that_owns_the_socket():
    facts = replace(tried(GOOD, chmod="done", connect="done"), socket=replace(GOOD.socket, uid=APP))
    by_check = {each.check: each.remedy for each in judge(facts).findings}
    assert by_check.pop("socket") == f"chown 0 {SOCKET}"
    assert by_check == dict.fromkeys(("can chmod", "can connect"), f"chown root {SOCKET}")


def writable(file, verdict: str):
    place = Place(file.path, 0, verdict, "the machine's")
    seen = replace(attempts("EACCES"), writable=(Writable(file, place),))
    return replace(GOOD, attempts={**GOOD.attempts, 13: seen})


@pytest.mark.parametrize(
    ("file", "verdict", "outcome", "remedy"),
    [
        (plain("/etc/x", 0o666), "fail", "fail", "chmod go-w /etc/x"),
        (plain("/etc/x y", 0o664, 0, APP), "fail", "fail", "chmod g-w '/etc/x y'"),
        (directory("/etc", 0o755, APP), "fail", "fail", "chown root /etc"),
        (directory("/srv/app", 0o755, APP), "warn", "warn", "chown -R root /srv/app"),
        (replace(plain("/a"), has_access_list=True), "fail", "fail", "setfacl -b /a"),
        (plain("/a"), "fail", "fail", "chown root:root /a && chmod go-w /a"),
        (directory("/tmp", 0o1777), "fail", None, ""),
        (directory("/var/lib/app", 0o755, APP), "ok", None, ""),
    ],
)
def test_what_a_worker_can_write(file, verdict, outcome, remedy):
    found = judge(writable(file, verdict)).findings
    assert [(each.verdict, each.remedy) for each in found] == (
        [(outcome, remedy)] if outcome else []
    )


def test_a_domain_is_not_taken_for_a_defence():
    facts = writable(plain("/etc/x", 0o666), "fail")
    assert only(facts).fact == "may by its ids write /etc/x (the machine's)"
    outside = replace(with_worker(facts, landlocked=False), landlock_abi=4)
    facts_said = {each.check: each.fact for each in judge(outside).findings}
    assert facts_said["can write"] == "can write /etc/x (the machine's)"


@pytest.mark.parametrize(("landlocked", "passed"), [(True, True), (False, False)])
def test_what_a_worker_has_started_is_in_its_domain(landlocked, passed):
    """A program with pipes alone holds nothing that could show it."""
    facts = with_worker(GOOD, landlocked=landlocked)
    below = [
        replace(process("descendant", pid, parent, APP), landlocked=None)
        for pid, parent in ((14, 13), (15, 14))
    ]
    below_attempts = dict.fromkeys((14, 15), attempts("EACCES"))
    facts = replace(
        facts,
        processes=(*facts.processes, *below),
        attempts={**facts.attempts, **below_attempts},
    )
    assert judge(facts).passed == passed
    cells = {column.title: column.cells for column in judge(facts).columns}
    assert ("yes (inherited)" in cells["descendant 1-2"]) == passed


def test_a_program_that_the_application_has_started_is_warned_of_without_a_remedy():
    below = replace(process("descendant", 14, 13, APP), dumpable=True)
    facts = replace(
        GOOD,
        processes=(*GOOD.processes, below),
        attempts={**GOOD.attempts, 14: attempts("EACCES")},
    )
    found = only(facts)
    assert (found.check, found.verdict, found.remedy) == ("dumpable", "warn", "")


def test_what_could_not_be_seen_is_unknown_and_does_not_pass():
    facts = with_worker(GOOD, descriptors=None, landlocked=None, ports=None)
    facts = replace(facts, attempts={}, stranger=Attempts(refused="EPERM"))
    report = judge(facts)
    assert {each.verdict for each in report.findings} == {"unknown"}
    assert all(each.remedy.startswith("sudo udsrv audit") for each in report.findings)
    assert not report.passed


def test_a_kernel_that_shows_no_domain_is_a_warning():
    facts = replace(with_worker(GOOD, landlocked=False), landlock_abi=4)
    landlock, kernel = sorted(judge(facts).findings, key=lambda each: each.check, reverse=True)
    assert (landlock.check, landlock.verdict) == ("landlock", "warn")
    assert (kernel.check, kernel.verdict) == ("kernel", "warn")
    assert judge(facts).passed


@pytest.mark.parametrize(("abi", "gaps"), [(2, 4), (3, 3), (4, 2), (6, 1), (8, 1), (9, 0)])
def test_what_the_kernel_cannot_do_is_listed(abi, gaps):
    found = judge(replace(GOOD, landlock_abi=abi)).findings
    assert sum(each.fact.count("(Landlock ABI") for each in found) == gaps


def test_what_succeeds_on_an_older_kernel_is_named():
    fact = only(replace(GOOD, landlock_abi=6)).fact
    assert fact.endswith("; of docs/known-attacks.md succeed: connect-others-socket")
    facts = replace(with_worker(GOOD, landlocked=False), landlock_abi=3)
    (kernel,) = (each.fact for each in judge(facts).findings if each.check == "kernel")
    assert "listen-on-port, listen-on-port-6, signal supervisor, " in kernel
    assert "truncate-own-file" not in kernel


def test_a_sandbox_that_is_off_is_named():
    facts = replace(with_worker(GOOD, seccomp=0), wanted=replace(GOOD.wanted, sandbox="off"))
    assert only(facts).remedy == f"take 'sandbox off' out of the settings, and {RESTART}"


def socket(**changes):
    return replace(GOOD, socket=replace(GOOD.socket, **changes))


# Facts, the check, words of the fact, and the command.
AROUND = [
    (socket(mode=stat.S_IFSOCK | 0o666), "socket", "every local user", f"chmod 0660 {SOCKET}"),
    (socket(mode=stat.S_IFSOCK | 0o664), "socket", "mode 0664", f"chmod 0660 {SOCKET}"),
    (socket(has_access_list=True), "socket", "access control list", f"setfacl -b {SOCKET}"),
    (replace(GOOD, wanted=replace(GOOD.wanted, group=5)), "socket", "gid 33, not 5",
     f"chgrp 5 {SOCKET}"),
    (socket(uid=7), "socket", "belongs to 7, neither the master nor Nginx", f"chown 0 {SOCKET}"),
    (socket(gid=7), "socket", "lets the group 7 connect, which isn't known to be Nginx's",
     f"chgrp www-data {SOCKET}"),
    (replace(socket(gid=7), wanted=replace(GOOD.wanted, nginx_gids={})), "socket", "group 7",
     "udsrv audit --socket-group 7 ..."),
    (replace(GOOD, listening=False), "socket", "nobody listens", RESTART),
    (replace(GOOD, directories=(directory("/run", 0o777),)), "directories", "by everybody",
     "chmod go-w /run"),
    (replace(GOOD, directories=(directory("/run", 0o775, 0, 7),)), "directories", "by group 7",
     "chmod g-w /run"),
    (replace(GOOD, directories=(directory("/run", 0o755, 7),)), "directories", "by uid 7",
     "chown root /run"),
    (replace(GOOD, private=directory("/p", 0o750)), "directories", "mode 0750", "chmod 0700 /p"),
    (replace(GOOD, executed=(plain("/c", 0o646),)), "read by root", "by everybody",
     "chmod go-w /c"),
    (replace(GOOD, secrets=(plain("/k", 0o640),)), "secrets", "mode 0640) is open to others",
     "chown root /k && chmod 0600 /k"),
    (replace(GOOD, secrets=(plain("/k", 0o600, 7),)), "secrets", "(uid 7", "chown root /k"),
    (replace(GOOD, unit=Unit("app.service", 3.1, "OK")), "unit", "3.1 (OK), more than 3",
     f"udsrv gen-systemd --output / ... && systemctl daemon-reload && {RESTART}"),
    (replace(GOOD, unit=Unit("a.service", 3.1, "OK", "udsrv gen-systemd --user app a:app", True)),
     "unit", "3.1 (OK), more than 3",
     "systemctl revert a.service && udsrv gen-systemd --output / --user app a:app"
     " && systemctl daemon-reload && systemctl restart a.service"),
    (replace(GOOD, processes=(*GOOD.processes, process("stranger", 99, 1, 0, MASTER_MASK))),
     "processes", "isn't below the master", "kill -KILL 99"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "check", "words", "remedy"), AROUND)
def test_what_is_around_the_processes(facts, check, words, remedy):
    report = judge(facts)
    found = next(each for each in report.findings if each.check == check)
    assert found.verdict == "fail"
    assert words in found.fact
    assert remedy in found.remedy
    assert not report.passed


@pytest.mark.parametrize(
    "facts",
    [
        socket(uid=NGINX),
        socket(gid=0),
        socket(gid=7, mode=stat.S_IFSOCK | 0o600),
        replace(socket(uid=7, gid=8), wanted=replace(GOOD.wanted, owner=7, group=8)),
    ],
)
def test_an_owner_and_a_group_that_are_safe_or_named_are_no_fault(facts):
    assert judge(facts).passed


@pytest.mark.parametrize(
    ("lock_owner", "remedy"),
    [(10, f"mv {SOCKET} {SOCKET}.moved"), (None, f"mv {SOCKET} {SOCKET}.moved && {RESTART}")],
)
def test_a_foreign_file_is_moved_and_a_master_that_runs_puts_its_socket_back(lock_owner, remedy):
    facts = replace(GOOD, socket=plain(SOCKET), lock_owner=lock_owner)
    facts = replace(facts, listening=False, processes=())
    assert only(facts).remedy == remedy


def test_a_sticky_directory_of_roots_may_be_everybodys():
    assert judge(replace(GOOD, directories=(directory("/tmp", 0o1777), directory("/tmp/a")))).passed


def test_an_exposure_that_is_not_known_does_not_pass():
    found = only(replace(GOOD, unit=Unit("app.service", None, "")))
    assert (found.verdict, found.remedy) == ("unknown", "systemd-analyze security app.service")


def test_an_interpreter_that_was_replaced_is_warned_of():
    found = only(with_master(GOOD, executable="/usr/bin/python3.11 (deleted)"))
    assert (found.verdict, found.remedy) == ("warn", RESTART)


def test_outside_of_a_unit_the_master_is_ended_and_started_again():
    facts = replace(with_worker(GOOD, seccomp=0), unit=None)
    assert only(facts).remedy == "kill -TERM 10, and start udsrv again"


def test_the_worst_comes_first():
    facts = replace(with_worker(GOOD, seccomp=0), landlock_abi=6, unit=Unit("a.service", None, ""))
    assert [each.verdict for each in judge(facts).findings] == ["fail", "unknown", "warn"]
