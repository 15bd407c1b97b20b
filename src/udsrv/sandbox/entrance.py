"""Enter the sandbox as far as it can be known before the environment's start-up files run.

Runs as: the application's user, before the exec that starts a supervisor.
"""

from __future__ import annotations

import os

from udsrv.sandbox import policy
from udsrv.sandbox.layers import demand, deny, restrict
from udsrv.sandbox.place import place_here

TYPE_CHECKING = False  # without the module typing
if TYPE_CHECKING:
    from udsrv.config.model import Settings

TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - for a directory of our own

# Left in the environment for the supervisor, which can't see whether a filter is ours.
CALLS_DENIED = "UDSRV_CALLS_DENIED"


def enter(settings: Settings) -> None:
    """Put on what the supervisor, too, will have on; its own comes on top.

    Raises:
        PrivilegeError: the kernel refused, or leaves a gap that ``--sandbox strict`` forbids.
    """
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if name in os.environ]
    parents = [*named, *TEMPORARY]  # where tempfile looks, in this order
    place = place_here(parents[0], is_ours=False)
    held = policy.entrance(settings, place, parents)
    abi = restrict(held, settings.network, closed="/")
    calls_denied = deny(settings.network)
    demand(settings.sandbox, policy.gaps(abi, calls_denied=calls_denied, only_loopback=None))
    if calls_denied:
        os.environ[CALLS_DENIED] = "1"
