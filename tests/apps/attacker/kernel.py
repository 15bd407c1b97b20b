"""Call what no web application needs, where the kernel's holes have been."""

from __future__ import annotations

import ctypes
import mmap
import os

from .registry import Facts, Means, add, attack, call

_NEW_USER = 0x10000000
_MAGIC = 0xFEE1DEAD

# Calls that ask for a capability before they look at anything else.
for _name, _number, *_arguments in (
    ("set-host-name", 170, b"evil", 4),
    ("set-domain-name", 171, b"evil", 4),
    ("reboot", 169, _MAGIC, 0, 0, 0),
    ("swap-on", 167, b"/none", 0),
    ("swap-off", 168, b"/none"),
    ("process-accounting", 163, b"/none"),
    ("hang-up-terminal", 153),
    ("set-clock", 227, 0, b"\0" * 16),
    ("adjust-clock", 159, b"\xff\xff\0\0" + b"\0" * 204),
    ("load-module", 175, b"", 0, b""),
    ("load-module-file", 313, 0, b"", 0),
    ("unload-module", 176, b"none", 0),
    ("load-kernel", 246, 0, 0, 0, 0),
    ("load-kernel-file", 320, -1, -1, 0, 0, 0),
    ("port-permissions", 173, 0x70, 2, 1),
    ("port-level", 172, 3),
    ("open-by-handle", 304, -100, b"\x08\0\0\0\1\0\0\0" + b"\0" * 8, 0),
    ("new-mount-namespace", 272, 0x20000),
    ("new-network", 272, 0x40000000),
    ("new-host-name", 272, 0x4000000),
    ("new-process-ids", 272, 0x20000000),
    ("clear-kernel-log", 103, 5, 0, 0),
):
    # ENOSYS: this kernel has been built without it.
    add(_name, Means.IDS, lambda _, n=_number, a=_arguments: call(n, *a) and None, "ENOSYS")


@attack("enter-namespace", Means.IDS)
def _enter_namespace(_: Facts) -> None:
    call(308, os.open("/proc/self/ns/net", os.O_RDONLY), 0)


def _bytes(*numbers: int, size: int) -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * (size // 4))(*numbers)


# Calls that the kernel gives to everybody, unless a setting of the machine says otherwise.
for _name, _number, *_arguments in (
    ("new-user-namespace", 272, _NEW_USER),
    ("user-faults", 323, 1),
    ("io-ring", 425, 1, _bytes(size=120)),
    ("add-key", 248, b"user", b"udsrv-test", b"x", 1, -3),
    ("session-key-ring", 250, 1, 0),
    ("segment-table", 154, 1, _bytes(1, 0, 1, 0, size=16), 16),
    ("secret-memory", 447, 0),
    ("personality", 135, 0x0400000),
    ("trace-me", 101, 0, 0, 0, 0),
    ("name-to-handle", 303, -100, b"/etc/passwd", _bytes(128, size=136), _bytes(size=4), 0),
    ("watch-file-system", 300, 0x200, 0),
    ("message-queue", 240, b"udsrv-test", 0o102, 0o600, 0),
    ("bpf", 321, 0, _bytes(2, 4, 4, 1, size=120), 120),
    ("perf-events-of-own", 298, _bytes(1, 128, *[0] * 8, 0x60, size=128), 0, -1, -1, 0),
):
    add(
        _name,
        Means.SECCOMP,
        lambda _, n=_number, a=_arguments: call(n, *a) and None,
        kernel_may_refuse=True,
    )


@attack("compare-own-descriptors", Means.SECCOMP)
def _compare_own_descriptors(_: Facts) -> None:
    call(312, os.getpid(), os.getpid(), 0, 0, 0)


@attack("clone-user-namespace", Means.SECCOMP)
def _clone_user_namespace(_: Facts) -> None:
    pid = call(56, _NEW_USER | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@attack("clone3-user-namespace", Means.SECCOMP)
def _clone3_user_namespace(_: Facts) -> None:
    arguments = (ctypes.c_uint64 * 8)(_NEW_USER, 0, 0, 0, 17)
    pid = call(435, arguments, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


# The same calls by their other numbers, which a filter must not overlook.
@attack("x32-call", Means.SECCOMP, kernel_may_refuse=True)
def _x32_call(_: Facts) -> None:
    call(0x40000000 | 272, _NEW_USER)


@attack("i386-call", Means.SECCOMP, "SIGSYS", "SIGSEGV")
def _i386_call(_: Facts) -> None:
    """Call unshare(CLONE_NEWUSER) by the interrupt and the number of 32-bit programs."""
    code = b"\x53\xb8\x36\x01\x00\x00\xbb\x00\x00\x00\x10\xcd\x80\x5b\x48\x98\xc3"
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_long)(start)()
    if result < 0:
        raise OSError(-result, os.strerror(-result))
