"""Read processes from /proc, trusting no title. Source: proc(5).

Runs as: whoever calls it; only root sees everything. Imports the standard library only.
Each process is read through one descriptor of its directory, so a pid that is used again can't
mix two processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import termios
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from udsrv.diagnose.audit.facts import CAPABILITY_SETS, Descriptor, Process

_SYS_PIDFD_GETFD = 438  # the same on every architecture. Source: syscalls(2)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# null, zero, full, random, urandom: devices that a request for terminal attributes can't disturb.
_HARMLESS_DEVICES = frozenset(os.makedev(1, minor) for minor in (3, 5, 7, 8, 9))
_STATE_LISTEN = "0A"  # source: net/tcp_states.h
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is read of every process: enough for the tree and for who holds the listener."""

    pid: int
    parent: int
    started: int
    sockets: frozenset[int] | None  # inodes; None: not ours to read


def read_processes(listener: int, owner: int | None) -> tuple[Process, ...]:
    """Return the tree that serves the socket with the inode ``listener``, and who else holds it.

    The master is the holder above which there is none; of several ``owner``, who has the lock
    beside the socket, which the kernel gives to one process.
    """
    seen = {each.pid: each for each in _all_processes()}
    holders = {pid for pid, each in seen.items() if listener in (each.sockets or ())}
    roles = roles_of(
        {pid: each.parent for pid, each in seen.items()},
        {pid: seen[pid].started for pid in holders},
        owner,
    )
    found = [_read(seen[pid], role) for pid, role in roles.items()]
    return tuple(
        sorted((each for each in found if each), key=lambda each: (each.started, each.pid))
    )


def roles_of(
    parents: Mapping[int, int], holders: Mapping[int, int], lock_owner: int | None
) -> dict[int, str]:
    """Return the role of the holders and of all below the master, by its place in the tree. Pure.

    ``parents`` maps every pid to its parent's, ``holders`` the pids that hold the listener to the
    time of their start.
    """
    tops = [pid for pid in holders if not any(up in holders for up in _above(pid, parents))]
    if not tops:
        return {}
    master = min(tops, key=lambda pid: (pid != lock_owner, holders[pid], pid))
    roles = dict.fromkeys(holders, "stranger")
    for pid in parents:
        line = [pid, *_above(pid, parents)]
        if master in line:
            depth = min(line.index(master), 3)
            roles[pid] = ("master", "supervisor", "worker", "descendant")[depth]
    return roles


def _above(pid: int, parents: Mapping[int, int]) -> list[int]:
    line: list[int] = []
    while (pid := parents.get(pid, 0)) and pid not in line:
        line.append(pid)
    return line


def _all_processes() -> Iterable[_Seen]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), _opened(int(name)) as directory_fd:
                fields = _stat_fields(directory_fd)
                yield _Seen(int(name), int(fields[1]), int(fields[19]), _sockets(directory_fd))


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[int]:
    fd = os.open(f"/proc/{pid}", _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def _stat_fields(directory_fd: int) -> list[str]:
    # The second field is the process's own text in parentheses, which may hold anything.
    return _text(directory_fd, "stat").rpartition(")")[2].split()


def _text(directory_fd: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory_fd)
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _links(directory_fd: int) -> dict[int, str] | None:
    try:
        fds = os.open("fd", _DIRECTORY, dir_fd=directory_fd)
    except PermissionError:
        return None
    links = {}
    try:
        for name in os.listdir(fds):
            with contextlib.suppress(FileNotFoundError):
                links[int(name)] = os.readlink(name, dir_fd=fds)
    except PermissionError:
        return None
    finally:
        os.close(fds)
    return dict(sorted(links.items()))


def _socket_inode(target: str) -> int | None:
    return int(target[8:-1]) if target.startswith("socket:[") else None


def _sockets(directory_fd: int) -> frozenset[int] | None:
    links = _links(directory_fd)
    if links is None:
        return None
    return frozenset(inode for each in links.values() if (inode := _socket_inode(each)))


def lock_owner(lock: tuple[int, int] | None) -> int | None:
    """Return who holds the lock on a file (device and inode), by the kernel's list of locks."""
    if lock is None:
        return None
    device, inode = lock
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[1] == "FLOCK" and words[5] == wanted:
                return int(words[4])
    return None


def _read(seen: _Seen, role: str) -> Process | None:
    """Return what the kernel says of one process; None when it is gone."""
    try:
        with _opened(seen.pid) as directory_fd:
            fields = _stat_fields(directory_fd)
            if int(fields[19]) != seen.started or fields[0] in "ZX":
                return None
            return _process(directory_fd, seen, role)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _process(directory_fd: int, seen: _Seen, role: str) -> Process:
    lines = _text(directory_fd, "status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    uids = tuple(map(int, status["Uid"]))
    descriptors = _descriptors(directory_fd)
    return Process(
        pid=seen.pid,
        parent=seen.parent,
        role=role,
        started=seen.started,
        uids=uids,
        gids=tuple(map(int, status["Gid"])),
        groups=tuple(map(int, status["Groups"])),
        capabilities={name: int(status[name][0], 16) for name in CAPABILITY_SETS},
        no_new_privs=status["NoNewPrivs"] == ["1"],
        seccomp=int(status["Seccomp"][0]),
        dumpable=_dumpable(directory_fd, uids[1]),
        network=_network(directory_fd),
        descriptors=descriptors,
        landlocked=None if descriptors is None else _landlocked(directory_fd, seen.pid),
        ports=None if descriptors is None else _ports(directory_fd, descriptors),
        executable=_link(directory_fd, "exe"),
        directory=_link(directory_fd, "cwd"),
    )


def _dumpable(directory_fd: int, uid: int) -> bool | None:
    """Tell by whose these files are: its own when it is dumpable, else root's. Source: proc(5)."""
    if uid == 0:
        return None
    return os.stat("environ", dir_fd=directory_fd).st_uid != 0


def _link(directory_fd: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory_fd)
    except PermissionError:
        return None


def _network(directory_fd: int) -> str | None:
    """Return the interfaces of its network namespace; None when that is ours."""
    own = os.readlink("/proc/self/ns/net")
    if _link(directory_fd, "ns/net") in (own, None):
        return None
    lines = _text(directory_fd, "net/dev").splitlines()[2:]
    return " ".join(sorted(line.partition(":")[0].strip() for line in lines))


def _descriptors(directory_fd: int) -> tuple[Descriptor, ...] | None:
    links = _links(directory_fd)
    if links is None:
        return None
    found = []
    for number, target in links.items():
        with contextlib.suppress(FileNotFoundError):
            facts = os.stat(f"fd/{number}", dir_fd=directory_fd)
            info = _text(directory_fd, f"fdinfo/{number}").splitlines()
            flags = int(next(line for line in info if line.startswith("flags:")).split()[1], 8)
            way = flags & os.O_ACCMODE
            is_path = bool(flags & os.O_PATH)
            found.append(
                Descriptor(
                    number=number,
                    target=target,
                    mode=facts.st_mode,
                    uid=facts.st_uid,
                    gid=facts.st_gid,
                    identity=(facts.st_dev, facts.st_ino),
                    reads=not is_path and way in (os.O_RDONLY, os.O_RDWR),
                    writes=not is_path and way in (os.O_WRONLY, os.O_RDWR),
                )
            )
    return tuple(found)


def _landlocked(directory_fd: int, pid: int) -> bool | None:
    """Tell whether a descriptor of it was opened inside a Landlock domain.

    No file of /proc shows a domain. But an open device remembers whether ioctl was allowed
    where it was opened, and answers a copy of the descriptor in the same way: EACCES from
    inside a domain, ENOTTY from outside. Source: landlock(7), LANDLOCK_ACCESS_FS_IOCTL_DEV (ABI 5).
    None: there is no such descriptor, or it can't be copied.
    """
    answers = set()
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        for number in _links(directory_fd) or ():
            with contextlib.suppress(FileNotFoundError):
                facts = os.stat(f"fd/{number}", dir_fd=directory_fd)
                if stat.S_ISCHR(facts.st_mode) and facts.st_rdev in _HARMLESS_DEVICES:
                    answers.add(_opened_inside(pidfd, number))
    finally:
        os.close(pidfd)
    return None if answers <= {None} else True in answers


def _opened_inside(pidfd: int, number: int) -> bool | None:
    copy: int = _libc.syscall(
        ctypes.c_long(_SYS_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(number), ctypes.c_uint(0)
    )
    if copy < 0:
        return None
    try:
        termios.tcgetattr(copy)
    except termios.error as error:
        return bool(error.args[0] == errno.EACCES)
    finally:
        os.close(copy)
    return False


def _ports(directory_fd: int, descriptors: tuple[Descriptor, ...]) -> tuple[str, ...]:
    """Return the TCP ports it listens on. A UDP socket doesn't show whether it waits or asks."""
    held = {inode for each in descriptors if (inode := _socket_inode(each.target))}
    found = set()
    for kind in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in _text(directory_fd, f"net/{kind}").splitlines()[1:]:
                words = line.split()
                if words[3] == _STATE_LISTEN and int(words[9]) in held:
                    found.add(f"tcp {int(words[1].rpartition(':')[2], 16)}")
    return tuple(sorted(found))
