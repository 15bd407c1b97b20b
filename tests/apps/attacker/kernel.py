"""Call what no web application needs, where the kernel's holes have been."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable

from .calls import IS_X86, NUMBERS, call
from .registry import Facts, Means, add, attack

_NEW_USER = 0x10000000
_MAGIC = 0xFEE1DEAD


def _try(call_name: str, *arguments: object) -> Callable[[Facts], None]:
    return lambda _: call(call_name, *arguments) and None


# Calls that ask for a capability before they look at anything else.
for _name, _call, *_arguments in (
    ("set-host-name", "sethostname", b"evil", 4),
    ("set-domain-name", "setdomainname", b"evil", 4),
    ("reboot", "reboot", _MAGIC, 0, 0, 0),
    ("swap-on", "swapon", b"/none", 0),
    ("swap-off", "swapoff", b"/none"),
    ("process-accounting", "acct", b"/none"),
    ("hang-up-terminal", "vhangup"),
    ("set-clock", "clock_settime", 0, b"\0" * 16),
    ("adjust-clock", "adjtimex", b"\xff\xff\0\0" + b"\0" * 204),
    ("load-module", "init_module", b"", 0, b""),
    ("load-module-file", "finit_module", 0, b"", 0),
    ("unload-module", "delete_module", b"none", 0),
    ("load-kernel", "kexec_load", 0, 0, 0, 0),
    ("load-kernel-file", "kexec_file_load", -1, -1, 0, 0, 0),
    ("port-permissions", "ioperm", 0x70, 2, 1),
    ("port-level", "iopl", 3),
    ("open-by-handle", "open_by_handle_at", -100, b"\x08\0\0\0\1\0\0\0" + b"\0" * 8, 0),
    ("new-mount-namespace", "unshare", 0x20000),
    ("new-network", "unshare", 0x40000000),
    ("new-host-name", "unshare", 0x4000000),
    ("new-process-ids", "unshare", 0x20000000),
    ("clear-kernel-log", "syslog", 5, 0, 0),
):
    if _call in NUMBERS:
        # ENOSYS: this kernel has been built without it.
        add(_name, Means.IDS, _try(_call, *_arguments), "ENOSYS")


@attack("enter-namespace", Means.IDS)
def _enter_namespace(_: Facts) -> None:
    call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)


def _bytes(*numbers: int, size: int) -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * (size // 4))(*numbers)


# A counter of the software's, without the kernel and the hypervisor.
_PERF_ATTRIBUTES = _bytes(1, 128, *[0] * 8, 0x60, size=128)

# Calls that the kernel gives to everybody, unless a setting of the machine says otherwise.
for _name, _call, *_arguments in (
    ("new-user-namespace", "unshare", _NEW_USER),
    ("user-faults", "userfaultfd", 1),
    ("io-ring", "io_uring_setup", 1, _bytes(size=120)),
    ("add-key", "add_key", b"user", b"udsrv-test", b"x", 1, -3),
    ("session-key-ring", "keyctl", 1, 0),
    ("segment-table", "modify_ldt", 1, _bytes(1, 0, 1, 0, size=16), 16),
    ("personality", "personality", 0x0400000),
    ("trace-me", "ptrace", 0, 0, 0, 0),
    ("watch-file-system", "fanotify_init", 0x200, 0),
    ("bpf", "bpf", 0, _bytes(2, 4, 4, 1, size=120), 120),
    ("newest-call", "file_getattr", -100, b"/etc/passwd", _bytes(size=24), 24, 0),
    (
        "perf-events-of-own",
        "perf_event_open",
        _bytes(1, 128, *[0] * 8, 0x60, size=128),
        0,
        -1,
        -1,
        0,
    ),
):
    if _call in NUMBERS:
        add(_name, Means.SECCOMP, _try(_call, *_arguments), kernel_may_refuse=True)


@attack("message-queue", Means.LANDLOCK_1, "EMFILE", "ENOSYS", kernel_may_refuse=True)
def _message_queue(_: Facts) -> None:
    """Make one of POSIX: a file, and something that the limits count."""
    call("mq_open", b"udsrv-test", 0o102, 0o600, 0)
    call("mq_unlink", b"udsrv-test")


@attack("compare-own-descriptors", Means.SECCOMP)
def _compare_own_descriptors(_: Facts) -> None:
    call("kcmp", os.getpid(), os.getpid(), 0, 0, 0)


@attack("clone-user-namespace", Means.SECCOMP)
def _clone_user_namespace(_: Facts) -> None:
    pid = call("clone", _NEW_USER | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@attack("clone3-user-namespace", Means.SECCOMP)
def _clone3_user_namespace(_: Facts) -> None:
    arguments = (ctypes.c_uint64 * 8)(_NEW_USER, 0, 0, 0, 17)
    pid = call("clone3", arguments, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _x32_call(_: Facts) -> None:
    call(0x40000000 | NUMBERS["unshare"], _NEW_USER)


def _i386_call(_: Facts) -> None:
    """Call unshare(CLONE_NEWUSER) by the interrupt and the number of 32-bit programs."""
    code = b"\x53\xb8\x36\x01\x00\x00\xbb\x00\x00\x00\x10\xcd\x80\x5b\x48\x98\xc3"
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_long)(start)()
    if result < 0:
        raise OSError(-result, os.strerror(-result))


# The same call by its other numbers, which a filter must not overlook.
if IS_X86:
    add("x32-call", Means.SECCOMP, _x32_call, kernel_may_refuse=True)
    add("i386-call", Means.SECCOMP, _i386_call, "SIGSYS", "SIGSEGV")
