"""What must be right around the processes: the socket, its directories, the unit. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator

from udsrv.diagnose.audit.attacks import succeeding
from udsrv.diagnose.audit.facts import DONE, Facts, File
from udsrv.diagnose.audit.remedies import AS_ROOT, as_generated, close_socket_mode, restart
from udsrv.diagnose.audit.verdicts import Finding
from udsrv.sandbox import policy
from udsrv.start.directories import who_may_write


def machine_findings(facts: Facts) -> Iterator[Finding]:
    """Yield what isn't right, in an order that doesn't vary."""
    yield from _socket(facts)
    yield from _processes(facts)
    yield from _directories(facts)
    yield from _private(facts)
    yield from _others(facts)
    yield from _executed(facts)
    yield from _secrets(facts)
    yield from _unit(facts)
    yield from _kernel(facts)


def _socket(facts: Facts) -> Iterator[Finding]:
    wanted, live = facts.wanted, facts.socket
    path = shlex.quote(wanted.socket)
    if live is None:
        yield Finding("socket", wanted.socket, "fail", "isn't there", restart(facts))
        return
    if not stat.S_ISSOCK(live.mode):
        remedy = f"mv {path} {path}.moved"
        if facts.lock_owner is None:  # else the master puts the socket back by itself
            remedy = f"{remedy} && {restart(facts)}"
        yield Finding("socket", wanted.socket, "fail", "isn't a socket", remedy)
        return
    mode = stat.S_IMODE(live.mode)
    if mode & 0o007 or (wanted.mode_is_given and mode != wanted.mode):
        who = "every local user may connect" if mode & 0o002 else f"not {wanted.mode:04o}"
        fact = f"has mode {mode:04o}: {who}"
        yield Finding("socket", wanted.socket, "fail", fact, close_socket_mode(facts))
    yield from _ownership(facts, live)
    if live.has_access_list:
        fact = "has an access control list, which lets others connect than owner and group"
        yield Finding("socket", wanted.socket, "fail", fact, f"setfacl -b {path}")
    if facts.listening is None:
        fact = "the kernel can't say who listens there"
        yield Finding("socket", wanted.socket, "unknown", fact, "modprobe unix_diag")
    elif not facts.listening:
        yield Finding("socket", wanted.socket, "fail", "nobody listens there", restart(facts))


def _ownership(facts: Facts, live: File) -> Iterator[Finding]:
    """Yield a finding for an owner or a group that the settings don't name, or that isn't safe."""
    wanted, master = facts.wanted, facts.master
    path = shlex.quote(wanted.socket)
    for command, kind, want, have in (
        ("chown", "uid", wanted.owner, live.uid),
        ("chgrp", "gid", wanted.group, live.gid),
    ):
        if want not in (None, have):
            fact = f"has {kind} {have}, not {want} as the settings say"
            yield Finding("socket", wanted.socket, "fail", fact, f"{command} {want} {path}")
    if master is None:  # whose it should be isn't known
        return
    master_uid, master_gid = master.uids[1], master.gids[1]
    if wanted.owner is None and live.uid not in {0, master_uid, *wanted.nginx_uids}:
        name = facts.user(live.uid)
        fact = f"belongs to {name}, neither the master nor Nginx, who can open it to everybody"
        yield Finding("socket", wanted.socket, "fail", fact, f"chown {master_uid} {path}")
    if (
        wanted.group is None
        and live.mode & stat.S_IWGRP
        and live.gid not in {0, master_gid, *wanted.nginx_gids}
    ):
        name = facts.group(live.gid)
        fact = f"lets the group {name} connect, which isn't known to be Nginx's"
        nginx = next(iter(wanted.nginx_gids.values()), None)
        remedy = f"chgrp {nginx} {path}" if nginx else f"udsrv audit --socket-group {name} ..."
        yield Finding("socket", wanted.socket, "fail", fact, remedy)


def _processes(facts: Facts) -> Iterator[Finding]:
    if facts.listening and not facts.processes:
        fact = "who holds the listening socket can't be seen"
        yield Finding("processes", facts.wanted.socket, "unknown", fact, AS_ROOT)
    for process in facts.processes:
        if process.role == "stranger":
            fact = f"holds the listening socket and isn't below the master ({process.executable})"
            yield Finding(
                "processes", f"pid {process.pid}", "fail", fact, f"kill -KILL {process.pid}",
                (process.pid,),
            )  # fmt: skip
    master = facts.master
    if master is not None and (master.executable or "").endswith(" (deleted)"):
        fact = f"runs an interpreter that was replaced on the disk: {master.executable}"
        yield Finding("processes", "master", "warn", fact, restart(facts), (master.pid,))


def _directories(facts: Facts) -> Iterator[Finding]:
    uid = facts.master.uids[1] if facts.master else 0
    gid = facts.master.gids[1] if facts.master else 0
    for each in facts.directories:
        yield from _open_to_others("directories", each, uid, gid)


def _open_to_others(check: str, file: File, uid: int, gid: int) -> Iterator[Finding]:
    """Yield a finding when somebody but root and ``uid`` may write the file."""
    is_directory = stat.S_ISDIR(file.mode)
    writer = _writer(file, uid, gid)
    if writer is None or (
        is_directory and file.mode & stat.S_ISVTX and file.uid in (0, uid)
    ):  # what is ours in a sticky directory stays ours
        return
    path = shlex.quote(file.path)
    what = "who can replace what is in it" if is_directory else "who decides what root does"
    fact = (
        f"(uid {file.uid}, gid {file.gid}, mode {file.permissions}) is writable by {writer}, {what}"
    )
    steps = []
    if file.has_access_list:
        steps.append(f"setfacl -b {path}")
    if file.uid not in (0, uid):
        steps.append(f"chown root {path}")
    if file.mode & stat.S_IWOTH:
        steps.append(f"chmod go-w {path}")
    elif file.mode & stat.S_IWGRP:
        steps.append(f"chmod g-w {path}")
    yield Finding(check, file.path, "fail", fact, " && ".join(steps))


def _writer(file: File, uid: int, gid: int) -> str | None:
    """Say who may write the file; the rule is the one that a start obeys."""
    facts = os.stat_result((file.mode, 0, 0, 0, file.uid, file.gid, 0, 0, 0, 0))
    writer = who_may_write(facts, uid, gid)
    if writer is None and file.mode & stat.S_IWGRP and file.has_access_list:
        return "somebody in its access control list"
    return writer


def _private(facts: Facts) -> Iterator[Finding]:
    each = facts.private
    if each is None:
        return
    uid = facts.master.uids[1] if facts.master else 0
    path = shlex.quote(each.path)
    if not stat.S_ISDIR(each.mode) or each.uid != uid:
        fact = f"belongs to uid {each.uid}, not to the master"
        yield Finding("directories", each.path, "fail", fact, f"chown {uid} {path}")
    elif stat.S_IMODE(each.mode) & 0o077:
        fact = f"has mode {each.permissions}: others get to what is staged there"
        yield Finding("directories", each.path, "fail", fact, f"chmod 0700 {path}")


def _others(facts: Facts) -> Iterator[Finding]:
    tried, socket = facts.stranger, facts.socket
    if socket is None:
        return
    if tried.refused:
        fact = f"what they can do to the socket can't be seen ({tried.refused})"
        yield Finding("other users", facts.wanted.socket, "unknown", fact, AS_ROOT)
        return
    directory = facts.directories[-1]
    mends = {
        "connect": ("connect to the socket", close_socket_mode(facts)),
        "unlink": ("remove and replace the socket", f"chmod go-w {shlex.quote(directory.path)}"),
    }
    for action, (words, remedy) in mends.items():
        if tried.outcomes.get(action) == DONE:
            fact = f"every local user can {words} (tried)"
            yield Finding("other users", facts.wanted.socket, "fail", fact, remedy)


def _executed(facts: Facts) -> Iterator[Finding]:
    if facts.master is not None and facts.master.uids[1] != 0:
        return
    above = {each.path for each in facts.directories}
    for each in facts.executed:
        if each.path not in above:
            yield from _open_to_others("read by root", each, 0, 0)


def _secrets(facts: Facts) -> Iterator[Finding]:
    if facts.master is not None and facts.master.uids[1] != 0:
        return
    for each in facts.secrets:
        if each.uid or stat.S_IMODE(each.mode) & 0o077:
            path = shlex.quote(each.path)
            fact = f"(uid {each.uid}, gid {each.gid}, mode {each.permissions}) is open to others"
            remedy = f"chown root {path} && chmod 0600 {path}"
            yield Finding("secrets", each.path, "fail", fact, remedy)


def _unit(facts: Facts) -> Iterator[Finding]:
    unit = facts.unit
    if unit is None:
        return
    look = f"systemd-analyze security {shlex.quote(unit.name)}"
    if unit.exposure is None:
        fact = "systemd-analyze doesn't say how exposed it is"
        yield Finding("unit", unit.name, "unknown", fact, look)
    elif unit.exposure > facts.threshold:
        fact = f"its exposure is {unit.exposure} ({unit.word}), more than {facts.threshold:g}"
        yield Finding("unit", unit.name, "fail", fact, as_generated(unit, restart(facts)))


def _kernel(facts: Facts) -> Iterator[Finding]:
    abi = facts.landlock_abi
    gaps = policy.gaps(abi, calls_denied=True, only_loopback=None)
    if gaps:
        fact = "; ".join(gap.text for gap in gaps)
        if names := succeeding(abi):
            fact += f"; of docs/known-attacks.md succeed: {', '.join(names)}"
        yield Finding("kernel", f"Linux {facts.kernel}", "warn", fact, "")
