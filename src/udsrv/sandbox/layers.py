"""Put the sandbox's layers on, and look at each from inside.

Runs as: the application's user, also before the environment's start-up files run.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from udsrv import _native
from udsrv.errors import PrivilegeError
from udsrv.sandbox import policy
from udsrv.sandbox.policy import Gap, Grant


def restrict(grants: Sequence[Grant], network: str, *, closed: str) -> int:
    """Restrict this thread by Landlock and return its ABI, 0 where the kernel has none.

    That the directory ``closed`` can't be listed shows that it isn't just said; with "/" open,
    nothing shows it.

    Raises:
        PrivilegeError: the kernel refused, or ``closed`` can still be listed.
    """
    try:
        abi = _native.restrict(
            [(grant.path, grant.rights) for grant in grants], connect_tcp=network != "none"
        )
    except OSError as error:
        raise PrivilegeError(f"sandbox: Landlock: {error}") from error
    if abi and not policy.is_open(grants, closed) and _can_list(closed):
        raise PrivilegeError(f"sandbox: Landlock holds nothing: {closed} can be listed")
    return abi


def _can_list(directory: str) -> bool:
    try:
        os.close(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def deny(network: str) -> bool:
    """Filter system calls and see that they are; tell whether this system can.

    Raises:
        PrivilegeError: the kernel refused, or has fewer filters than it took.
    """
    denials = [
        (call, denial.error, denial.when)
        for denial in policy.denials(network)
        for call in denial.calls
    ]
    before = _filters()
    try:
        added = _native.deny(denials, policy.FIRST_UNKNOWN_CALL)
    except OSError as error:
        # Not built in, masked by whoever started us, or another architecture.
        if error.errno in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            return False
        raise PrivilegeError(f"sandbox: seccomp: {error}") from error
    held = _filters() - before
    if held != added:
        raise PrivilegeError(f"sandbox: seccomp has {held} of the {added} filters that it took")
    return True


def _filters() -> int:
    """Return how many filters this process has. Source: proc_pid_status(5), since Linux 5.9."""
    with open("/proc/self/status", "rb") as status:
        return int(status.read().partition(b"Seccomp_filters:")[2].split(maxsplit=1)[0])


def demand(mode: str, gaps: Sequence[Gap]) -> tuple[str, ...]:
    """Return what is open and shouldn't be, if the setting ``sandbox`` allows it.

    Raises:
        PrivilegeError: strict doesn't.
    """
    grave = tuple(gap.text for gap in gaps if gap.is_grave)
    if mode == "strict" and grave:
        raise PrivilegeError(
            f"sandbox: strict, and here {'; '.join(grave)}: run a newer kernel, or give"
            " --sandbox best-effort"
        )
    return grave
