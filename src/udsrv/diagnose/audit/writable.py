"""What this process may write, in places that are named, and which sockets it may connect to.

Runs as: whoever a child of the audit has become. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence

from udsrv.diagnose.audit.facts import File, Place, Writable

ACCESS_LIST = "system.posix_acl_access"  # source: acl(5)

#: Below one place at most so many entries are looked at, and so many findings kept.
MOST_ENTRIES = 20_000
MOST_DEPTH = 64
MOST_FINDINGS = 20


def what_it_can_write(places: Sequence[Place]) -> tuple[list[Writable], list[str]]:
    """Return what the calling process may write in ``places``, and sockets it may connect to.

    What is below a writable directory goes without saying. Devices that everybody may
    write are left out, and no symbolic link is followed but a place itself.
    """
    seen: set[tuple[int, int]] = set()
    writable: list[Writable] = []
    sockets: list[str] = []
    for place in places:
        found = 0
        for path, facts in _walk(place):
            identity = (facts.st_dev, facts.st_ino)
            if identity in seen:
                continue
            seen.add(identity)
            if stat.S_ISSOCK(facts.st_mode):
                sockets.append(path)
            elif not (stat.S_ISCHR(facts.st_mode) and facts.st_mode & stat.S_IWOTH):
                found += 1
                if found <= MOST_FINDINGS:
                    writable.append(Writable(file_of(path, facts), place))
    return writable, sorted(sockets)


def _walk(place: Place) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what the calling process may write at the place and below it, in order of names."""
    entries = 0
    top = os.path.realpath(place.path)
    pending = [(top, place.depth if os.path.isdir(top) else -1)]
    while pending and entries < MOST_ENTRIES:
        path, depth = pending.pop()
        entries += 1
        if os.access(path, os.W_OK, effective_ids=True):
            try:
                facts = os.lstat(path)
            except OSError:  # gone meanwhile
                continue
            yield path, facts
            if not facts.st_mode & stat.S_ISVTX:
                continue  # who may write a directory may do so with all that is in it
        if depth > 0:
            with contextlib.suppress(OSError), os.scandir(path) as listing:
                below = [entry for entry in listing if not entry.is_symlink()]
                below.sort(key=lambda entry: entry.name, reverse=True)
                # A depth below zero: not a directory.
                pending += [
                    (each.path, depth - 1 if each.is_dir(follow_symlinks=False) else -1)
                    for each in below
                ]


def file_of(path: str, facts: os.stat_result) -> File:
    """Return the facts of one path."""
    listed = False
    with contextlib.suppress(OSError):
        listed = ACCESS_LIST in os.listxattr(path, follow_symlinks=False)
    return File(path, facts.st_uid, facts.st_gid, facts.st_mode, listed)
