"""Say which setting would have allowed what the sandbox has refused.

Runs as: the application's user, in a worker, for an exception that nobody caught.
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator

from udsrv.config.model import Settings
from udsrv.sandbox import policy
from udsrv.sandbox.place import Place
from udsrv.sandbox.policy import Grant, Tier, is_below


def remedy(error: BaseException, settings: Settings, place: Place) -> str | None:
    """Return the sentence for an operator, None when the sandbox wasn't the cause.

    access(2) asks for the modes alone and Landlock doesn't restrict it, so what the modes allow
    and ``open`` refuses was refused by the sandbox.
    """
    if settings.sandbox == "off":
        return None
    for cause in _chain(error):
        if cause.errno == errno.EAFNOSUPPORT and settings.network == "none":
            return "sandbox: --network none leaves Unix sockets only; give --network local or full"
        if cause.errno not in (errno.EACCES, errno.EPERM):
            continue
        for name in (cause.filename, cause.filename2):  # two of rename, link and symlink
            if not isinstance(name, (str, bytes)):
                continue
            path = os.path.realpath(os.fsdecode(name))
            held = policy.grants(settings, place, Tier.WORKER)
            by_mode = _what_modes_allow(path)
            if advice := _advice(path, held, by_mode):
                return advice
            if "run" in by_mode and cause.errno == errno.EACCES and not _may_run(path, held):
                return _how_to_run(path, place)
    return None


def _chain(error: BaseException | None) -> Iterator[OSError]:
    """Yield the errors of the system behind an exception, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError):
            yield error
        error = error.__cause__ or error.__context__


def _what_modes_allow(path: str) -> set[str]:
    """Return "read", "write", "run" and "make", as far as the modes go."""
    if not os.path.exists(path):
        return {"make"} if os.access(os.path.dirname(path), os.W_OK) else set()
    ways = (("read", os.R_OK), ("write", os.W_OK))
    found = {word for word, mode in ways if os.access(path, mode)}
    return found | {"run"} if os.path.isfile(path) and os.access(path, os.X_OK) else found


def _advice(path: str, held: tuple[Grant, ...], by_mode: set[str]) -> str | None:
    """Decide what to say of ``path``, given what the sandbox and the modes allow."""
    rights = _rights(path, held)
    directory = shlex.quote(path if os.path.isdir(path) else os.path.dirname(path))
    closed = f"sandbox: {path} is closed to the application;"
    if by_mode & {"write", "make"} and "write_file" not in rights:
        if "read_file" in rights or "make" in by_mode:
            return f"{closed} --write-path {directory} opens it for writing"
        return f"{closed} --read-path {directory} opens it, --write-path for writing too"
    if "read" in by_mode and "read_file" not in rights:
        return f"{closed} --read-path {directory} opens it"
    return None


def _rights(path: str, held: tuple[Grant, ...]) -> set[str]:
    return {
        right
        for grant in held
        if is_below(path, os.path.realpath(grant.path))
        for right in grant.rights
    }


def _may_run(path: str, held: tuple[Grant, ...]) -> bool:
    return "execute" in _rights(path, held)


def _how_to_run(path: str, place: Place) -> str:
    closed = f"sandbox: {path} can't be run by the application, which may write it;"
    if is_below(path, place.temporary):
        return f"{closed} put it below the application, or below a --read-path"
    directory = shlex.quote(os.path.dirname(path))
    return f"{closed} --read-path {directory} beside --write-path lets it be run"
