"""Say which setting would have allowed what the sandbox has refused.

Runs as: the application's user, in a worker, for an exception that nobody caught.
"""

from __future__ import annotations

import errno
import os
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
        if isinstance(cause.filename, (str, bytes)):
            path = os.path.realpath(os.fsdecode(cause.filename))
            held = policy.grants(settings, place, Tier.WORKER)
            if advice := _advice(path, held, _what_modes_allow(path)):
                return advice
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
    """Return "read", "write" and "make", as far as the modes go."""
    if not os.path.exists(path):
        return {"make"} if os.access(os.path.dirname(path), os.W_OK) else set()
    ways = (("read", os.R_OK), ("write", os.W_OK))
    return {word for word, mode in ways if os.access(path, mode)}


def _advice(path: str, held: tuple[Grant, ...], by_mode: set[str]) -> str | None:
    """Decide what to say of ``path``, given what the sandbox and the modes allow."""
    rights = {
        right
        for grant in held
        if is_below(path, os.path.realpath(grant.path))
        for right in grant.rights
    }
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    closed = f"sandbox: {path} is closed to the application;"
    if by_mode & {"write", "make"} and "write_file" not in rights:
        if "read_file" in rights or "make" in by_mode:
            return f"{closed} --write-path {directory} opens it for writing"
        return f"{closed} --read-path {directory} opens it, --write-path for writing too"
    if "read" in by_mode and "read_file" not in rights:
        return f"{closed} --read-path {directory} opens it"
    return None
