"""Who the tests run as, and whom they start servers as."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import subprocess
from pathlib import Path

IS_ROOT = os.getuid() == 0

# The interpreter that every user of this machine can start.
PYTHON = "/usr/bin/python3"

# An account that every Debian has, that owns nothing, and that is neither root nor nginx's.
ORDINARY_USER = "nobody"

# Accounts that only tests use: the application's, with a supplementary group of its own, one that
# is wrongly in root's group, and a local user who has nothing to do with it.
APP_USER = "udsrv-test-app"
EXTRA_GROUP = "udsrv-test-extra"
ROOTED_USER = "udsrv-test-rooted"
OTHER_USER = "udsrv-test-other"
NGINX_USER = "www-data"

_USERADD = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false")
_GROUPS = (EXTRA_GROUP,)
_USERS = {APP_USER: EXTRA_GROUP, ROOTED_USER: "root", OTHER_USER: "", NGINX_USER: ""}


def own_name() -> str:
    """Return the name of the user that runs the tests."""
    return pwd.getpwuid(os.getuid()).pw_name


def make_accounts() -> None:
    """Make what is missing of the tests' accounts; needs root."""
    with Path("/run/lock/udsrv-tests").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in parallel
        groups = {group.gr_name for group in grp.getgrall()}
        users = {user.pw_name for user in pwd.getpwall()}
        for name in _GROUPS:
            if name not in groups:
                subprocess.run(["groupadd", "--system", name], check=True)
        for name, extra in _USERS.items():
            if name not in users:
                subprocess.run(
                    [*_USERADD, "--groups", extra, name],
                    check=True,
                )
