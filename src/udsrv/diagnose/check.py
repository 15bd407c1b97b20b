"""``udsrv check``: everything that a start would refuse, without starting.

Runs as: root, or the operator's own uid; the application is imported in a dropped child.
"""

from __future__ import annotations

import os

from udsrv.config.model import Settings
from udsrv.log import LEVELS, Form, Log
from udsrv.start.accounts import accounts, group_name, user_name
from udsrv.start.application import application, check_application, preflight
from udsrv.start.boot import confine
from udsrv.start.directories import open_directory
from udsrv.start.files import open_log


def check(settings: Settings) -> int:
    """Print a line per point, stop at the first that fails, and return the exit code.

    Raises:
        ConfigError, PrivilegeError: what a start would refuse.
    """
    log = Log("check", level=LEVELS["info"], form=Form())
    print(f"ok  settings     {settings.app} on {settings.socket}")
    who = accounts(settings)
    print(f"ok  user         {who.app.pw_name} (uid {who.app.pw_uid})", flush=True)
    confine(who)
    supervisor = application(settings, who, log)
    for item in settings.credential:
        print(f"ok  credential   {item.partition(':')[0]}")
    directory = open_directory(os.path.dirname(settings.socket))
    owner = f"{user_name(who.socket_uid)}:{group_name(who.socket_gid)}"
    print(f"ok  directories  {directory.path}: nobody else can replace what is in it")
    print(f"ok  socket       would be {owner} {settings.socket_mode:04o}", flush=True)
    if settings.access_logfile not in (None, "-"):
        fd = open_log(settings.access_logfile, create=False)
        if fd >= 0:
            os.close(fd)
        print(f"ok  access log   {settings.access_logfile}", flush=True)
    code = preflight(settings, who, supervisor) or check_application(
        settings, supervisor, stdout_fd=1
    )
    if code == 0:
        print("ok  application  loads")
    return code
