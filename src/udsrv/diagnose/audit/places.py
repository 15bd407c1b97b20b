"""The list of places in which the audit looks for something that the application may write. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from udsrv.config.model import Settings
from udsrv.diagnose.audit.facts import Place
from udsrv.diagnose.audit.writable import MOST_DEPTH

# The machine's own: depth, and what else than code or configuration of the machine it is.
_SYSTEM = (
    ("/", 0),
    ("/etc", 2),
    ("/etc/systemd", 3),
    ("/etc/nginx", 3),
    ("/usr", 2),
    ("/usr/local", 2),
    ("/usr/lib/systemd/system", 1),
    ("/run/systemd/system", 2),
    ("/bin", 1),
    ("/sbin", 1),
    ("/lib", 1),
    ("/boot", 1),
    ("/root", 1),
    ("/var", 0),
    ("/var/spool/cron", 2),
    ("/run", 0),
    ("/dev", 0),
    ("/opt", 0),
    ("/srv", 0),
    ("/home", 0),
    ("/var/lib", 0),
    ("/var/log", 0),
)

# Where data of applications is kept: being able to write there is shown and isn't a fault.
_DATA = (
    ("/tmp", 0),  # noqa: S108 - it is looked at, not used
    ("/var", 1),
    ("/run", 2),
    ("/dev", 1),
    ("/opt", 1),
    ("/srv", 1),
    ("/home", 1),
    ("/var/lib", 1),
    ("/var/log", 1),
    ("/var/spool", 1),
)


def places(
    settings: Settings,
    *,
    master_reads: Iterable[str],
    code: Iterable[str],
    package: str,
    interpreter: str,
) -> tuple[Place, ...]:
    """Return the places, the strictest first: what lies in two of them counts as of the first.

    ``master_reads`` are the files that root reads and executes, ``code`` the directories that the
    application is loaded from.
    """
    socket_directory = os.path.dirname(settings.socket)
    found = [
        Place(
            f"{settings.socket}.d", MOST_DEPTH, "fail", "the private directory beside the socket"
        ),
        Place(socket_directory, 0, "fail", "the socket's directory"),
        *(Place(path, 0, "fail", "read or run by root") for path in master_reads),
        Place(package, MOST_DEPTH, "fail", "udsrv's own package"),
    ]
    log = settings.access_logfile
    if log not in (None, "-"):
        found.append(Place(os.path.dirname(log), 0, "fail", "the access log's directory"))
        found.append(Place(log, 0, "fail", "the access log"))
    found += [Place(path, depth, "fail", "the machine's") for path, depth in _SYSTEM]
    for python, verdict, what in (
        (interpreter, "fail", "the environment that root runs"),
        (settings.python or interpreter, "warn", "the application's environment"),
    ):
        environment = os.path.dirname(os.path.dirname(python))
        if environment not in ("/", "/usr", "/usr/local"):
            found.append(Place(environment, MOST_DEPTH, verdict, what))
    found += [
        Place(path, MOST_DEPTH, "warn", "the application's code") for path in code if path != "/"
    ]
    return (*found, *(Place(path, depth, "ok", "data") for path, depth in _DATA))
