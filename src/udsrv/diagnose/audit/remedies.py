"""The commands that mend. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable

from udsrv.diagnose.audit.facts import Facts, File, Unit

AS_ROOT = "sudo udsrv audit, with the same options"


def restart(facts: Facts) -> str:
    """Return what starts the server anew: what a process was given at its start stays."""
    if facts.unit is not None:
        return f"systemctl restart {shlex.quote(facts.unit.name)}"
    if facts.master is not None:
        return f"kill -TERM {facts.master.pid}, and start udsrv again"
    return f"start udsrv with --socket {shlex.quote(facts.wanted.socket)}"


def as_generated(unit: Unit, restart: str) -> str:
    """Return what makes the unit again what the generator makes it."""
    steps = [f"systemctl revert {shlex.quote(unit.name)}"] if unit.has_drop_ins else []
    command = unit.command or "udsrv gen-systemd ..."
    steps.append(command.replace("udsrv gen-systemd", "udsrv gen-systemd --output /", 1))
    return " && ".join((*steps, "systemctl daemon-reload", restart))


def seal(facts: Facts) -> str:
    """Return what starts the server with its sandbox."""
    unfiltered = [each.seccomp == 0 for each in facts.processes if each.role != "master"]
    if facts.wanted.sandbox == "off" or all(unfiltered):
        return f"take 'sandbox off' out of the settings, and {restart(facts)}"
    return restart(facts)


def close_socket_mode(facts: Facts) -> str:
    """Return what gives the socket the mode of the settings."""
    return f"chmod {facts.wanted.mode:04o} {shlex.quote(facts.wanted.socket)}"


def close_to(file: File, uid: int, gids: Iterable[int], *, all_below: bool = False) -> str:
    """Return what takes the right to write ``file``, and ``all_below``, from a user."""
    path = shlex.quote(file.path)
    below = "-R " if all_below and stat.S_ISDIR(file.mode) else ""
    steps = []
    if file.has_access_list:
        steps.append(f"setfacl {below}-b {path}")
    if file.uid == uid:
        steps.append(f"chown {below}root {path}")
    if file.mode & stat.S_IWOTH:
        steps.append(f"chmod {below}go-w {path}")
    elif file.mode & stat.S_IWGRP and file.gid in gids:
        steps.append(f"chmod {below}g-w {path}")
    # Something else gives the right: a capability, or a group that the process has kept.
    return " && ".join(steps) or f"chown {below}root:root {path} && chmod {below}go-w {path}"
