"""Try, as the application and on a decoy, what it must not be able to do.

Runs as: root, and each attempt in a child with the ids of a process, outside of its Landlock and
seccomp: what fails here fails inside too. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from udsrv.diagnose.audit.child import Likeness, ask_child, become
from udsrv.diagnose.audit.facts import DONE, Attempts, File, Place, Process, Writable
from udsrv.errors import UdsrvError

ACTIONS = ("connect", "chmod", "create", "unlink")

#: Below one place at most so many entries are looked at, and so many findings kept.
MOST_ENTRIES = 20_000
MOST_FINDINGS = 20

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ACCESS_LIST = "system.posix_acl_access"


def attempts_of(
    processes: Sequence[Process], live: File | None, places: Sequence[Place]
) -> dict[int, Attempts]:
    """Return what each process could do; those that are allowed the same are tried once.

    A process that has ended meanwhile is left out.
    """
    own_mounts = os.readlink("/proc/self/ns/mnt")
    tried: dict[object, Attempts] = {}
    found = {}
    for process in processes:
        namespace = f"/proc/{process.pid}/ns/mnt"
        try:
            mounts = os.readlink(namespace)
        except FileNotFoundError:
            continue
        except PermissionError:
            mounts = own_mounts  # without root the attempt itself will say why not
        who = Likeness(
            uids=process.uids[:3],
            gids=process.gids[:3],
            groups=tuple(sorted(process.groups)),
            capabilities=process.capabilities["CapPrm"],
            mounts=None if mounts == own_mounts else namespace,
        )
        key = (who.uids, who.gids, who.groups, who.capabilities, mounts)
        if key not in tried:
            done = attempt(who, live, places)
            if done.refused and not os.path.exists(namespace):
                continue
            tried[key] = done
        found[process.pid] = tried[key]
    return found


def attempt(who: Likeness, live: File | None, places: Sequence[Place]) -> Attempts:
    """Try everything in a child that is allowed what ``who`` is."""
    try:
        with decoy_of(live) as path:
            raw = ask_child(lambda: _try_all(who, path, places))
    except OSError as error:
        return Attempts(refused=f"a decoy can't be made: {error.strerror}")
    except UdsrvError as error:
        return Attempts(refused=str(error))
    return Attempts(
        outcomes=raw["outcomes"],
        writable=tuple(
            Writable(File(**each["file"]), Place(**each["place"])) for each in raw["writable"]
        ),
        sockets=tuple(raw["sockets"]),
    )


@contextlib.contextmanager
def decoy_of(live: File | None) -> Iterator[str | None]:
    """Listen on a socket beside ``live`` with its owner, group, mode and access control list.

    Yields its path; None when there is no socket to be like.

    Raises:
        OSError: the directory isn't ours to write.
    """
    if live is None:
        yield None
        return
    # Made like the server's own: in a directory that nobody else can enter, then renamed. A path
    # that others can write must never be given an owner or a mode.
    token = secrets.token_hex(8)
    name, private = f".udsrv-audit-{token}", f".udsrv-audit-{token}.d"
    with contextlib.ExitStack() as undo:
        parent_fd = os.open(os.path.dirname(live.path), _DIRECTORY)
        undo.callback(os.close, parent_fd)
        os.mkdir(private, 0o700, dir_fd=parent_fd)
        undo.callback(os.rmdir, private, dir_fd=parent_fd)
        private_fd = os.open(private, _DIRECTORY, dir_fd=parent_fd)
        undo.callback(os.close, private_fd)
        inside = f"/proc/self/fd/{private_fd}/{name}"
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(inside)
        try:
            os.chown(inside, live.uid, live.gid, follow_symlinks=False)
            os.chmod(inside, stat.S_IMODE(live.mode))
            if live.has_access_list:
                os.setxattr(inside, _ACCESS_LIST, os.getxattr(live.path, _ACCESS_LIST))
            listener.listen(8)
            os.rename(name, name, src_dir_fd=private_fd, dst_dir_fd=parent_fd)
        except BaseException:
            os.unlink(inside)
            raise
        undo.callback(_unlink_if_there, name, parent_fd)
        yield os.path.join(os.path.dirname(live.path), name)


def _unlink_if_there(name: str, directory_fd: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory_fd)


def _try_all(who: Likeness, decoy: str | None, places: Sequence[Place]) -> dict[str, Any]:
    become(who)
    writable, sockets = what_it_can_write(places)
    return {
        "outcomes": {} if decoy is None else try_on(decoy),
        "writable": [asdict(each) for each in writable],
        "sockets": sockets,
    }


def try_on(decoy: str) -> Mapping[str, str]:
    """Return what came of each of `ACTIONS` on the decoy; the last one removes it."""

    def connect() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(decoy)

    def chmod() -> None:
        os.chmod(decoy, stat.S_IMODE(os.stat(decoy, follow_symlinks=False).st_mode))

    def create() -> None:
        beside = f"{decoy}-new"
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        os.unlink(beside)

    actions: dict[str, Callable[[], None]] = {
        "connect": connect,
        "chmod": chmod,
        "create": create,
        "unlink": lambda: os.unlink(decoy),
    }
    return {name: _outcome(actions[name]) for name in ACTIONS}


def _outcome(action: Callable[[], None]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "an error without a number")
    return DONE


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
        for path, facts in _walk(place, seen):
            if not os.access(path, os.W_OK, effective_ids=True):
                continue
            if stat.S_ISSOCK(facts.st_mode):
                sockets.append(path)
            elif not (stat.S_ISCHR(facts.st_mode) and facts.st_mode & stat.S_IWOTH):
                found += 1
                if found <= MOST_FINDINGS:
                    writable.append(Writable(file_of(path, facts), place))
    return writable, sorted(sockets)


def _walk(place: Place, seen: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result]]:
    entries = 0
    pending = [(os.path.realpath(place.path), place.depth)]
    while pending and entries < MOST_ENTRIES:
        path, depth = pending.pop()
        entries += 1
        try:
            facts = os.lstat(path)
        except OSError:
            continue
        identity = (facts.st_dev, facts.st_ino)
        if stat.S_ISLNK(facts.st_mode):
            continue
        if identity not in seen:
            seen.add(identity)
            yield path, facts
        if depth > 0 and stat.S_ISDIR(facts.st_mode) and not _gives_all(path, facts):
            with contextlib.suppress(OSError), os.scandir(path) as listing:
                names = sorted(entry.path for entry in listing)
                pending += [(name, depth - 1) for name in reversed(names)]


def _gives_all(path: str, facts: os.stat_result) -> bool:
    """Tell whether whoever may write the directory may do so with all that is in it."""
    return not facts.st_mode & stat.S_ISVTX and os.access(path, os.W_OK, effective_ids=True)


def file_of(path: str, facts: os.stat_result) -> File:
    """Return the facts of one path."""
    listed = False
    with contextlib.suppress(OSError):
        listed = _ACCESS_LIST in os.listxattr(path, follow_symlinks=False)
    return File(path, facts.st_uid, facts.st_gid, facts.st_mode, listed)
