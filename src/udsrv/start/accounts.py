"""Look the settings' users and groups up, once, before anything forks.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from dataclasses import dataclass

from udsrv.config.model import Settings
from udsrv.errors import ConfigError
from udsrv.privileged.drop import Identity
from udsrv.start.sharing import SocketFacts, shared

# The users (and groups) under which distributions run Nginx.
NGINX_NAMES = ("www-data", "nginx")
DEFAULT_USER = "udsrv"


@dataclass(frozen=True)
class Accounts:
    """Every id that the settings name, and what the operator should hear about them."""

    app: pwd.struct_passwd
    identity: Identity | None  # of the application's processes; None: as the master
    socket_uid: int
    socket_gid: int
    trusted_uids: frozenset[int]
    trusted_gids: frozenset[int]
    warnings: tuple[str, ...]


def accounts(settings: Settings) -> Accounts:
    """Return the accounts that the settings name.

    Raises:
        ConfigError: one doesn't exist, or the application would be root.
    """
    as_root = os.geteuid() == 0
    warnings: list[str] = []
    nginx = _nginx_users()
    if as_root:
        app, identity = _app_identity(settings, warnings)
    else:
        _refuse_other_user(settings)
        app, identity = _own_account(), None
    socket_uid = _owner(settings) if settings.socket_owner else os.geteuid()
    socket_gid = _socket_gid(settings, as_root=as_root)
    if identity is not None:
        facts = SocketFacts(socket_uid, socket_gid, group_name(socket_gid), settings.socket_mode)
        warnings += shared(app, identity, nginx, facts)
    trusted_uids, trusted_gids = _trusted(settings, nginx)
    return Accounts(
        app=app,
        identity=identity,
        socket_uid=socket_uid,
        socket_gid=socket_gid,
        trusted_uids=trusted_uids | {0, os.geteuid()},
        trusted_gids=trusted_gids | {socket_gid},
        warnings=tuple(warnings),
    )


def user(text: str, setting: str, origin: str) -> pwd.struct_passwd:
    """Return the account with this name or number.

    Raises:
        ConfigError: there is none.
    """
    try:
        return pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
    except KeyError:
        raise ConfigError(f"{setting}: no account named '{text}' (from {origin})") from None


def group(text: str, setting: str, origin: str) -> grp.struct_group:
    """Return the group with this name or number.

    Raises:
        ConfigError: there is none.
    """
    try:
        return grp.getgrgid(int(text)) if text.isdigit() else grp.getgrnam(text)
    except KeyError:
        raise ConfigError(f"{setting}: no group named '{text}' (from {origin})") from None


def group_name(gid: int) -> str:
    """Return the group's name, or its number when it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def user_name(uid: int) -> str:
    """Return the account's name, or its number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _app_identity(settings: Settings, warnings: list[str]) -> tuple[pwd.struct_passwd, Identity]:
    if settings.user is None:
        app = _default_user(warnings)
        origin = "default"
    else:
        origin = settings.origin("user")
        app = user(settings.user, "user", origin)
    gid = app.pw_gid
    if settings.group is not None:
        gid = group(settings.group, "group", settings.origin("group")).gr_gid
    groups = tuple(sorted({gid, *os.getgrouplist(app.pw_name, gid)}))
    if app.pw_uid == 0:
        raise ConfigError(
            f"user: '{app.pw_name}' is uid 0 (from {origin}); the application never runs as root:"
            " name an account of its own"
        )
    if 0 in groups:
        raise ConfigError(
            f"user: '{app.pw_name}' would run with group 0 (root) (from {origin}):"
            " take it out of that group, or name another account"
        )
    return app, Identity(app.pw_uid, gid, groups)


def _default_user(warnings: list[str]) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(DEFAULT_USER)
    except KeyError:
        pass
    warnings.append(
        f"no --user is given and no account '{DEFAULT_USER}' exists: the application runs as"
        " 'nobody', which other software shares; make an account with"
        f" 'useradd --system --user-group {DEFAULT_USER}'"
    )
    return user("nobody", "user", "default")


def _own_account() -> pwd.struct_passwd:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # containers run under numbers that have no account
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))


def _refuse_other_user(settings: Settings) -> None:
    """Without root, ``--user`` and ``--group`` can only say what is true already."""
    if settings.user is not None:
        wanted = user(settings.user, "user", settings.origin("user"))
        if wanted.pw_uid != os.geteuid():
            raise ConfigError(
                f"user: only root can run the application as '{settings.user}'"
                f" (from {settings.origin('user')}); udsrv was started by uid {os.geteuid()}"
            )
    if settings.group is not None:
        gid = group(settings.group, "group", settings.origin("group")).gr_gid
        if gid != os.getegid():
            raise ConfigError(
                f"group: only root can run the application in '{settings.group}'"
                f" (from {settings.origin('group')}); udsrv was started with gid {os.getegid()}"
            )


def _owner(settings: Settings) -> int:
    assert settings.socket_owner is not None
    return user(settings.socket_owner, "socket_owner", settings.origin("socket_owner")).pw_uid


def _socket_gid(settings: Settings, *, as_root: bool) -> int:
    if settings.socket_group is not None:
        return group(settings.socket_group, "socket_group", settings.origin("socket_group")).gr_gid
    if not as_root:
        return os.getegid()
    for name in NGINX_NAMES:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            continue
    raise ConfigError(
        "socket_group: neither 'www-data' nor 'nginx' exists, so Nginx's group is not known:"
        " install Nginx first, or name its group with --socket-group"
    )


def _nginx_users() -> list[pwd.struct_passwd]:
    """Return the accounts that exist, the one that is believed first."""
    found = []
    for name in NGINX_NAMES:
        with contextlib.suppress(KeyError):
            found.append(pwd.getpwnam(name))
    return found


def _trusted(
    settings: Settings, nginx: list[pwd.struct_passwd]
) -> tuple[frozenset[int], frozenset[int]]:
    uids = set() if settings.trusted_peer else {account.pw_uid for account in nginx[:1]}
    gids = set()
    origin = settings.origin("trusted_peer")
    for peer in settings.trusted_peer:
        if peer.startswith("%"):
            gids.add(group(peer[1:], "trusted_peer", origin).gr_gid)
        else:
            uids.add(user(peer, "trusted_peer", origin).pw_uid)
    return frozenset(uids), frozenset(gids)
