"""Wait for events of the kernel, never for time to pass."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Far beyond what any wait takes here, so that only a real failure runs into it.
PATIENCE_S = 30.0

# In front of a command: it gets SIGTERM when we die without having stopped it. Source: setpriv(1).
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")

_libc = ctypes.CDLL(None, use_errno=True)

# Source: inotify(7). Everything that changes a file's content or a directory's entries.
_IN_MODIFY, _IN_ATTRIB, _IN_MOVED_FROM, _IN_MOVED_TO = 0x2, 0x4, 0x40, 0x80
_IN_CREATE, _IN_DELETE = 0x100, 0x200
_CHANGES = _IN_MODIFY | _IN_ATTRIB | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE


class WaitError(AssertionError):
    """What was waited for did not come, or can no longer come."""


class ProcessEndedError(WaitError):
    """The process that should have caused the event ended first."""


@contextlib.contextmanager
def _inotify(*paths: Path) -> Iterator[int]:
    """Yield a descriptor that becomes readable when one of ``paths`` changes."""
    descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    try:
        for path in paths:
            if _libc.inotify_add_watch(descriptor, os.fsencode(path), _CHANGES) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _pidfd(pid: int | None) -> Iterator[list[int]]:
    """Yield a descriptor that becomes readable when ``pid`` ends; none for no pid."""
    if pid is None:
        yield []
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


def wait_readable(*descriptors: int, until_s: float) -> set[int]:
    """Return those of ``descriptors`` that are readable, before ``until_s`` (monotonic)."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    events = poll.poll(max(0.0, until_s - time.monotonic()) * 1000)
    if not events:
        raise WaitError("nothing happened in time")
    return {descriptor for descriptor, _ in events}


def wait_until(
    is_true: Callable[[], bool],
    *,
    watching: Path | tuple[Path, ...],
    what: str,
    unless_ends: int | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Return when ``is_true()``, asked again after each change of a watched file or directory.

    Raises:
        ProcessEndedError: process ``unless_ends`` ended and it is still not true.
        WaitError: ``patience_s`` went by.
    """
    paths = (watching,) if isinstance(watching, Path) else watching
    until_s = time.monotonic() + patience_s
    with _inotify(*paths) as changes, _pidfd(unless_ends) as ends:
        while not is_true():
            try:
                ready = wait_readable(changes, *ends, until_s=until_s)
            except WaitError:
                raise WaitError(f"{what}: not within {patience_s:g} s") from None
            if changes in ready:
                os.read(changes, 65536)
            elif not is_true():
                raise ProcessEndedError(f"{what}: process {unless_ends} ended first")


def wait_for_end(*pids: int, patience_s: float = PATIENCE_S) -> None:
    """Return when every one of ``pids`` has ended; who is not our child may be gone already."""
    until_s = time.monotonic() + patience_s
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            wait_readable(descriptor, until_s=until_s)
        except WaitError:
            raise WaitError(f"process {pid} is still there after {patience_s:g} s") from None
        finally:
            os.close(descriptor)


def kill_and_reap(pid: int) -> None:
    """End a child of this process at once."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
