"""Refuse to go on as root with code that others could have written.

Runs as: root, once, while the master starts. Imports the standard library only.

Before anything of it ran, the launcher has looked at its own file, at the interpreter and at our
package. This looks at what was loaded then, as the kernel and the interpreter list it: programs,
libraries, modules and their caches, each with every directory and link on the way to it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

from udsrv.errors import PrivilegeError
from udsrv.start.directories import open_directory, who_may_write


def require_own_code() -> None:
    """See that nobody but root can change what this process runs.

    Raises:
        PrivilegeError: somebody can; the component is named.
    """
    seen: dict[str, str] = {}
    for path in sorted(loaded_files()):
        _require(path, seen)


def loaded_files() -> set[str]:
    """Return the files whose code this process has in its memory."""
    with open("/proc/self/maps", "rb") as maps:
        mapped = executable_files(map(os.fsdecode, maps.read().splitlines()))
    modules = list(sys.modules.values())
    named = [
        getattr(module, name, None) for module in modules for name in ("__file__", "__cached__")
    ]
    paths = {sys.executable, *mapped, *filter(None, named)}
    # A cache that doesn't exist was not read; a library may have been replaced since.
    return {path for path in paths if os.path.lexists(path)}


def executable_files(maps: Iterable[str]) -> set[str]:
    """Return the files in the lines of /proc/PID/maps that may be executed. Pure.

    Source: proc(5): address, permissions, offset, device, inode, path.
    """
    areas = (line.split(maxsplit=5) for line in maps)
    return {area[5] for area in areas if len(area) == 6 and "x" in area[1] and area[5][0] == "/"}


def _require(path: str, seen: dict[str, str]) -> None:
    """Follow ``path`` to its file; ``seen`` are the directories that were walked already."""
    parent, name = os.path.split(path)
    try:
        if parent not in seen:
            directory = open_directory(parent)
            os.close(directory.fd)
            seen[parent] = directory.path
        path = os.path.join(seen[parent], name)
        facts = os.lstat(path)
        if stat.S_ISLNK(facts.st_mode):
            writer = f"uid {facts.st_uid}, its owner" if facts.st_uid else None
        else:
            writer = who_may_write(facts, 0, 0)
    except (OSError, PrivilegeError) as error:
        raise PrivilegeError(f"root would run {path}, but {error}") from error
    if writer is not None:
        raise PrivilegeError(
            f"root would run {path} (uid {facts.st_uid}, gid {facts.st_gid},"
            f" mode {stat.S_IMODE(facts.st_mode):04o}), which is writable by {writer}:"
            f" make it root's with 'chown -h root:root {path}; chmod go-w {path}'"
        )
    if stat.S_ISLNK(facts.st_mode):
        _require(os.path.join(seen[parent], os.readlink(path)), seen)
