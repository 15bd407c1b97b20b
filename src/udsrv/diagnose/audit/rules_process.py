"""The rows of the table: for each, what is right for a process of each tier. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable, Mapping

from udsrv.diagnose.audit.facts import DONE, Attempts, Descriptor, Facts, Process
from udsrv.diagnose.audit.remedies import AS_ROOT, close_socket_mode, close_to, restart, seal
from udsrv.diagnose.audit.verdicts import Judgement
from udsrv.privileged.drop import MASTER_CAPABILITIES
from udsrv.privileged.kernel import CAP_CHOWN

Rule = Callable[[Process, Facts], Judgement]

#: Source: linux/capability.h.
CAPABILITIES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip

# From this version on an open device shows that it was opened inside a domain.
_ABI_THAT_SHOWS = 5
_MOST_SHOWN = 4


def _is_master(process: Process) -> bool:
    return process.role == "master"


def _root_serves(facts: Facts) -> bool:
    return facts.master is None or facts.master.uids[1] == 0


def _ids(process: Process, facts: Facts) -> Judgement:
    uids, gids = set(process.uids), set(process.gids)
    uid, gid = process.uids[1], process.gids[1]
    cell = f"{facts.user(uid)}:{facts.group(gid)} ({uid}:{gid})"
    if len(uids) > 1 or len(gids) > 1:
        cell = f"uids {' '.join(map(str, process.uids))}, gids {' '.join(map(str, process.gids))}"
    if _is_master(process):
        return Judgement(cell)
    fact, remedy = "", ""
    if 0 in uids or 0 in gids:
        fact = "has an id of root's"
    elif len(uids) > 1 or len(gids) > 1:
        fact = f"can change between ids: {cell}"
    elif facts.master is not None and uid == facts.master.uids[1]:
        fact = f"runs as {facts.user(uid)}, as the master does, and can do all that the master can"
        remedy = f"kill -TERM {facts.master.pid}, and start udsrv as root with --user"
    elif uid in facts.wanted.nginx_uids:
        fact = f"runs as {facts.user(uid)}, which is Nginx's user too"
        remedy = (
            f"useradd --system --user-group udsrv, then restart with --user udsrv: {restart(facts)}"
        )
    elif facts.wanted.user not in (None, uid):
        fact = f"runs as uid {uid}, not as {facts.user(facts.wanted.user or 0)} of the settings"
    return Judgement(cell, "fail" if fact else "ok", fact, remedy)


def _groups(process: Process, facts: Facts) -> Judgement:
    uid, gid = process.uids[1], process.gids[1]
    others = sorted(set(process.groups) - {gid})
    cell = " ".join(facts.group(each) for each in others) or "none"
    if _is_master(process):
        return Judgement(cell)
    everything = {*others, *process.gids}
    if 0 in others:
        return Judgement(cell, "fail", "is in group 0, root's")
    for forbidden, whose in ((_socket_gid(facts), "the socket's"), (None, "Nginx's")):
        gids = {forbidden} if forbidden is not None else set(facts.wanted.nginx_gids)
        for each in sorted(gids & everything):
            name = facts.group(each)
            fact = f"is in {whose} group, {name}: it can connect to the socket that it serves"
            if each == gid:
                nginx = next(iter(facts.wanted.nginx_gids.values()), "NGINX'S GROUP")
                remedy = f"chgrp {nginx} {shlex.quote(facts.wanted.socket)}"
                if each in facts.wanted.nginx_gids:
                    remedy = f"usermod --gid nogroup {facts.user(uid)} && {restart(facts)}"
                    if each not in facts.account_groups.get(uid, {each}):
                        remedy = f"leave out --group {name}, and {restart(facts)}"
            else:
                remedy = f"gpasswd -d {facts.user(uid)} {name} && {restart(facts)}"
                if each not in facts.account_groups.get(uid, {each}):
                    remedy = restart(facts)
            return Judgement(cell, "fail", fact, remedy)
    more = set(others) - facts.account_groups.get(uid, frozenset(others))
    if more:
        names = " ".join(facts.group(each) for each in sorted(more))
        return Judgement(cell, "fail", f"has groups that its account hasn't: {names}")
    return Judgement(cell)


def _socket_gid(facts: Facts) -> int | None:
    return None if facts.socket is None else facts.socket.gid


def _capabilities(process: Process, facts: Facts) -> Judgement:
    sets = process.capabilities
    held = sets["CapPrm"] | sets["CapEff"] | sets["CapInh"] | sets["CapAmb"]
    bounding = sets["CapBnd"]
    allowed = 0
    if _is_master(process):
        allowed = sum(1 << number for number in MASTER_CAPABILITIES)
        owner = facts.socket.uid if facts.socket else 0
        if owner != process.uids[1]:
            allowed |= 1 << CAP_CHOWN
    if not _root_serves(facts):
        # Only CAP_SETPCAP could empty it, and with no_new_privs nothing in it can be had.
        allowed, bounding = 0, 0
    cell = " ".join(_names(held)) or "none"
    more = (held | bounding) & ~allowed
    if not more:
        return Judgement(cell)
    where = "" if held & more else " in its bounding set"
    shown = _names(more)
    names = " ".join(shown[:_MOST_SHOWN]) + (" ..." if len(shown) > _MOST_SHOWN else "")
    fact = f"has capabilities that it has no use for{where}: {names}"
    return Judgement(cell if held else f"none, bounding set {len(shown)}", "fail", fact)


def _names(mask: int) -> list[str]:
    numbers = [number for number in range(64) if mask >> number & 1]
    return [CAPABILITIES[n] if n < len(CAPABILITIES) else f"number {n}" for n in numbers]


def _no_new_privs(process: Process, facts: Facts) -> Judgement:
    if process.no_new_privs:
        return Judgement("yes")
    if _is_master(process) and not _root_serves(facts):
        return Judgement("no")
    return Judgement("no", "fail", "could gain privileges by running a set-user-ID program")


def _seccomp(process: Process, facts: Facts) -> Judgement:
    cell = {0: "none", 1: "strict", 2: "filter"}.get(process.seccomp, str(process.seccomp))
    if process.seccomp == 2 or _is_master(process):
        return Judgement(cell)
    fact = "no filter stands between it and the kernel's system calls"
    return Judgement(cell, "fail", fact, seal(facts))


def _landlock(process: Process, facts: Facts) -> Judgement:
    if process.landlocked:
        return Judgement("yes (proven)")
    if _is_master(process):
        return Judgement("none")
    if process.role == "descendant" and _is_below_a_domain(process, facts):
        return Judgement("yes (inherited)")
    if facts.landlock_abi == 0:
        fact = "this kernel has no Landlock, so only ids keep it from files"
        return Judgement("none", "warn", fact, "add landlock to lsm= on the kernel's command line")
    if process.descriptors is None:
        return _not_visible("its descriptors")
    if facts.landlock_abi < _ABI_THAT_SHOWS:
        fact = "no kernel before Linux 6.10 shows from outside whether a process is in a domain"
        return Judgement(
            "not visible", "warn", fact, "see the log: udsrv says at start what is active"
        )
    fact = "nothing that it holds was opened inside a Landlock domain"
    return Judgement("not proven", "fail", fact, seal(facts))


def _is_below_a_domain(process: Process, facts: Facts) -> bool:
    """Tell whether what it descends from is in a domain, which no child leaves. landlock(7)."""
    by_pid = {each.pid: each for each in facts.processes}
    above = by_pid.get(process.parent)
    while above is not None and above.role == "descendant" and not above.landlocked:
        above = by_pid.get(above.parent)
    return above is not None and bool(above.landlocked)


def _dumpable(process: Process, facts: Facts) -> Judgement:
    if process.dumpable is None:
        return Judgement("-")
    if not process.dumpable or _is_master(process):
        return Judgement("yes" if process.dumpable else "no")
    fact = "another process of its user can read its memory and take its descriptors"
    if process.role == "descendant":
        # exec made it so, and no setting of ours changes that.
        return Judgement("yes", "warn", f"{fact}; it is a program that the application has started")
    return Judgement("yes", "fail", fact)


def _descriptors(process: Process, facts: Facts) -> Judgement:
    if process.descriptors is None:
        return _not_visible("its descriptors")
    cell = ", ".join(sorted({each.kind for each in process.descriptors})) or "none"
    if _is_master(process):
        return Judgement(cell)
    foreign = [each for each in process.descriptors if _is_foreign(each, process, facts)]
    if not foreign:
        return Judgement(cell)
    named = ", ".join(f"{each.number} ({each.target})" for each in foreign[:_MOST_SHOWN])
    return Judgement(cell, "fail", f"holds descriptors that its user could not open: {named}")


def _is_foreign(each: Descriptor, process: Process, facts: Facts) -> bool:
    """Tell whether the process holds more of a file or device than its ids would give it."""
    if not (stat.S_ISREG(each.mode) or stat.S_ISDIR(each.mode) or each.is_device):
        return False
    if not each.target.startswith("/") or each.target.startswith("/memfd:"):
        return False
    if each.target == facts.wanted.access_log:  # root opens it and hands the descriptor down
        return False
    if _is_where_the_log_goes(each, facts) and (
        each.number <= 2
        or process.role == "supervisor"  # keeps it elsewhere while it preloads the application
        or facts.wanted.access_log == "-"
    ):
        return False
    shift = 6 if each.uid == process.uids[1] else 3 if _in(each.gid, process) else 0
    needed = 4 * each.reads | 2 * each.writes
    return (each.mode >> shift & needed) != needed


def _in(gid: int, process: Process) -> bool:
    return gid == process.gids[1] or gid in process.groups


def _is_where_the_log_goes(each: Descriptor, facts: Facts) -> bool:
    held = (facts.master.descriptors or ()) if facts.master else ()
    return any(other.number <= 2 and other.identity == each.identity for other in held)


def _network(process: Process, facts: Facts) -> Judgement:
    cell = "the machine's" if process.network is None else f"own: {process.network or 'nothing'}"
    if not process.ports:
        return Judgement(cell)
    fact = f"listens on {', '.join(process.ports)}, where anybody may connect"
    return Judgement(
        f"{cell}, {', '.join(process.ports)}", "fail", fact, f"kill -TERM {process.pid}"
    )


def _attempts(process: Process, facts: Facts) -> Attempts:
    return facts.attempts.get(process.pid, Attempts(refused="not tried"))


def _can_write(process: Process, facts: Facts) -> Judgement:
    attempts = _attempts(process, facts)
    if attempts.refused:
        return _not_visible(f"what it can write ({attempts.refused})")
    paths = [each.file.path for each in attempts.writable]
    if _is_master(process):
        return Judgement(_several(paths))
    wrong = [each for each in attempts.writable if _is_wrong(each.place.verdict, each.file.mode)]
    shown = [each.file.path for each in attempts.writable if each not in wrong]
    cell = _several([*(each.file.path for each in wrong), *shown])
    if not wrong:
        return Judgement(cell)
    verdict = "fail" if any(each.place.verdict == "fail" for each in wrong) else "warn"
    gids = {process.gids[1], *process.groups}
    named = ", ".join(f"{each.file.path} ({each.place.what})" for each in wrong[:_MOST_SHOWN])
    remedies = (
        close_to(each.file, process.uids[1], gids, all_below=each.place.verdict == "warn")
        for each in wrong[:_MOST_SHOWN]
    )
    remedy = " && ".join(dict.fromkeys(remedies))
    # A domain is proven, and not what it forbids: that is never taken for a defence.
    fact = f"may by its ids write {named}" if process.landlocked else f"can write {named}"
    return Judgement(cell, verdict, fact, remedy)


def _other_sockets(process: Process, facts: Facts) -> Judgement:
    attempts = _attempts(process, facts)
    if attempts.refused:
        return _not_visible(f"which sockets it can reach ({attempts.refused})")
    return Judgement(_several(list(attempts.sockets)))


def _is_wrong(verdict: str, mode: int) -> bool:
    # What is ours in a sticky directory stays ours, so /tmp and its like are for everybody.
    sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX and mode & stat.S_IWOTH
    return verdict != "ok" and not sticky


def _several(texts: list[str]) -> str:
    if not texts:
        return "nothing"
    more = f" +{len(texts) - _MOST_SHOWN}" if len(texts) > _MOST_SHOWN else ""
    return " ".join(texts[:_MOST_SHOWN]) + more


def _attempt(action: str, fact: str, remedy: Callable[[Process, Facts], str]) -> Rule:
    def rule(process: Process, facts: Facts) -> Judgement:
        attempts = _attempts(process, facts)
        if facts.socket is None:
            return Judgement("-")  # the socket's own line says that there is none
        if attempts.refused:
            return _not_visible(f"whether it can {action} ({attempts.refused})")
        outcome = attempts.outcomes[action]
        if outcome != DONE:
            return Judgement(f"no ({outcome})")
        if _is_master(process):
            return Judgement("yes")
        return Judgement("yes", "fail", fact, remedy(process, facts))

    return rule


def _close_socket(process: Process, facts: Facts) -> str:
    """Return what takes the way to connect: the same right that write(2) needs."""
    assert facts.socket is not None
    if facts.socket.uid == process.uids[1]:
        return f"chown root {shlex.quote(facts.socket.path)}"
    if _in(facts.socket.gid, process) and facts.socket.mode & stat.S_IWGRP:
        return _groups(process, facts).remedy or restart(facts)
    if facts.socket.mode & stat.S_IWOTH:
        return close_socket_mode(facts)
    return close_to(facts.socket, process.uids[1], {process.gids[1], *process.groups})


def _close_directory(process: Process, facts: Facts) -> str:
    """Return what takes the way to make and remove names in the socket's directory."""
    directory = facts.directories[-1]
    return close_to(directory, process.uids[1], {process.gids[1], *process.groups})


def _not_visible(what: str) -> Judgement:
    return Judgement("not visible", "unknown", f"{what} can't be seen", AS_ROOT)


#: The table, row by row.
ROWS: Mapping[str, Rule] = {
    "user, group": _ids,
    "other groups": _groups,
    "capabilities": _capabilities,
    "no_new_privs": _no_new_privs,
    "seccomp": _seccomp,
    "landlock": _landlock,
    "dumpable": _dumpable,
    "descriptors": _descriptors,
    "network": _network,
    "can write": _can_write,
    "other sockets": _other_sockets,
    "can connect": _attempt(
        "connect",
        "can connect to the socket that it serves, and forge what Nginx says",
        _close_socket,
    ),
    "can chmod": _attempt(
        "chmod",
        "owns the socket and can open it to everybody",
        lambda process, facts: f"chown root {shlex.quote(facts.wanted.socket)}",
    ),
    "can plant": _attempt("create", "can make files in the socket's directory", _close_directory),
    "can unlink": _attempt("unlink", "can remove and replace the socket", _close_directory),
    "control socket": lambda process, facts: Judgement("none"),
}
