"""How every process of the application is started, and what it is told.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, astuple, replace

import udsrv
from udsrv.config.model import Settings
from udsrv.config.sources import unread
from udsrv.errors import AppLoadError, ConfigError
from udsrv.fds import CREDENTIALS_FD, PAYLOAD_FD
from udsrv.log import Form, Log
from udsrv.privileged.spawn import SpawnSpec, run_as, spawn
from udsrv.start.accounts import Accounts
from udsrv.start.credentials import VARIABLE, load_credentials
from udsrv.start.environment import environment, parse_env_file
from udsrv.start.files import read_secret
from udsrv.start.image import PACKAGE, command
from udsrv.start.memory import sealed_memfd
from udsrv.start.preflight import require_readable

# The working directory comes onto the path when the application is loaded, not before.
_LATE_PATH = "-P"


def application(settings: Settings, who: Accounts, log: Log) -> SpawnSpec:
    """Return how a supervisor is started, and log what follows from that.

    What is not there yet (channel, listener, access log) has /dev/null in its place.

    Raises:
        ConfigError: the environment file or a credential is open to others or malformed, or what
            is for development only was asked of root.
        PrivilegeError: the way to such a file could be redirected.
    """
    if who.identity is None:
        log.info(
            f"not started as root: the application runs as '{who.app.pw_name}', as the master"
            " does, and could change the socket it serves"
        )
    for warning in (*who.warnings, unread(os.environ)):
        if warning:
            log.warning(warning)
    if settings.reload and who.identity is not None:
        raise ConfigError(
            "reload: for development, and not as root: start udsrv as yourself, or leave it out"
            f" (from {settings.origin('reload')})"
        )
    python = settings.python or sys.executable
    fds = [os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)] * (CREDENTIALS_FD + 1)
    fds[1] = fds[2] = 2
    fds[PAYLOAD_FD] = sealed_memfd("udsrv-settings", payload(settings, who, log.form))
    if settings.credential:
        fds[CREDENTIALS_FD] = load_credentials(settings.credential, os.environ)
    elif VARIABLE in os.environ:
        log.info(
            f"no file of ${VARIABLE} is handed to the application: name each that it is to read"
            " with --credential NAME"
        )
    return SpawnSpec(
        argv=_in_the_sandbox(settings, python, tier="supervisor.boot"),
        environ=_environ(settings, who, python, log),
        directory=settings.chdir,
        fds=fds,
        identity=who.identity,
    )


def preflight(settings: Settings, who: Accounts, spec: SpawnSpec) -> int:
    """See that the application's user can read what it needs; return 0 or the exit code."""
    paths = (spec.argv[0], PACKAGE, spec.directory, *settings.pythonpath)
    return run_as(who.identity, lambda: require_readable(paths, user=who.app.pw_name))


def check_application(settings: Settings, spec: SpawnSpec, stdout_fd: int) -> int:
    """Load the application as a worker would, in a process that then ends; return its exit code.

    What the sandbox holds is written to ``stdout_fd``.
    """
    argv = _in_the_sandbox(settings, spec.argv[0], tier="supervisor.preflight")
    fds = [*spec.fds[:1], stdout_fd, *spec.fds[2:]]
    _, status = os.waitpid(spawn(replace(spec, argv=[*argv, "0"], fds=fds)), 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else AppLoadError.exit_code


def _in_the_sandbox(settings: Settings, python: str, *, tier: str) -> list[str]:
    """Return the command that enters the sandbox, if there is one to enter, and what follows it."""
    following = command(python, _LATE_PATH, tier=tier)
    if settings.sandbox == "off":
        return following
    return [*command(python, "-I", "-S", tier="supervisor.enter"), *following]


def payload(settings: Settings, who: Accounts, form: Form) -> bytes:
    """Return what a supervisor must know, as JSON."""
    return json.dumps(
        {
            "version": udsrv.__version__,
            "settings": settings.to_json().decode(),
            "identity": who.identity and astuple(who.identity),
            "trusted_uids": sorted(who.trusted_uids),
            "trusted_gids": sorted(who.trusted_gids),
            "form": asdict(form),
        }
    ).encode()


def _environ(settings: Settings, who: Accounts, python: str, log: Log) -> dict[str, str]:
    from_file = {}
    if settings.env_file is not None:
        from_file = parse_env_file(read_secret(settings.env_file), settings.env_file)
    env = environment(
        os.environ,
        account=who.app,
        python=python,
        pass_env=settings.pass_env,
        from_file=from_file,
        named=dict(pair.split("=", 1) for pair in settings.env),
    )
    if env.dropped:
        log.info(
            "environment variables not passed to the application (see --pass-env):"
            f" {' '.join(env.dropped)}"
        )
    return env.variables
