"""The numbers that nginx, systemd and the server have to agree on, each derived in one place.

Runs as: any user.
"""

from __future__ import annotations

import math

PROXY_TIMEOUT_S = 60
"""How long nginx waits for the next byte to or from the application.

nginx's own default, written out because it is the limit that a slow view meets first.
"""

_NGINX_CLOSES_EARLIER_S = 20
_SYSTEMD_WAITS_LONGER_S = 10


def upstream_keepalive_timeout_s(keep_alive_s: float) -> float:
    """Return how long nginx keeps an idle connection: always less than the server does.

    The side that closes must be the side that would send next. When the server closes just as
    nginx writes a request, nginx can't know whether the request ran, and a POST becomes a 502.
    """
    return max(keep_alive_s - _NGINX_CLOSES_EARLIER_S, keep_alive_s / 2)


def unit_start_timeout_s(start_timeout_s: float) -> int:
    """Return when systemd gives up on a start: after the server has, so that it can say why."""
    return math.ceil(start_timeout_s) + _SYSTEMD_WAITS_LONGER_S


def unit_stop_timeout_s(graceful_timeout_s: float) -> int:
    """Return when systemd kills what is left: after the server's own deadline has passed."""
    return math.ceil(graceful_timeout_s) + _SYSTEMD_WAITS_LONGER_S
