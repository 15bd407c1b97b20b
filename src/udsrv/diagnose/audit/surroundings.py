"""Read what is around the processes: files, directories, accounts, the kernel, the unit.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from udsrv.config.model import DEFAULT, Settings
from udsrv.diagnose.audit.child import ask_child, enter
from udsrv.diagnose.audit.facts import File, Process, Unit, Wanted
from udsrv.diagnose.audit.listening import listener_of
from udsrv.diagnose.audit.writable import file_of
from udsrv.errors import UdsrvError
from udsrv.start.accounts import NGINX_NAMES, group, group_name, user, user_name

_SYS_LANDLOCK_CREATE_RULESET = 444  # the same on every architecture. Source: syscalls(2)
_LANDLOCK_CREATE_RULESET_VERSION = 1
_MOST_FILES = 2_000
_MOST_SYMLINKS = 40  # as the kernel. Source: path_resolution(7)
_PATIENCE_S = 30.0
_UNITS = "/etc/systemd/system"
_libc = ctypes.CDLL(None, use_errno=True)


def file_at(path: str) -> File | None:
    """Return the facts of a path, not following a link at its end; None when it isn't there."""
    try:
        return file_of(path, os.lstat(path))
    except OSError:
        return None


def directories_to(path: str) -> tuple[File, ...]:
    """Return every directory through which ``path`` leads, symbolic links followed, / first."""
    found: dict[str, File] = {}
    pending = [name for name in reversed(path.split("/")) if name]
    here, links = "/", 0
    while True:
        facts = file_at(here)
        if facts is None:
            break
        found.setdefault(here, facts)
        if not pending:
            break
        there = os.path.normpath(os.path.join(here, pending.pop()))
        if os.path.islink(there) and links < _MOST_SYMLINKS:
            links += 1
            target = os.readlink(there)
            here = "/" if target.startswith("/") else here
            pending += [name for name in reversed(target.split("/")) if name]
        elif pending or os.path.isdir(there):
            here = there
        else:
            break
    return tuple(found.values())


def files_of_root(paths: Iterable[str], package: str) -> tuple[File, ...]:
    """Return ``paths`` and the files of our package, with every directory above them."""
    found: dict[str, File] = {}
    files = (*paths, *_files_below(package))
    for directory in dict.fromkeys(os.path.dirname(path) for path in files):
        for each in directories_to(directory):
            found.setdefault(each.path, each)
    for path in files:
        file = file_at(os.path.realpath(path))
        if file is not None:
            found.setdefault(file.path, file)
    return tuple(found.values())


def _files_below(directory: str) -> Iterator[str]:
    count = 0
    for where, _, names in os.walk(directory):
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                return
            yield os.path.join(where, name)


def find_listener(path: str) -> int | None:
    """Return the inode of the socket that listens at ``path``, in any network namespace.

    Raises:
        OSError: the kernel can't be asked.
    """
    inode = listener_of(path)
    if inode is not None:
        return inode
    for namespace in _other_networks():
        with contextlib.suppress(UdsrvError):
            found: int | None = ask_child(partial(_listener_in, namespace, path))
            if found is not None:
                return found
    return None


def _listener_in(namespace: str, path: str) -> int | None:
    enter(namespace)
    return listener_of(path)


def _other_networks() -> list[str]:
    seen = {os.readlink("/proc/self/ns/net")}
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            namespace = f"/proc/{name}/ns/net"
            with contextlib.suppress(OSError):
                if (identity := os.readlink(namespace)) not in seen:
                    seen.add(identity)
                    found.append(namespace)
    return found


def lock_identity(socket: str) -> tuple[int, int] | None:
    """Return device and inode of the lock in the private directory beside the socket."""
    try:
        facts = os.lstat(f"{socket}.d/lock")
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel speaks, 0 for none. Source: landlock(7)."""
    version: int = _libc.syscall(
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(version, 0)


def unit_of(master: Process) -> Unit | None:
    """Return the systemd service that the master is in, by its control group, and its exposure."""
    try:
        lines = Path(f"/proc/{master.pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = [part for line in lines for part in line.split("/") if part.endswith(".service")]
    if not names:
        return None
    name = names[-1]
    exposure, word = _exposure(name)
    return Unit(name, exposure, word, _generator(name), os.path.isdir(f"{_UNITS}/{name}.d"))


def _generator(unit: str) -> str:
    """Return the command that has made the unit's file, empty when it wasn't ours."""
    try:
        with open(f"{_UNITS}/{unit}", encoding="utf-8", errors="replace") as file:
            first = file.readline().rstrip("\n")
    except OSError:
        return ""
    return first.removeprefix("# Generated by: ") if "udsrv gen-systemd" in first else ""


def _exposure(unit: str) -> tuple[float | None, str]:
    try:
        result = subprocess.run(  # noqa: S603 - a program of root's, no shell
            ["/usr/bin/systemd-analyze", "security", "--no-pager", "--", unit],
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, ""
    return exposure_in(result.stdout)


def exposure_in(text: str) -> tuple[float | None, str]:
    """Return the number and the word in the last line of ``systemd-analyze security``. Pure."""
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+) (\w+)", text)
    return (float(found[1]), found[2]) if found else (None, "")


def wanted_of(settings: Settings) -> Wanted:
    """Return what the settings name, as numbers.

    Raises:
        ConfigError: an account that they name doesn't exist.
    """

    def uid(name: str) -> int | None:
        value: str | None = getattr(settings, name)
        return None if value is None else user(value, name, settings.origin(name)).pw_uid

    group_id = None
    if settings.socket_group is not None:
        origin = settings.origin("socket_group")
        group_id = group(settings.socket_group, "socket_group", origin).gr_gid
    nginx_uids, nginx_gids = set(), {}
    for name in NGINX_NAMES:
        with contextlib.suppress(KeyError):
            nginx_uids.add(pwd.getpwnam(name).pw_uid)
        with contextlib.suppress(KeyError):
            nginx_gids[grp.getgrnam(name).gr_gid] = name
    return Wanted(
        socket=settings.socket,
        mode=settings.socket_mode,
        mode_is_given=settings.origin("socket_mode") != DEFAULT,
        owner=uid("socket_owner"),
        group=group_id,
        user=uid("user"),
        access_log=_real(settings.access_logfile),
        sandbox=settings.sandbox,
        nginx_uids=frozenset(nginx_uids),
        nginx_gids=nginx_gids,
    )


def _real(log: str | None) -> str | None:
    return log if log in (None, "-") else os.path.realpath(log)


def account_groups(uids: Iterable[int]) -> dict[int, frozenset[int]]:
    """Return the groups that the account database gives to each user."""
    found = {}
    for uid in uids:
        with contextlib.suppress(KeyError):
            account = pwd.getpwuid(uid)
            found[uid] = frozenset(os.getgrouplist(account.pw_name, account.pw_gid))
    return found


def names_of(uids: Iterable[int], gids: Iterable[int]) -> dict[str, str]:
    """Return names for numbers: ``u0`` to ``root``, ``g33`` to ``www-data``."""
    return {f"u{uid}": user_name(uid) for uid in set(uids)} | {
        f"g{gid}": group_name(gid) for gid in set(gids)
    }
