"""``udsrv audit``: look, judge, print.

Runs as: whoever calls it; only root sees everything. Imports the standard library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterable

from udsrv.config.model import DEFAULT, Settings
from udsrv.diagnose.audit import surroundings
from udsrv.diagnose.audit.attempts import attempt, attempts_of
from udsrv.diagnose.audit.child import Likeness
from udsrv.diagnose.audit.facts import Attempts, Facts, File, Process, Unit, Wanted
from udsrv.diagnose.audit.judge import judge
from udsrv.diagnose.audit.places import places
from udsrv.diagnose.audit.processes import lock_owner, read_processes
from udsrv.diagnose.audit.report import json_of, text_of
from udsrv.errors import UsageError
from udsrv.start.image import PACKAGE

_WIDTH = 100  # when there is no terminal, so that a timer's output doesn't vary
_NOBODY = 65534
_HIGHEST_EXPOSURE = 10.0


def audit(settings: Settings, *, as_json: bool, threshold: str) -> int:
    """Print what the running processes could do; return 1 when something isn't as it must be.

    Raises:
        ConfigError: an account that the settings name doesn't exist.
        UsageError: ``threshold`` is no number from 0 to 10.
    """
    # A decoy is removed also when a timer's deadline ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = judge(collect(settings, read_threshold(threshold)))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    sys.stdout.write(json_of(report) if as_json else text_of(report, width=width))
    sys.stdout.flush()
    return 0 if report.passed else 1


def read_threshold(text: str) -> float:
    """Read the greatest exposure that passes.

    Raises:
        UsageError: it is no number from 0 to 10.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _HIGHEST_EXPOSURE:
        raise UsageError(
            f"--threshold: {text!r} is not a number from 0 to 10, as systemd prints it"
        )
    return value


def collect(settings: Settings, threshold: float) -> Facts:
    """Look at everything.

    Raises:
        ConfigError: an account that the settings name doesn't exist.
    """
    wanted = surroundings.wanted_of(settings)
    socket = surroundings.file_at(settings.socket)
    listener, listening = _listener(settings.socket, socket)
    processes: tuple[Process, ...] = ()
    owner = lock_owner(surroundings.lock_identity(settings.socket))
    if listener is not None:
        processes = read_processes(listener, owner)
    secrets = tuple(_secrets(settings))
    read_by_root = (*_read_by_root(settings), *secrets)
    looked_at = places(
        settings,
        master_reads=read_by_root,
        code=_code(settings, processes),
        package=PACKAGE,
        interpreter=sys.executable,
    )
    attempts = attempts_of(processes, socket if listening else None, looked_at)
    processes = tuple(each for each in processes if each.pid in attempts)
    return Facts(
        wanted=wanted,
        kernel=os.uname().release,
        landlock_abi=surroundings.landlock_abi(),
        socket=socket,
        listening=listening,
        directories=surroundings.directories_to(os.path.dirname(settings.socket)),
        private=surroundings.file_at(f"{settings.socket}.d"),
        executed=surroundings.files_of_root(read_by_root, PACKAGE),
        secrets=tuple(filter(None, map(surroundings.file_at, secrets))),
        lock_owner=owner,
        processes=processes,
        attempts=attempts,
        stranger=_as_stranger(socket if listening else None),
        account_groups=surroundings.account_groups({each.uids[1] for each in processes}),
        names=_names(processes, socket, wanted),
        unit=_unit(processes),
        threshold=threshold,
    )


def _listener(path: str, socket: File | None) -> tuple[int | None, bool | None]:
    if socket is None:
        return None, False
    try:
        inode = surroundings.find_listener(path)
    except OSError:
        return None, None
    return inode, inode is not None


def _read_by_root(settings: Settings) -> Iterable[str]:
    """Yield the files that the master executes or takes settings from."""
    yield sys.executable
    yield os.path.join(os.path.dirname(sys.executable), "udsrv")
    yield from (path for path in set(settings.origins.values()) if path.startswith("/"))


def _secrets(settings: Settings) -> Iterable[str]:
    """Yield the files that root hands to the application, and nobody else may know."""
    if settings.env_file is not None:
        yield settings.env_file
    for item in settings.credential:
        _, _, path = item.partition(":")
        if path:  # without one, the service manager's copy is meant
            yield path


def _code(settings: Settings, processes: Iterable[Process]) -> tuple[str, ...]:
    """Return where the application is loaded from: its working directory, and what is named."""
    found = [each.directory for each in processes if each.role == "supervisor"]
    if settings.origin("chdir") != DEFAULT:
        found.append(settings.chdir)
    return tuple(dict.fromkeys(path for path in (*found, *settings.pythonpath) if path))


def _as_stranger(live: File | None) -> Attempts:
    ids = (_NOBODY,) * 3
    return attempt(Likeness(ids, ids, (), 0, None), live, ())


def _names(processes: Iterable[Process], socket: File | None, wanted: Wanted) -> dict[str, str]:
    uids = {uid for each in processes for uid in each.uids}
    uids |= {uid for uid in (wanted.user, wanted.owner) if uid is not None}
    gids = {gid for each in processes for gid in (*each.gids, *each.groups)}
    if socket is not None:
        uids.add(socket.uid)
        gids.add(socket.gid)
    return surroundings.names_of(uids, gids)


def _unit(processes: Iterable[Process]) -> Unit | None:
    for each in processes:
        if each.role == "master":
            return surroundings.unit_of(each)
    return None
