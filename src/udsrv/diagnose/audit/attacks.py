"""Attacks that succeed on an older kernel, by their names in docs/known-attacks.md. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

_SIGNALS = (
    "signal", "signal-to-continue", "signal-to-thread", "signal-by-descriptor", "signal-with-value",
)  # fmt: skip

#: By the version of Landlock that refuses them.
REFUSED_SINCE = {
    1: ("files-of-its-user", "look-into-neighbour"),  # whole rows of the table there
    3: ("truncate-own-file",),
    4: ("listen-on-port", "listen-on-port-6"),
    6: (
        *(f"{how} {whom}" for whom in ("supervisor", "sibling", "neighbour") for how in _SIGNALS),
        "signal-to-group neighbour",
        "connect-abstract",
        "send-to-abstract",
    ),
    9: ("connect-others-socket",),
}


def succeeding(landlock_abi: int) -> tuple[str, ...]:
    """Return the names of those that this version of Landlock doesn't refuse yet."""
    return tuple(
        name for abi, names in REFUSED_SINCE.items() if landlock_abi < abi for name in names
    )
