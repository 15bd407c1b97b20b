"""Which descriptors this process has.

Runs as: the application's user, in the supervisor and in each worker.
"""

from __future__ import annotations

import os
from collections.abc import Collection


def open_fds() -> frozenset[int]:
    """Return the descriptors of this process."""
    listed = map(int, os.listdir("/proc/self/fd"))
    # Without the one that the list was read with.
    return frozenset(fd for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}"))


def close_all_but(kept: Collection[int]) -> None:
    """Close every descriptor of this process that is not in ``kept``.

    Not by os.closerange(): where close_range(2) is refused, it tries two thousand million numbers.
    """
    for fd in open_fds().difference(kept):
        os.close(fd)
