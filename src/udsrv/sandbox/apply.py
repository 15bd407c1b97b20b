"""Seal a process before it imports anything of the application's.

Runs as: the application's user, in the supervisor and in each worker.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from udsrv import _native
from udsrv.config.model import Settings
from udsrv.errors import ConfigError, PrivilegeError
from udsrv.log import Log
from udsrv.sandbox import policy
from udsrv.sandbox.entrance import CALLS_DENIED, TEMPORARY
from udsrv.sandbox.layers import demand, deny, restrict
from udsrv.sandbox.network import reaches_only_loopback
from udsrv.sandbox.place import Place
from udsrv.sandbox.policy import Tier


@dataclass(frozen=True)
class Report:
    """What has been enforced, and what an operator should know beside it."""

    headline: str
    warnings: tuple[str, ...] = ()
    abi: int = 0  # Landlock's

    def write(self, log: Log) -> None:
        """Say it in the log."""
        if self.headline:
            log.info(f"sandbox: {self.headline}")
        for text in self.warnings:
            log.warning(f"sandbox: {text}")


def harden() -> None:
    """Give up what no process of the application needs, whatever the settings say.

    After exec, which makes a process dumpable again. It gains no privileges since before that.
    Source: prctl(2).

    Raises:
        PrivilegeError: the kernel refused.
    """
    try:
        _native.not_dumpable()
        _native.child_subreaper()
    except OSError as error:
        raise PrivilegeError(f"the process can't be sealed: {error}") from error


def seal_supervisor(settings: Settings, place: Place) -> Report:
    """Enter the sandbox, for good and for all that this process starts.

    Which Landlock holds it is noted in ``place``, for the workers.

    Raises:
        ConfigError: a path that the operator named isn't there.
        PrivilegeError: the kernel refused, or leaves a gap that ``--sandbox strict`` forbids.
    """
    if settings.sandbox == "off":
        return Report("", ("off: the application may do whatever its user may",))
    _require_named(settings)
    warnings = (*policy.doubts(settings, place, _import_path()), *_closed_by_modes(settings))
    held = policy.grants(settings, place, Tier.SUPERVISOR)
    # What was open until now, to make the temporary directory in.
    closed = next((path for path in TEMPORARY if not policy.is_open(held, path)), "/")
    abi = place.abi = restrict(held, settings.network, closed=closed)
    _show_the_domain()
    calls_denied = os.environ.pop(CALLS_DENIED, "") == "1" or deny(settings.network)
    only_loopback = reaches_only_loopback() if settings.network == "local" else None
    gaps = policy.gaps(abi, calls_denied=calls_denied, only_loopback=only_loopback)
    grave = demand(settings.sandbox, gaps)
    parts = [
        f"{f'Landlock ABI {abi}' if abi else 'no Landlock'},"
        f" {'seccomp' if calls_denied else 'no seccomp'}",
        f"network {settings.network}",
        *(gap.text for gap in gaps if not gap.is_grave),
    ]
    return Report("; ".join(parts), (*grave, *warnings), abi)


def _show_the_domain() -> None:
    """Open standard input anew: no other sign of a Landlock domain can be seen from outside.

    A copy of the descriptor, which all forks inherit, answers ioctl as the domain does in which it
    was opened. Source: landlock(7), LANDLOCK_ACCESS_FS_IOCTL_DEV.
    """
    fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)


def _import_path() -> list[str]:
    return [os.path.realpath(path) for path in sys.path if os.path.exists(path)]


def _require_named(settings: Settings) -> None:
    """See that the paths of the operator's exist; Landlock takes only such.

    Raises:
        ConfigError: one doesn't, or the application's user can't get there.
    """
    for name, paths in (("read_path", settings.read_path), ("write_path", settings.write_path)):
        for path in paths:
            try:
                os.stat(path)
            except OSError as error:
                raise ConfigError(
                    f"{name}: {path}: {error.strerror} (from {settings.origin(name)}); it must"
                    f" exist, below directories that uid {os.geteuid()} may enter"
                ) from error


def _closed_by_modes(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each path that the sandbox opens and its mode doesn't."""
    for path in settings.write_path:
        if not os.access(path, os.W_OK):
            facts = os.stat(path)
            yield (
                f"write_path: {path} can't be written by uid {os.geteuid()}: it belongs to"
                f" {facts.st_uid}:{facts.st_gid}, mode {stat.S_IMODE(facts.st_mode):04o}"
            )


def seal_worker(settings: Settings, place: Place, supervisor_pid: int) -> None:
    """Bind a fork of the supervisor to its life, and part it from it and from its other forks.

    Raises:
        PrivilegeError: the kernel refused, or the supervisor is gone already.
    """
    die_with(supervisor_pid)
    if settings.sandbox == "off":
        return
    held = policy.grants(settings, place, Tier.WORKER)
    abi = restrict(held, settings.network, closed="/")
    if abi != place.abi:
        raise PrivilegeError(f"sandbox: Landlock's ABI was {place.abi} and is {abi} for a worker")
    if abi >= policy.SCOPES_SINCE_ABI:
        with contextlib.suppress(PermissionError):
            os.kill(supervisor_pid, 0)
            raise PrivilegeError("sandbox: Landlock holds nothing: the supervisor can be signalled")


def die_with(supervisor_pid: int) -> None:
    """Let this process end with its supervisor.

    Raises:
        PrivilegeError: the kernel refused, or the supervisor is gone already.
    """
    try:
        _native.die_with_parent()
    except OSError as error:
        raise PrivilegeError(f"the process can't be sealed: {error}") from error
    if os.getppid() != supervisor_pid:
        raise PrivilegeError("the supervisor is gone")
