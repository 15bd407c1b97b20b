"""What the audit has seen: plain values, made by the readers and judged by `judge`.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

DONE = "done"  # the outcome of an attempt that succeeded; else an errno's name, such as EACCES

#: Capability sets, as ``/proc/PID/status`` names them. Source: proc(5).
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One open descriptor of a process."""

    number: int
    target: str  # what the link in /proc/PID/fd says
    mode: int
    uid: int
    gid: int
    identity: tuple[int, int]  # device and inode
    reads: bool
    writes: bool

    @property
    def is_device(self) -> bool:
        """It is a device, wherever its file lies."""
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)

    @property
    def kind(self) -> str:
        """A word for the table, which must not vary with the names of temporary files."""
        if self.is_device:
            return self.target
        if self.target.startswith("anon_inode:"):
            return self.target.removeprefix("anon_inode:").strip("[]")
        if self.target.startswith("/memfd:"):
            return "memfd"
        if self.target.startswith("/"):
            return "directory" if stat.S_ISDIR(self.mode) else "file"
        return self.target.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as the kernel describes it."""

    pid: int
    parent: int
    role: str  # of ROLES, by its place in the tree: titles are what a process says of itself
    started: int  # clock ticks after boot
    uids: tuple[int, ...]  # real, effective, saved, filesystem
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: Mapping[str, int]  # a mask for each of CAPABILITY_SETS
    no_new_privs: bool
    seccomp: int  # 0 none, 1 strict, 2 filter. Source: proc(5)
    dumpable: bool | None  # None: root's processes don't show it
    network: str | None  # the interfaces; None: as the audit's own
    # The rest is None when the kernel doesn't let the audit look.
    descriptors: tuple[Descriptor, ...] | None
    landlocked: bool | None  # a descriptor of it was opened inside a Landlock domain
    ports: tuple[str, ...] | None  # the TCP ports it listens on
    executable: str | None
    directory: str | None  # where it works


ROLES = ("master", "supervisor", "worker", "descendant", "stranger")


@dataclass(frozen=True, slots=True)
class File:
    """What stat(2) says of a path, and whether it has an access control list."""

    path: str
    uid: int
    gid: int
    mode: int  # with the type
    has_access_list: bool

    @property
    def permissions(self) -> str:
        """The mode in four octal digits."""
        return f"{stat.S_IMODE(self.mode):04o}"


@dataclass(frozen=True, slots=True)
class Place:
    """A path, how deep to look below it, and what it means that the application can write there."""

    path: str
    depth: int
    verdict: str
    what: str


@dataclass(frozen=True, slots=True)
class Writable:
    """Something that a process may write, and the place it was found in."""

    file: File
    place: Place


@dataclass(frozen=True, slots=True)
class Attempts:
    """What a child with the ids, groups, capabilities and mounts of a process could do.

    ``refused`` says why nothing could be tried; the outcomes are empty then.
    """

    refused: str = ""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    writable: tuple[Writable, ...] = ()
    sockets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """The systemd unit that the master belongs to; ``exposure`` is None when it isn't known."""

    name: str
    exposure: float | None
    word: str
    command: str = ""  # what has generated it, as its first line says
    has_drop_ins: bool = False  # of ``systemctl edit``


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say, as numbers; None where they leave it open."""

    socket: str
    mode: int
    mode_is_given: bool
    owner: int | None
    group: int | None
    user: int | None
    access_log: str | None  # without links; "-": standard output
    sandbox: str
    nginx_uids: frozenset[int]
    nginx_gids: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was seen."""

    wanted: Wanted
    kernel: str
    landlock_abi: int
    socket: File | None
    listening: bool | None  # None: the kernel can't say which socket is behind the path
    directories: tuple[File, ...]  # above the socket, from / down
    private: File | None
    executed: tuple[File, ...]  # what root runs and reads, and the directories above
    secrets: tuple[File, ...]  # files that nobody but root should know
    lock_owner: int | None  # who holds the lock beside the socket: a server that runs
    processes: tuple[Process, ...]
    attempts: Mapping[int, Attempts]  # by pid
    stranger: Attempts  # as nobody
    account_groups: Mapping[int, frozenset[int]]  # by uid, what the account database says
    names: Mapping[str, str]  # "u0" to root, "g33" to www-data
    unit: Unit | None
    threshold: float

    @property
    def master(self) -> Process | None:
        """The process above all others."""
        return next((each for each in self.processes if each.role == "master"), None)

    def user(self, uid: int) -> str:
        """Return the account's name, or its number."""
        return self.names.get(f"u{uid}", str(uid))

    def group(self, gid: int) -> str:
        """Return the group's name, or its number."""
        return self.names.get(f"g{gid}", str(gid))
