"""The environment of the application's processes. Pure.

Runs as: root. Imports the standard library only.

Nothing is inherited but the names listed here and what the operator names: by ``--pass-env`` from
the master's own environment, by ``--env-file``, by ``--env``; the later wins.
"""

from __future__ import annotations

import fnmatch
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from udsrv.errors import ConfigError

INHERITED = ("LANG", "LANGUAGE", "LC_*", "TZ")
# Protocols between the master and whoever started it: never the application's.
WITHHELD = (
    "NOTIFY_SOCKET", "LISTEN_*", "WATCHDOG_*", "MAINPID", "UDSRV_*", "CREDENTIALS_DIRECTORY",
)  # fmt: skip
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
# What every shell and service manager sets: not worth a line when it isn't passed on.
_UNREMARKABLE = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "_", "TERM", "MAIL",
    "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
    "RUNTIME_DIRECTORY",
)  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """The variables that the application gets, and the names of those it doesn't."""

    variables: dict[str, str]
    dropped: tuple[str, ...]


def environment(
    inherited: Mapping[str, str],
    *,
    account: pwd.struct_passwd,
    python: str,
    pass_env: Sequence[str],
    from_file: Mapping[str, str],
    named: Mapping[str, str],
) -> Environment:
    """Return the environment for processes of ``account`` that ``python`` runs."""
    wanted = (*INHERITED, *pass_env)
    passed = {
        name: value
        for name, value in inherited.items()
        if _matches(name, wanted) and not _matches(name, WITHHELD)
    }
    path = {"PATH": f"{os.path.dirname(python)}:{DEFAULT_PATH}"}
    # A wide pattern doesn't turn the application's home into root's.
    own = {
        "HOME": account.pw_dir or "/",
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
    }
    variables = {**path, **passed, **own, **from_file, **named}
    dropped = sorted(
        name
        for name in inherited
        if name not in passed and not _matches(name, (*_UNREMARKABLE, *WITHHELD))
    )
    return Environment(variables, tuple(dropped))


def parse_env_file(data: bytes, path: str) -> dict[str, str]:
    """Return the variables of an environment file: one NAME=VALUE a line, ``#`` comments.

    A value may stand in single or double quotes; nothing is expanded.

    Raises:
        ConfigError: a line is neither empty, a comment nor NAME=VALUE.
    """
    variables: dict[str, str] = {}
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}") from error
    for number, line in enumerate(lines, start=1):
        text = line.strip(" \t\r")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise ConfigError(f"{path}:{number} is not NAME=VALUE")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if _matches(name, WITHHELD):
            raise ConfigError(f"{path}:{number}: {name} never reaches the application: remove it")
        variables[name] = value
    return variables


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
