"""Say in ``ps`` who a process is.

Runs as: root and the app's user. Imports the standard library only.

The kernel shows the memory between ``arg_start`` and ``arg_end`` as the command line, so the title
is written there. Whoever execs a process that will take a title makes its arguments long enough.
Source: proc_pid_stat(5), fields 48 and 49; prctl(2), PR_SET_NAME.
"""

from __future__ import annotations

import ctypes

_PR_SET_NAME = 15


def _argument_area() -> tuple[int, int]:
    with open("/proc/self/stat", encoding="latin-1") as file:
        stat = file.read()
    # The second field may hold spaces and parentheses; what follows its end is plain.
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[45]), int(fields[46])


def set_title(title: str) -> None:
    """Make ``title`` the command line that ps shows, cut where the area ends."""
    start, end = _argument_area()
    size = end - start
    data = title.encode()[: size - 1]
    ctypes.memmove(start, data.ljust(size, b"\0"), size)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"udsrv", 0, 0, 0)
