"""What the operator gives away by an account that the application shares with somebody. Pure.

Runs as: root, while the master starts. Imports the standard library only.
"""

from __future__ import annotations

import pwd
from collections.abc import Sequence
from dataclasses import dataclass

from udsrv.privileged.drop import Identity

_WRITE_OF_GROUP = 0o020  # what connecting needs. Source: unix(7).


@dataclass(frozen=True)
class SocketFacts:
    """Whose the socket is, and which group may connect when its mode says so."""

    uid: int
    gid: int
    group: str
    mode: int


def shared(
    app: pwd.struct_passwd,
    identity: Identity,
    nginx: Sequence[pwd.struct_passwd],
    socket: SocketFacts,
) -> list[str]:
    """Return a warning for each account of others that the application has too.

    ``nginx`` are the accounts under which Nginx may run.
    """
    found = []
    if any(account.pw_uid == identity.uid for account in nginx):
        found.append(
            f"user: '{app.pw_name}' is Nginx's user too: the application can signal Nginx, read"
            " what Nginx reads and connect to every socket that Nginx may; make an account of its"
            " own with 'useradd --system --user-group udsrv', and name that with --user"
        )
    elif socket.gid in identity.groups and socket.mode & _WRITE_OF_GROUP:
        found.append(
            f"user: '{app.pw_name}' is in the socket's group '{socket.group}': the"
            " application can connect to the socket it serves, past Nginx, and forge forwarded"
            f" headers; {_leave(app, identity, socket.group, socket.gid)}"
        )
    elif others := [each for each in nginx if each.pw_gid in identity.groups]:
        name = others[0].pw_name
        found.append(
            f"user: '{app.pw_name}' is in the group of Nginx's user '{name}': the application can"
            " read what that group may, and connect to the sockets of other applications;"
            f" {_leave(app, identity, name, others[0].pw_gid)}"
        )
    if socket.uid == identity.uid:
        found.append(
            f"socket_owner: '{app.pw_name}' owns the socket it serves: the application can connect"
            " to it, forge forwarded headers and let anybody in; leave --socket-owner to root"
        )
    return found


def _leave(app: pwd.struct_passwd, identity: Identity, name: str, gid: int) -> str:
    if gid == identity.gid:
        return f"run it in another group, with --group or an account that isn't of '{name}'"
    return f"take it out with 'gpasswd --delete {app.pw_name} {name}'"
