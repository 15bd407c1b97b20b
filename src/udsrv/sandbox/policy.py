"""What the application's processes may do: one page, with the reason beside each line. Pure.

Runs as: the application's user. Nothing here acts; ``sandbox.layers`` hands it to the kernel.

A path that isn't listed can't be opened, a call that is listed fails. Landlock names the rights
(landlock(7)), seccomp the calls (seccomp(2)). What neither can do stands in docs/sandbox.md.

Every start waits for this page to be read, so it is made of plain classes and numbers (ADR 7).
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator
from enum import Enum
from errno import EAFNOSUPPORT, ENOSYS, EPERM, EPROTONOSUPPORT

TYPE_CHECKING = False  # without the module typing
if TYPE_CHECKING:
    from udsrv.config.model import Settings
    from udsrv.sandbox.place import Place

# ---- files ---------------------------------------------------------------------------------------

READ = ("read_file", "read_dir")
RUN = (*READ, "execute")
WRITE = (
    *READ, "write_file", "truncate", "remove_dir", "remove_file", "refer",
    "make_dir", "make_reg", "make_sock", "make_fifo", "make_sym",
)  # fmt: skip
CONNECT = ("resolve_unix",)
# Without ioctl: an open device then shows, also to `udsrv audit`, that it was opened in here.
NULL = ("read_file", "write_file", "truncate")
DEVICE = ("read_file", "write_file", "truncate", "ioctl_dev")


class Tier(Enum):
    """Whose view it is: a worker's is that of its supervisor, without what that alone needs."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"


class Grant:
    """Rights on a path and what is below it; a path that is missing grants nothing."""

    def __init__(self, path: str, rights: tuple[str, ...], why: str) -> None:
        self.path, self.rights, self.why = path, rights, why


SYSTEM: tuple[Grant, ...] = (
    Grant("/usr", RUN, "programs, libraries, fonts, time zones"),
    Grant("/bin", RUN, "as /usr, where the two aren't one"),
    Grant("/sbin", RUN, "as /usr, where the two aren't one"),
    Grant("/lib", RUN, "as /usr, where the two aren't one"),
    Grant("/lib64", RUN, "as /usr, where the two aren't one"),
    Grant("/nix/store", RUN, "the same on NixOS"),
    Grant("/gnu/store", RUN, "the same on Guix"),
    # By file would be tighter and break: a grant holds on to the inode, and passwd and resolv.conf
    # are replaced by rename. What others mayn't read there, shadow, the modes deny.
    Grant("/etc", READ, "accounts, the resolver, certificates, the configuration of libraries"),
    Grant(
        "/run/systemd/resolve", (*READ, *CONNECT), "where resolv.conf is a link to; the resolver"
    ),
    Grant("/run/NetworkManager", READ, "where resolv.conf is a link to"),
    Grant("/run/resolvconf", READ, "where resolv.conf is a link to"),
    Grant("/run/nscd", CONNECT, "names of accounts"),
    Grant("/run/systemd/userdb", (*READ, *CONNECT), "names of accounts"),
    Grant("/run/systemd/journal", CONNECT, "syslog(3)"),
    Grant("/dev/log", CONNECT, "syslog(3) without journald"),
    Grant("/run/postgresql", CONNECT, "databases that listen on a socket of this machine"),
    Grant("/run/mysqld", CONNECT, "the same"),
    Grant("/run/redis", CONNECT, "the same"),
    Grant("/run/memcached", CONNECT, "the same"),
    Grant("/var/cache/fontconfig", READ, "fonts for pictures and documents"),
    Grant("/dev/null", NULL, "subprocess.DEVNULL"),
    Grant("/dev/zero", DEVICE, "memory maps"),
    Grant("/dev/full", DEVICE, "harmless as the two before"),
    Grant("/dev/random", READ, "seeds"),
    Grant("/dev/urandom", READ, "seeds"),
    Grant("/dev/shm", WRITE, "semaphores and shared memory of multiprocessing"),  # noqa: S108
    # As a whole: a grant on /proc/self is lost when the kernel drops the entry for want of memory
    # (tried). Memory, environment and descriptors of others stay closed: ptrace(2), access mode.
    Grant("/proc", READ, "a process about itself; memory and processors"),
    Grant("/sys/devices/system", READ, "processors and memory nodes, for numerical libraries"),
    Grant("/sys/fs/cgroup", READ, "how much memory and processor time there is"),
    Grant("/sys/kernel/mm/transparent_hugepage", READ, "for allocators"),
)


def grants(settings: Settings, place: Place, tier: Tier) -> tuple[Grant, ...]:
    """Return everything that processes of ``tier`` may open."""
    return (*SYSTEM, *_of_the_application(settings, place), *_of_the_tier(settings, place, tier))


def _of_the_application(settings: Settings, place: Place) -> Iterator[Grant]:
    for path in place.interpreters:
        yield Grant(path, RUN, "the interpreter and its packages")
    yield Grant(place.package, READ, "udsrv")
    for path in dict.fromkeys((settings.chdir, *settings.pythonpath, *place.python_path)):
        if path != "/":  # where a service is started from; all of the machine isn't meant
            yield Grant(path, RUN, "the application")
    yield Grant(place.temporary, (*WRITE, *CONNECT), "temporary files")
    if place.credentials is not None:
        yield Grant(place.credentials, READ, "--credential")
    for path in settings.read_path:
        yield Grant(path, (*RUN, *CONNECT), "--read-path")
    for path in settings.write_path:
        yield Grant(path, (*WRITE, *CONNECT, "ioctl_dev"), "--write-path")


def _of_the_tier(settings: Settings, place: Place, tier: Tier) -> Iterator[Grant]:
    if tier is Tier.WORKER:
        return
    if place.temporary_is_ours:
        above = os.path.dirname(place.temporary)
        yield Grant(above, ("remove_dir",), "the temporary directory is removed at the end")
    if place.credentials is not None:
        above = os.path.dirname(place.credentials)
        yield Grant(place.credentials, ("remove_file",), "credentials are removed at the end")
        yield Grant(above, ("remove_dir",), "and their directory")
    if settings.reload:
        for path in (settings.chdir, *settings.pythonpath):
            yield Grant(path, ("remove_file",), "bytecode of what has changed is removed")


def entrance(settings: Settings, place: Place, parents: Iterable[str]) -> tuple[Grant, ...]:
    """Return what is open before the temporary directory is made in one of ``parents``.

    The environment's start-up files run with this, so it is the supervisor's and that alone more.
    """
    held = grants(settings, place, Tier.SUPERVISOR)
    return (*held, *(Grant(path, WRITE, "where TMPDIR is made") for path in parents))


def writable(settings: Settings, place: Place) -> tuple[str, ...]:
    """Return the directories in which a worker may make files."""
    held = grants(settings, place, Tier.WORKER)
    return tuple(dict.fromkeys(grant.path for grant in held if "make_reg" in grant.rights))


def doubts(settings: Settings, place: Place, import_path: Iterable[str]) -> tuple[str, ...]:
    """Say what the operator has allowed and may not have meant, or has forgotten.

    ``import_path`` is what exists of ``sys.path``, where an environment's ``.pth`` files may have
    put any place.
    """
    code = dict.fromkeys((settings.chdir, *settings.pythonpath, *place.interpreters))
    held = grants(settings, place, Tier.WORKER)
    return (
        *(
            f"write_path: {path} holds the code in {below}, which an attacker could change"
            for path in settings.write_path
            for below in code
            if is_below(below, path)
        ),
        *(
            f"{path} is on the import path and closed; --read-path {path} opens it"
            for path in import_path
            if not any("read_file" in one.rights and is_below(path, one.path) for one in held)
        ),
    )


def is_open(held: Iterable[Grant], directory: str) -> bool:
    """Tell whether ``directory`` may be listed."""
    return any("read_dir" in grant.rights and is_below(directory, grant.path) for grant in held)


def is_below(path: str, directory: str) -> bool:
    """Tell whether a grant on ``directory`` holds for ``path``; both are normalized."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


# ---- system calls --------------------------------------------------------------------------------

# Of the kernels that this page was written for; what is newer no application relies on. The
# numbers from here on fail with ENOSYS, and with them, on x86-64, those of the x32 ABI.
FIRST_UNKNOWN_CALL = 463

# (argument, comparison, value): ==, !=, or "has" for all bits of the value.
Condition = tuple[int, str, int]


class Denial:
    """System calls that fail with ``error``, if all conditions hold."""

    def __init__(
        self, calls: tuple[str, ...], error: int, why: str, when: tuple[Condition, ...] = ()
    ) -> None:
        self.calls, self.error, self.why, self.when = calls, error, why, when


# Source: sched.h.
_NAMESPACES = {
    "time": 0x00000080, "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000,
    "ipc": 0x08000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
_CLONE_FILES = 0x00000400
# Source: asm-generic/ioctls.h.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# Source: setpriority(2), ioprio_set(2).
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1
# Source: personality(2): the ordinary one, and the question which one it is.
_PER_LINUX, _QUERY = 0, 0xFFFFFFFF

_DENIALS: tuple[Denial, ...] = (
    Denial(
        ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
        EPERM,
        "the memory and descriptors of other processes",
    ),
    Denial(
        ("mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick",
         "move_mount", "open_tree", "mount_setattr"),
        EPERM,
        "another view of the files, in which the grants above mean something else",
    ),
    Denial(("setns",), EPERM, "namespaces: root's powers over much untried code"),
    # A table of descriptors of its own gives a thread nothing; the access log's has one.
    Denial(("unshare",), EPERM, "the same", ((0, "!=", _CLONE_FILES),)),
    *(
        Denial(("clone",), EPERM, f"a new {name} namespace", ((0, "has", flag),))
        for name, flag in _NAMESPACES.items()
        if name != "time"  # the same bits are the exit signal there
    ),
    Denial(("clone3",), ENOSYS, "its flags can't be seen; the C library then uses clone"),
    Denial(
        ("io_uring_setup", "io_uring_enter", "io_uring_register"),
        ENOSYS,
        "does what calls do without being one, and has many holes; libuv does without",
    ),
    Denial(("bpf", "perf_event_open", "userfaultfd"), EPERM, "often the way into the kernel"),
    Denial(("add_key", "request_key", "keyctl"), EPERM, "keys of the user's other processes"),
    Denial(
        ("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
        EPERM,
        "other kernel code",
    ),
    Denial(("modify_ldt", "uselib"), ENOSYS, "for programs of the 1990s"),
    Denial(
        ("personality",),
        EPERM,
        "turns protections off",
        ((0, "!=", _PER_LINUX), (0, "!=", _QUERY)),
    ),
    Denial(
        ("ioctl",), EPERM, "types into the terminal", ((1, "==", _TIOCSTI),)
    ),
    Denial(
        ("ioctl",), EPERM, "pastes into the console", ((1, "==", _TIOCLINUX),)
    ),
    Denial(("open_by_handle_at", "fanotify_init"), EPERM, "files without their paths"),
    Denial(("move_pages", "migrate_pages"), EPERM, "the memory of other processes"),
    # The kernel asks for the user only, so these reach the supervisor and every sibling: a limit of
    # no CPU time ends them. By 0 a process means itself. Affinity stays: libraries bind their own
    # threads by their numbers.
    Denial(("prlimit64",), EPERM, "limits of other processes", ((0, "!=", 0),)),
    Denial(
        ("sched_setscheduler", "sched_setparam", "sched_setattr"),
        EPERM,
        "scheduling of other processes",
        ((0, "!=", 0),),
    ),
    *(
        Denial((call,), EPERM, "priorities of other processes", ((argument, "!=", own),))
        for call, which in (("setpriority", _PRIO_PROCESS), ("ioprio_set", _IOPRIO_WHO_PROCESS))
        for argument, own in ((0, which), (1, 0))
    ),
    Denial(
        ("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "sethostname",
         "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog",
         "vhangup", "iopl", "ioperm", "_sysctl", "lookup_dcookie"),
        EPERM,
        "the machine's, not an application's",
    ),
)  # fmt: skip

# Source: linux/socket.h, AF_UNIX, AF_INET and AF_INET6.
_LOCAL, _INTERNET = (1,), (2, 10)
# TCP, UDP and the two ICMPs: MPTCP and SCTP may listen where Landlock forbids it to TCP (tried).
# Source: ip(7), linux/in.h, linux/in6.h.
_PROTOCOLS = (0, 6, 17, 1, 58)


def denials(network: str) -> tuple[Denial, ...]:
    """Return the calls that fail for every process of the application's."""
    families = _LOCAL if network == "none" else (*_LOCAL, *_INTERNET)
    return (
        *_DENIALS,
        Denial(
            ("socket", "socketpair"),
            EAFNOSUPPORT,
            "families other than "
            + ("AF_UNIX: --network none" if network == "none" else "AF_UNIX and the Internet's"),
            tuple((0, "!=", family) for family in families),
        ),
        *(
            Denial(
                ("socket",),
                EPROTONOSUPPORT,
                "protocols that Landlock's rules for TCP don't cover",
                ((0, "==", family), *((2, "!=", protocol) for protocol in _PROTOCOLS)),
            )
            for family in _INTERNET
        ),
    )


# ---- what a kernel can't do ----------------------------------------------------------------------


class Gap:
    """Something that isn't enforced, and what follows; with a grave one, strict doesn't start."""

    def __init__(self, text: str, *, is_grave: bool = True) -> None:
        self.text, self.is_grave = text, is_grave


SCOPES_SINCE_ABI = 6

# Since which ABI of Landlock, and which Linux, and what is possible before.
_SINCE: tuple[tuple[int, str, Gap], ...] = (
    (1, "5.13", Gap("the application may open every file that its user may")),
    (2, "5.19", Gap("files can't be renamed into another directory, which some applications do")),
    (3, "6.2", Gap("a worker can empty any file that its user may write")),
    (4, "6.7", Gap("a worker can listen on a TCP port")),
    (SCOPES_SINCE_ABI, "6.12",
     Gap("a worker can signal its supervisor and siblings, and use abstract sockets")),
    (9, "7.1", Gap("a worker can connect to other programs' sockets", is_grave=False)),
)  # fmt: skip


def gaps(abi: int, *, calls_denied: bool, only_loopback: bool | None) -> tuple[Gap, ...]:
    """Return what the running kernel leaves open.

    ``abi`` is Landlock's, 0 without it; ``only_loopback`` is None when nobody asked for that.
    """
    found = [
        Gap(f"{gap.text} (Landlock ABI {since}, Linux {linux})", is_grave=gap.is_grave)
        for since, linux, gap in _SINCE
        if abi < since
    ]
    if not calls_denied:
        found.append(Gap("a worker may make every system call (no seccomp)"))
    if only_loopback is False:
        found.append(
            Gap("network local: other machines can be reached; the generated unit prevents it")
        )
    return tuple(found)
