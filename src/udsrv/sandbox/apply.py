"""Seal a process before it imports anything of the application's.

Runs as: the application's user, in the supervisor and in each worker.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from dataclasses import dataclass

import udsrv
from udsrv import _native
from udsrv.config.model import Settings
from udsrv.errors import ConfigError, PrivilegeError
from udsrv.log import Log
from udsrv.sandbox import policy
from udsrv.sandbox.policy import Gap, Grant, Place, Tier

#: Addresses for documentation, RFC 5737 and RFC 3849: any that isn't of this machine will do.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_DISCARD_PORT = 9


@dataclass(frozen=True)
class Report:
    """What has been enforced."""

    abi: int  # Landlock's, 0 without it
    calls_denied: bool
    network: str
    gaps: tuple[Gap, ...]

    def write(self, log: Log) -> None:
        """Say in the log what holds, and for each gap what follows from it."""
        landlock = f"Landlock ABI {self.abi}" if self.abi else "no Landlock"
        seccomp = "seccomp" if self.calls_denied else "no seccomp"
        known = "".join(f"; {gap.text}" for gap in self.gaps if not gap.is_grave)
        log.info(f"sandbox: {landlock}, {seccomp}; network {self.network}{known}")
        for gap in self.gaps:
            if gap.is_grave:
                log.warning(f"sandbox: {gap.text}")


def harden() -> None:
    """Give up what no process of the application needs, whatever the settings say.

    After exec, which makes a process dumpable again. Source: prctl(2).

    Raises:
        PrivilegeError: the kernel refused.
    """
    try:
        _native.no_new_privileges()
        _native.not_dumpable()
        _native.child_subreaper()
    except OSError as error:
        raise PrivilegeError(f"the process can't be sealed: {error}") from error


def place_here(temporary_is_ours: bool) -> Place:
    """Return where this process lives. After the temporary directory has been made."""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    real = dict.fromkeys(os.path.realpath(prefix) for prefix in prefixes)
    return Place(
        package=os.path.dirname(os.path.abspath(udsrv.__file__)),
        interpreters=tuple(path for path in real if path not in ("/", "/usr")),
        temporary=os.path.realpath(os.environ["TMPDIR"]),
        temporary_is_ours=temporary_is_ours,
        credentials=os.environ.get("CREDENTIALS_DIRECTORY"),
    )


def seal_supervisor(settings: Settings, place: Place, log: Log) -> None:
    """Enter the sandbox, for good and for all that this process starts, and log what it holds.

    Raises:
        ConfigError: a path that the operator named isn't there.
        PrivilegeError: the kernel refused, or leaves a gap that ``--sandbox strict`` forbids.
    """
    if settings.sandbox == "off":
        log.warning("sandbox: off: the application may do whatever its user may")
        return
    grants = policy.grants(settings, place, Tier.SUPERVISOR)
    require_named(grants)
    abi = _restrict(grants, settings.network)
    _show_the_domain()
    calls_denied = _deny(settings.network)
    only_loopback = reaches_only_loopback() if settings.network == "local" else None
    gaps = policy.gaps(abi, calls_denied=calls_denied, only_loopback=only_loopback)
    Report(abi, calls_denied, settings.network, gaps).write(log)
    grave = [gap.text for gap in gaps if gap.is_grave]
    if settings.sandbox == "strict" and grave:
        raise PrivilegeError(
            f"sandbox: strict, and here {'; '.join(grave)}: run a newer kernel, or give"
            " --sandbox best-effort"
        )


def _show_the_domain() -> None:
    """Open standard input anew: no other sign of a Landlock domain can be seen from outside.

    A copy of the descriptor, which all forks inherit, answers ioctl as the domain does in which it
    was opened. Source: landlock(7), LANDLOCK_ACCESS_FS_IOCTL_DEV.
    """
    fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)


def require_named(grants: tuple[Grant, ...]) -> None:
    """See that the paths of the operator's exist.

    Raises:
        ConfigError: one doesn't, or the application's user can't get there.
    """
    for grant in grants:
        if grant.named_by is None:
            continue
        try:
            os.stat(grant.path)
        except OSError as error:
            raise ConfigError(f"{grant.named_by}: {grant.path}: {error.strerror}") from error


def seal_worker(settings: Settings, place: Place, supervisor_pid: int) -> None:
    """Bind a fork of the supervisor to its life, and part it from it and from its other forks.

    Raises:
        PrivilegeError: the kernel refused, or the supervisor is gone already.
    """
    die_with(supervisor_pid)
    if settings.sandbox != "off":
        _restrict(policy.grants(settings, place, Tier.WORKER), settings.network)


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


def _restrict(grants: tuple[Grant, ...], network: str) -> int:
    try:
        return _native.restrict(
            [(grant.path, grant.rights) for grant in grants], connect_tcp=network != "none"
        )
    except OSError as error:
        raise PrivilegeError(f"sandbox: Landlock: {error}") from error


def _deny(network: str) -> bool:
    denials = [
        (call, denial.error, denial.when)
        for denial in policy.denials(network)
        for call in denial.calls
    ]
    try:
        _native.deny(denials, policy.FIRST_UNKNOWN_CALL)
    except OSError as error:
        # Not built in, masked by whoever started us, or another architecture.
        if error.errno in (None, errno.ENOSYS, errno.EINVAL, errno.EPERM):
            return False
        raise PrivilegeError(f"sandbox: seccomp: {error}") from error
    return True


def reaches_only_loopback() -> bool:
    """Tell whether addresses beyond this machine are filtered, without sending anything there.

    An address of this machine's own that isn't its loopback is on the other side of such a filter
    too. A machine without any has no way out. Source: systemd.resource-control(5), IPAddressDeny=.
    """
    return all(_is_filtered(family, address) for family, address in _ELSEWHERE)


def _is_filtered(family: int, elsewhere: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((elsewhere, _DISCARD_PORT))  # for a datagram that is only a look-up
        except OSError:
            return True  # no way there
        own = probe.getsockname()[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.sendto(b"", (own, _DISCARD_PORT))
        except PermissionError:
            return True
        except OSError:
            return False
    return False
