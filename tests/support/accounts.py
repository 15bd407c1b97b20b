"""Who the tests run as, and whom they start servers as."""

from __future__ import annotations

import os
import pwd

IS_ROOT = os.getuid() == 0

# An account that every Debian has, that owns nothing, and that is neither root nor nginx's.
ORDINARY_USER = "nobody"


def own_name() -> str:
    """Return the name of the user that runs the tests."""
    return pwd.getpwuid(os.getuid()).pw_name
