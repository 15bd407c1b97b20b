"""Facts of the audit about a server that nothing is wrong with, to be changed one at a time."""

from __future__ import annotations

import stat
from dataclasses import replace

from udsrv.diagnose.audit.facts import (
    CAPABILITY_SETS,
    Attempts,
    Descriptor,
    Facts,
    File,
    Process,
    Unit,
    Wanted,
)

APP, NGINX = 998, 33
MASTER_MASK = 0x1E0  # kill, setgid, setuid, setpcap
SOCKET = "/run/app/app.sock"

DEV_NULL = Descriptor(0, "/dev/null", stat.S_IFCHR | 0o666, 0, 0, (5, 4), reads=True, writes=False)
LOG = Descriptor(2, "/log", stat.S_IFREG | 0o600, 0, 0, (1, 9), reads=False, writes=True)


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> File:
    return File(path, uid, gid, stat.S_IFDIR | mode, has_access_list=False)


def plain(path: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> File:
    return File(path, uid, gid, stat.S_IFREG | mode, has_access_list=False)


def process(role: str, pid: int, parent: int, uid: int, mask: int = 0) -> Process:
    capabilities = dict.fromkeys(CAPABILITY_SETS, 0)
    capabilities |= {"CapPrm": mask, "CapEff": mask, "CapBnd": mask}
    return Process(
        pid=pid,
        parent=parent,
        role=role,
        started=pid,
        uids=(uid,) * 4,
        gids=(uid,) * 4,
        groups=(uid,),
        capabilities=capabilities,
        no_new_privs=True,
        seccomp=2 if uid else 0,
        dumpable=False if uid else None,
        network=None,
        descriptors=(DEV_NULL, LOG),
        landlocked=bool(uid),
        ports=(),
        executable="/usr/bin/python3.11",
        directory="/srv/app",
    )


def attempts(outcome: str) -> Attempts:
    return Attempts(outcomes=dict.fromkeys(("connect", "chmod", "create", "unlink"), outcome))


def make_facts() -> Facts:
    """Return what the audit sees of a master, a supervisor and two workers in a unit."""
    processes = (
        process("master", 10, 1, 0, MASTER_MASK),
        process("supervisor", 11, 10, APP),
        process("worker", 12, 11, APP),
        process("worker", 13, 11, APP),
    )
    return Facts(
        wanted=Wanted(
            socket=SOCKET,
            mode=0o660,
            mode_is_given=False,
            owner=None,
            group=None,
            user=None,
            access_log=None,
            sandbox="best-effort",
            nginx_uids=frozenset({NGINX}),
            nginx_gids={NGINX: "www-data"},
        ),
        kernel="7.1.0",
        landlock_abi=9,
        socket=File(SOCKET, 0, NGINX, stat.S_IFSOCK | 0o660, has_access_list=False),
        listening=True,
        directories=(directory("/"), directory("/run"), directory("/run/app")),
        private=directory(f"{SOCKET}.d", 0o700),
        executed=(directory("/usr"), plain("/usr/bin/python3.11", 0o755)),
        secrets=(plain("/etc/app/key", 0o600),),
        lock_owner=10,
        processes=processes,
        attempts={10: attempts("done"), **dict.fromkeys((11, 12, 13), attempts("EACCES"))},
        stranger=attempts("EACCES"),
        account_groups={0: frozenset({0}), APP: frozenset({APP})},
        names={"u0": "root", "g0": "root", f"u{APP}": "app", f"g{APP}": "app", "g33": "www-data"},
        unit=Unit("app.service", 2.1, "OK"),
        threshold=3.0,
    )


def with_worker(facts: Facts, **changes: object) -> Facts:
    """Return facts in which the second worker is different."""
    *others, last = facts.processes
    return replace(facts, processes=(*others, replace(last, **changes)))


def with_master(facts: Facts, **changes: object) -> Facts:
    """Return facts in which the master is different."""
    first, *others = facts.processes
    return replace(facts, processes=(replace(first, **changes), *others))
