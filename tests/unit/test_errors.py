"""The exit codes that operators and systemd rely on. Source: sysexits(3)."""

import pytest

from udsrv.errors import AppLoadError, ConfigError, PrivilegeError, UdsrvError, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 64),
        (AppLoadError, 69),
        (UdsrvError, 70),
        (PrivilegeError, 77),
        (ConfigError, 78),
    ],
)
def test_exit_codes(error, code):
    assert error.exit_code == code
