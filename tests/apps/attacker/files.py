"""Read, write, make, run and change files that are nobody's business here."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import socket
import subprocess
from collections.abc import Callable

from .calls import call, libc
from .registry import Facts, Means, RefusedError, add, attack

_DEVICES = ("mem", "kmem", "port", "kmsg", "tty", "console", "tty1", "loop-control", "fuse", "kvm")
_SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sysrq-trigger",
    "/sys/kernel/profiling",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
)


def _read(path: str) -> Callable[[Facts], object]:
    return lambda facts: open(facts.get(path, path), "rb").read(1) and None


def _write(path: str) -> Callable[[Facts], object]:
    return lambda facts: open(facts.get(path, path), "ab").close()


for _path in ("/etc/shadow", "/proc/kcore", "/proc/1/environ", "foreign_secret", "access_log"):
    add(f"read {_path}", Means.IDS, _read(_path), "ENOENT" if "kcore" in _path else "EACCES")
add("list /root", Means.IDS, lambda _: os.listdir("/root") and None)
add("list private directory", Means.IDS, lambda facts: os.listdir(facts["private"]) and None)
for _name in _DEVICES:
    # What this machine hasn't is not there to be opened.
    add(f"open /dev/{_name}", Means.IDS, _write(f"/dev/{_name}"), "ENOENT", "ENXIO", "ENODEV")
for _path in _SETTINGS:
    add(f"write {_path}", Means.IDS, _write(_path), "ENOENT")
for _path in ("/etc/passwd", "socket", "access_log", "foreign_secret", "foreign_public"):
    add(f"write {_path}", Means.IDS, _write(_path), "ENXIO")


@attack("write cgroup", Means.IDS, "none there")
def _write_cgroup(_: Facts) -> None:
    groups = [*glob.glob("/sys/fs/cgroup/cgroup.procs"), *glob.glob("/sys/fs/cgroup/*/tasks")]
    if not groups:
        raise RefusedError("none there")
    with open(groups[0], "w") as file:
        file.write(str(os.getpid()))


@attack("type into terminal", Means.IDS)
def _type_into_terminal(facts: Facts) -> None:
    terminal = os.open(facts["terminal"], os.O_RDWR | os.O_NOCTTY)
    libc.ioctl(terminal, 0x5412, ctypes.c_char_p(b"x"))  # TIOCSTI


add("make device", Means.IDS, lambda facts: os.mknod(f"{facts['tmp']}/mem", 0o20666, 0x101))
add("link secret", Means.IDS, lambda facts: os.link(facts["foreign_secret"], f"{facts['tmp']}/l"))
add("mount", Means.IDS, lambda _: call("mount", b"none", b"/tmp", b"tmpfs", 0, 0))
add("unmount", Means.IDS, lambda _: call("umount2", b"/proc", 2))
add("pivot-root", Means.IDS, lambda _: call("pivot_root", b"/", b"/"))
add("set-time", Means.IDS, lambda _: os.utime("/etc/passwd", (1, 1)))
add("trusted-attribute", Means.IDS, lambda f: os.setxattr(f["own_file"], "trusted.x", b"x"))
add(
    "give-capabilities",
    Means.IDS,
    lambda f: os.setxattr(f["own_file"], "security.capability", b"\1\0\0\2" + b"\xff" * 16),
)

# What belongs to the application's user, or to everybody, and is in no directory that it was given.
for _name, _attempt in {
    "read-public-file": _read("foreign_public"),
    "read-own-file": _read("own_file"),
    "write-own-file": _write("own_file"),
    "write-own-code": _write("own_code"),
    "empty-own-file": lambda f: os.close(os.open(f["own_file"], os.O_WRONLY | os.O_TRUNC)),
    "list-logs": lambda _: os.listdir("/var/log") and None,
    "list-homes": lambda _: os.listdir("/home") and None,
    "make-in-tmp": lambda _: os.rmdir(_make(f"/tmp/udsrv-attack-{os.getpid()}")),
    "list-own-directory": lambda f: os.listdir(f["own_directory"]) and None,
    "make-file": lambda f: open(f"{f['own_directory']}/file-{os.getpid()}", "x").close(),
    "make-directory": lambda f: os.mkdir(f"{f['own_directory']}/dir-{os.getpid()}"),
    "make-link": lambda f: os.symlink("/", f"{f['own_directory']}/link-{os.getpid()}"),
    "make-fifo": lambda f: os.mkfifo(f"{f['own_directory']}/fifo-{os.getpid()}"),
    "make-socket": lambda f: socket.socket(socket.AF_UNIX).bind(
        f"{f['own_directory']}/s{os.getpid()}"
    ),
    "remove-file": lambda f: _remove(f"{f['own_directory']}/removed"),
    "move-file": lambda f: _move(f"{f['own_directory']}/moved", f"{f['tmp']}/moved-{os.getpid()}"),
    "run-program": lambda f: subprocess.run([f["own_program"]], check=True) and None,
}.items():
    add(_name, Means.LANDLOCK_1, _attempt, "EXDEV")


def _make(path: str) -> str:
    os.mkdir(path)
    return path


def _remove(path: str) -> None:
    os.unlink(path)
    open(path, "x").close()  # for the next who tries


def _move(path: str, other: str) -> None:
    os.rename(path, other)
    os.rename(other, path)


add("truncate-own-file", Means.LANDLOCK_3, lambda f: os.truncate(f["own_file"], 0))


@attack("leave-by-descriptor", Means.LANDLOCK_1)
def _leave_by_descriptor(facts: Facts) -> None:
    directory = os.open(facts["own_directory"], os.O_PATH)  # which asks for no right
    os.close(os.open("../own_file", os.O_RDWR, dir_fd=directory))


@attack("leave-by-link", Means.LANDLOCK_1)
def _leave_by_link(facts: Facts) -> None:
    link = f"{facts['tmp']}/link-{os.getpid()}"
    os.symlink(facts["own_file"], link)
    try:
        os.close(os.open(link, os.O_RDWR))
    finally:
        os.unlink(link)


@attack("leave-by-hard-link", Means.LANDLOCK_1, "EXDEV")
def _leave_by_hard_link(facts: Facts) -> None:
    link = f"{facts['tmp']}/hard-{os.getpid()}"
    os.link(facts["own_file"], link)
    os.unlink(link)


# Landlock asks nothing for these (landlock(7), "current limitations"), or multiprocessing needs it.
for _name, _attempt in {
    "change-own-mode": lambda f: os.chmod(f["own_file"], 0o644),
    "change-own-times": lambda f: os.utime(f["own_file"]),
    "change-own-attribute": lambda f: _change_attribute(f["own_file"]),
    "look-at-foreign-file": lambda f: os.stat(f["foreign_public"]) and None,
    "write-own-shared-memory": lambda f: os.close(os.open(f["own_shared_memory"], os.O_RDWR)),
    "watch-foreign-directory": lambda f: _watch(os.path.dirname(f["foreign_public"])),
}.items():
    add(_name, Means.NOTHING, _attempt)


def _change_attribute(path: str) -> None:
    try:
        os.setxattr(path, "user.udsrv-test", b"x")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # a file system without them
            raise


def _watch(path: str) -> None:
    fd = libc.inotify_init1(0)
    if libc.inotify_add_watch(fd, path.encode(), 0xFFF) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch")


@attack("run-from-memory", Means.NOTHING)
def _run_from_memory(_: Facts) -> None:
    fd = os.memfd_create("program", 0)
    with open("/bin/true", "rb") as program:
        os.write(fd, program.read())
    pid = os.fork()
    if pid == 0:
        os.execve(fd, ["program"], {})  # noqa: S606 - that is the attack
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise RefusedError(f"exit code {code}")
