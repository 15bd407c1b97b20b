"""Start a server: decide and check everything, then become the master that carries it out.

Runs as: root (or the operator's own uid), until the exec. Imports the standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import NoReturn

from udsrv.config.model import Settings
from udsrv.errors import ConfigError, PrivilegeError
from udsrv.fds import ACCESS_FD
from udsrv.log import LEVELS, Log, form, journal_is_stderr
from udsrv.master.plan import Plan
from udsrv.master.signals import MEANINGS
from udsrv.privileged.drop import confine_master
from udsrv.privileged.listener import SocketPath
from udsrv.privileged.spawn import SpawnSpec
from udsrv.start.accounts import Accounts, accounts, group_name, user_name
from udsrv.start.application import application, preflight
from udsrv.start.claim import claim_path
from udsrv.start.files import open_log
from udsrv.start.image import command
from udsrv.start.own_code import require_own_code

# What decides how the interpreter reads names of files: both images must agree.
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")


def run(settings: Settings) -> int:
    """Serve ``settings.app`` as another image of this process; return an exit code if not.

    Raises:
        ConfigError, PrivilegeError: nothing was started, and nothing is left behind.
    """
    shape = form(settings.log_format, to_journal=journal_is_stderr(os.environ))
    log = Log("master", level=LEVELS[settings.log_level], form=shape)
    who = accounts(settings)
    confine(who)
    supervisor = application(settings, who, log)
    code = preflight(settings, who, supervisor)
    if code:
        return code
    if settings.access_logfile is not None:
        supervisor = with_access_log(supervisor, settings.access_logfile)
    # What comes from here on waits until the master can clean up.
    signal.pthread_sigmask(signal.SIG_BLOCK, MEANINGS)
    listener = claim_path(
        settings.socket,
        uid=who.socket_uid,
        gid=who.socket_gid,
        mode=settings.socket_mode,
        backlog=settings.backlog,
    )
    plan = Plan(
        listener=listener,
        supervisor=supervisor,
        start_timeout_s=settings.start_timeout,
        graceful_timeout_s=settings.graceful_timeout,
        may_reload=settings.reload,
        app=str(settings.app),
        ready=_describe(settings, who),
        log_level=log.level,
        form=shape,
        notify_socket=os.environ.get("NOTIFY_SOCKET"),
    )
    try:
        become_master(plan)
    except OSError as error:
        SocketPath(listener).withdraw()
        raise PrivilegeError(f"{sys.executable}: {error.strerror}") from error


def become_master(plan: Plan) -> NoReturn:
    """Replace this process by the master, which has its pid, its descriptors and ``plan``.

    Neither what was read here nor the environment goes with it.

    Raises:
        OSError: that can't be.
    """
    argv = [*command(sys.executable, "-I", "-S", tier="master.boot"), str(plan.write())]
    environ = {name: os.environ[name] for name in _LOCALE if name in os.environ}
    os.execve(sys.executable, argv, environ)  # noqa: S606 - exec is the point


def with_access_log(spec: SpawnSpec, path: str) -> SpawnSpec:
    """Return ``spec`` with the place where the workers write the access log.

    Raises:
        ConfigError, PrivilegeError: there is no such place, or somebody else could be behind it.
    """
    fds = list(spec.fds)
    if path != "-":
        fds[ACCESS_FD] = open_log(path)
        return replace(spec, fds=fds)
    try:
        os.fstat(1)
    except OSError as error:
        raise ConfigError(
            "access_logfile: '-' is standard output, which is closed; name a file"
        ) from error
    fds[ACCESS_FD] = 1
    return replace(spec, fds=fds)


def confine(who: Accounts) -> None:
    """As root, keep the master's capabilities only; as anybody else there are none to give up.

    Raises:
        PrivilegeError: a capability is missing, or somebody else could have written our code.
    """
    if who.identity is not None:
        require_own_code()
        confine_master(may_chown=who.socket_uid != os.geteuid())


def _describe(settings: Settings, who: Accounts) -> str:
    owner = f"{user_name(who.socket_uid)}:{group_name(who.socket_gid)}"
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    return (
        f"{settings.app} on {settings.socket} ({owner} {settings.socket_mode:04o}),"
        f" {workers} with {threads} as {who.app.pw_name}"
    )
