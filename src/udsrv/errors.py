"""What can go wrong, sorted by who has to act.

Runs as: root and every other tier. Imports the standard library only.

Each type carries the exit code that the operator and systemd see (``docs/signals.md``).
Source of the numbers: sysexits(3).
"""

from __future__ import annotations


class UdsrvError(Exception):
    """A failure with a party at fault; its text is one sentence for that party."""

    exit_code = 70


class UsageError(UdsrvError):
    """The command line is wrong."""

    exit_code = 64


class AppLoadError(UdsrvError):
    """The application does not load."""

    exit_code = 69


class PrivilegeError(UdsrvError):
    """The system refused something, or a privilege change did not prove itself."""

    exit_code = 77


class ConfigError(UdsrvError):
    """The operator's configuration is wrong."""

    exit_code = 78
