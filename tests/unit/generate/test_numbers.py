"""The numbers that nginx, systemd and the server share."""

from __future__ import annotations

import pytest

from udsrv.generate.numbers import (
    unit_start_timeout_s,
    unit_stop_timeout_s,
    upstream_keepalive_timeout_s,
)


@pytest.mark.parametrize(
    ("keep_alive_s", "expected_s"), [(75, 55), (40, 20), (30, 15), (2, 1), (0.1, 0.05)]
)
def test_nginx_closes_an_idle_connection_before_the_server_does(keep_alive_s, expected_s):
    assert upstream_keepalive_timeout_s(keep_alive_s) == expected_s
    assert 0 < upstream_keepalive_timeout_s(keep_alive_s) < keep_alive_s


def test_systemd_waits_longer_than_the_master():
    assert unit_start_timeout_s(60) == 70
    assert unit_stop_timeout_s(30) == 40
    assert unit_stop_timeout_s(0.1) == 11
