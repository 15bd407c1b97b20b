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
from dataclasses import asdict, replace
from typing import Any

from udsrv.diagnose.audit.child import Likeness, ask_child, become
from udsrv.diagnose.audit.facts import DONE, Attempts, File, Place, Process, Writable
from udsrv.diagnose.audit.writable import ACCESS_LIST, MOST_DEPTH, what_it_can_write
from udsrv.errors import UdsrvError

ACTIONS = ("connect", "chmod", "create", "unlink")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def attempts_of(
    processes: Sequence[Process], live: File | None, places: Sequence[Place]
) -> dict[int, Attempts]:
    """Return what each process could do; those that are allowed the same are tried once.

    A process that has ended meanwhile is left out.
    """
    tried: dict[object, Attempts] = {}
    found = {}
    with contextlib.ExitStack() as stack:
        views = _mount_views(processes, stack)
        for process in processes:
            if process.pid not in views:
                continue
            who = Likeness(
                uids=process.uids[:3],
                gids=process.gids[:3],
                groups=tuple(sorted(process.groups)),
                capabilities=process.capabilities["CapPrm"],
                mounts=views[process.pid],
            )
            # What root may write needs no search: it is nearly everything that is root's.
            depth = 0 if process.role == "master" else MOST_DEPTH
            if (who, depth) not in tried:
                cut = [replace(each, depth=min(each.depth, depth)) for each in places]
                tried[who, depth] = attempt(who, live, cut)
            found[process.pid] = tried[who, depth]
    return found


def _mount_views(
    processes: Sequence[Process], stack: contextlib.ExitStack
) -> dict[int, str | None]:
    """Open the mount namespaces, each once, so that they stay whatever happens to the processes.

    Returns the path of each process's for a child, None for our own.
    """
    paths: dict[str, str | None] = {os.readlink("/proc/self/ns/mnt"): None}
    found: dict[int, str | None] = {}
    for process in processes:
        try:
            fd = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except PermissionError:
            found[process.pid] = None  # without root the attempt itself will say why not
            continue
        stack.callback(os.close, fd)
        path = f"/proc/self/fd/{fd}"
        found[process.pid] = paths.setdefault(os.readlink(path), path)
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
                os.setxattr(inside, ACCESS_LIST, os.getxattr(live.path, ACCESS_LIST))
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
