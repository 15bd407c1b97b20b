"""See how far this process's connections go, which no unprivileged process can limit itself.

Runs as: the application's user, in the supervisor.
"""

from __future__ import annotations

import socket

#: Addresses for documentation, RFC 5737 and RFC 3849: any that isn't of this machine will do.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_DISCARD_PORT = 9


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
