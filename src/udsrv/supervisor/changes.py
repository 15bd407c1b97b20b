"""Watch the application's files, for ``--reload``.

Runs as: the application's user, in a child of the supervisor, which stays single-threaded: what
watches has a thread of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

from udsrv.config.model import Settings
from udsrv.errors import ConfigError, UdsrvError
from udsrv.ipc import Channel, ChannelError, Kind, Record
from udsrv.log import Log
from udsrv.sandbox.apply import die_with
from udsrv.title import set_title

# Changes in quick succession are one: an editor writes, renames and sets a mode. In milliseconds.
_QUIET_MS, _AT_MOST_MS = 50, 1600
_SUFFIXES = (".py", ".pyx", ".pyd", ".so")


class Watcher:
    """The watching child; its channel brings READY once, then RELOAD for each change."""

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel

    def wait_ready(self, within_s: float) -> None:
        """Return when no change can be missed any more.

        Raises:
            UdsrvError: it has ended, or isn't ready in time; the log says more.
        """
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        if poll.poll(within_s * 1000):
            with contextlib.suppress(ChannelError):
                next(self.channel.receive_up())
                return
        raise UdsrvError("reload: the application's files can't be watched")


def start_watcher(
    settings: Settings, log: Log, close_others: Callable[[set[int]], None]
) -> Watcher:
    """Fork the process that watches; ``close_others`` closes all descriptors but those it is given.

    Raises:
        ConfigError: watchfiles isn't there, or everything would have to be watched.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigError(
            f"reload: {sys.executable} has no watchfiles; install it in that environment:"
            " pip install 'udsrv[reload]'"
        )
    directories = [*settings.pythonpath, settings.chdir]
    if "/" in directories:
        raise ConfigError(
            "reload: would watch all of /; name the application's directory (--chdir)"
        )
    ours, theirs = Channel.pair()
    supervisor_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_watcher(settings, log, theirs, supervisor_pid, close_others)
    theirs.close()
    return Watcher(pid, ours)


def _become_watcher(
    settings: Settings,
    log: Log,
    channel: Channel,
    supervisor_pid: int,
    close_others: Callable[[set[int]], None],
) -> NoReturn:
    """Turn this fork into the watcher. Never returns."""
    code = UdsrvError.exit_code
    try:
        set_title("udsrv: watcher")
        close_others({0, 1, 2, channel.fileno()})
        die_with(supervisor_pid)
        _watch(settings, log, channel)
    except OSError as error:  # a limit of inotify, or a directory that went
        log.error(f"reload: {error}")
    except BaseException:  # the edge of a process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _watch(settings: Settings, log: Log, channel: Channel) -> None:
    """Send READY, and RELOAD after each change, until the supervisor is gone."""
    # Its own interface, since the other doesn't say when it has begun.
    from watchfiles._rust_notify import RustNotify

    extra = {os.path.realpath(path) for path in settings.reload_extra_file}
    paths = {settings.chdir, *settings.pythonpath, *(os.path.dirname(path) for path in extra)}
    with RustNotify(sorted(paths), False, False, 300, True, True) as notify:
        channel.send(Record(Kind.READY))
        while True:
            found = notify.watch(_AT_MOST_MS, _QUIET_MS, 0, None)
            if not isinstance(found, set):
                return
            changed = sorted(path for _, path in found if counts(path, extra))
            if changed:
                for path in changed:
                    forget_bytecode(path)
                more = f" and {len(changed) - 1} more" if changed[1:] else ""
                log.info(f"{changed[0]}{more} changed: the application is loaded again")
                channel.send(Record(Kind.RELOAD))


def forget_bytecode(path: str) -> None:
    """Remove what was compiled from ``path``: Python compares times in whole seconds, and sizes.

    Without that, a change of the same second and size would not be seen. Source: PEP 552.
    """
    with contextlib.suppress(OSError, NotImplementedError):  # there is none, or it isn't ours
        os.unlink(importlib.util.cache_from_source(path))


def counts(path: str, extra: set[str]) -> bool:
    """Tell whether a change of ``path`` can change what the application does."""
    return path.endswith(_SUFFIXES) or os.path.realpath(path) in extra
