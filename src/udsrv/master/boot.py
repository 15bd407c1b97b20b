"""Start the master: check everything, stage the socket, then run.

Runs as: root (or the operator's own uid). Imports the standard library only.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from udsrv.config.model import Settings
from udsrv.config.sources import unread
from udsrv.errors import ConfigError
from udsrv.log import LEVELS, Log, form, journal_is_stderr
from udsrv.master.accounts import Accounts, accounts, group_name, user_name
from udsrv.master.environment import environment, parse_env_file
from udsrv.master.launch import PACKAGE, Launch
from udsrv.master.loop import Master
from udsrv.master.preflight import require_readable
from udsrv.master.systemd import Notifier
from udsrv.master.terminal import TerminalRelay
from udsrv.privileged import kernel
from udsrv.privileged.drop import confine_master
from udsrv.privileged.files import open_log, read_secret
from udsrv.privileged.listener import ListenerSpec, SocketPath
from udsrv.privileged.spawn import run_as
from udsrv.title import set_title


def run(settings: Settings) -> int:
    """Serve ``settings.app`` until a signal ends it; return the exit code.

    Raises:
        ConfigError, PrivilegeError: nothing was started, and nothing is left behind.
    """
    shape = form(settings.log_format, to_journal=journal_is_stderr(os.environ))
    log = Log("master", level=LEVELS[settings.log_level], form=shape)
    os.umask(0o077)
    who = accounts(settings)
    confine(who)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    relay = TerminalRelay() if os.isatty(2) else None
    launch = prepare(settings, who, log, stderr_fd=relay.write_fd if relay else 2)
    code = preflight(launch, who)
    if code:
        return code
    access_fd, access_relay = open_access_log(settings.access_logfile)
    launch = replace(launch, access_fd=access_fd)
    path = SocketPath(
        ListenerSpec(
            settings.socket, who.socket_uid, who.socket_gid, settings.socket_mode, settings.backlog
        )
    )
    try:
        set_title(f"udsrv: master [{path.path}]")
        relays = tuple(each for each in (relay, access_relay) if each is not None)
        master = Master(launch, path, log, Notifier(os.environ), relays, _describe(settings, who))
        return master.run()
    finally:
        path.withdraw()


def open_access_log(path: str | None) -> tuple[int | None, TerminalRelay | None]:
    """Return where workers write the access log, and the relay that a terminal needs.

    Raises:
        ConfigError, PrivilegeError: there is no such place, or somebody else could be behind it.
    """
    if path is None:
        return None, None
    if path != "-":
        return open_log(path), None
    try:
        os.fstat(1)
    except OSError as error:
        raise ConfigError(
            "access_logfile: '-' is standard output, which is closed; name a file"
        ) from error
    if os.isatty(1):
        relay = TerminalRelay(1)
        return relay.write_fd, relay
    return 1, None


def confine(who: Accounts) -> None:
    """As root, keep the master's capabilities only; as anybody else there are none to give up."""
    if who.identity is not None:
        confine_master(may_chown=who.socket_uid != os.geteuid())


def prepare(settings: Settings, who: Accounts, log: Log, *, stderr_fd: int) -> Launch:
    """Return what every process of the application is started with, and log what follows from it.

    Raises:
        ConfigError: the environment file is open to others or malformed, or what is for
            development only was asked of root.
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
    return Launch(
        settings=settings,
        python=python,
        directory=settings.chdir,
        environment=env.variables,
        identity=who.identity,
        trusted_uids=who.trusted_uids,
        trusted_gids=who.trusted_gids,
        form=log.form,
        stderr_fd=stderr_fd,
    )


def preflight(launch: Launch, who: Accounts) -> int:
    """See that the application's user can read what it needs; return 0 or the exit code."""
    paths = (launch.python, PACKAGE, launch.directory, *launch.settings.pythonpath)
    return run_as(who.identity, lambda: require_readable(paths, user=who.app.pw_name))


def _describe(settings: Settings, who: Accounts) -> str:
    owner = f"{user_name(who.socket_uid)}:{group_name(who.socket_gid)}"
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    return (
        f"{settings.app} on {settings.socket} ({owner} {settings.socket_mode:04o}),"
        f" {workers} with {threads} as {who.app.pw_name}"
    )
