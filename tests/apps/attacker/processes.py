"""Touch another process: the master, the supervisor, a sibling, nginx, another program of the user.

What succeeds changes nothing: limits, priorities and policies are set to what they are.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable

from .registry import Facts, Means, add, call

# Another program of the same user is dumpable, unless it says otherwise.
_FOREIGN = ("master", "nginx-master", "nginx-worker")
_OURS = ("supervisor", "sibling")
_NEIGHBOUR = "neighbour"


def _pid(facts: Facts, target: str) -> int:
    if target == "sibling":
        return min(set(facts["workers"]) - {facts["attacker"]})
    return int(facts[target])


def _open(mode: int, name: str) -> Callable[[int], object]:
    return lambda pid: os.close(os.open(f"/proc/{pid}/{name}", mode))


def _read(name: str) -> Callable[[int], object]:
    return lambda pid: open(f"/proc/{pid}/{name}", "rb").read(1) and None


def _list(name: str) -> Callable[[int], object]:
    return lambda pid: os.listdir(f"/proc/{pid}/{name}") and None


def _follow(name: str) -> Callable[[int], object]:
    return lambda pid: os.readlink(f"/proc/{pid}/{name}")


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _vector() -> ctypes.Array[_Iovec]:
    memory = ctypes.create_string_buffer(8)
    vector = (_Iovec * 1)(_Iovec(ctypes.addressof(memory), 8))
    vector._memory = memory  # type: ignore[attr-defined]
    return vector


def _copy(number: int) -> Callable[[int], object]:
    # An address that nothing is at: who may look at all is told EFAULT.
    def attempt(pid: int) -> object:
        remote = (_Iovec * 1)(_Iovec(8, 8))
        try:
            call(number, pid, _vector(), 1, remote, 1, 0)
        except OSError as error:
            if error.errno != 14:  # EFAULT
                raise
        return "let in"

    return attempt


def _attach(request: int) -> Callable[[int], object]:
    def attempt(pid: int) -> None:
        call(101, request, pid, 0, 0)
        # PTRACE_DETACH only works on who has stopped; the end of this process detaches, too.
        os.waitpid(pid, os.WNOHANG | 0x40000000)  # __WALL

    return attempt


def _open_perf_event(pid: int) -> None:
    attributes = (ctypes.c_uint32 * 32)(1, 128)  # PERF_TYPE_SOFTWARE, the structure's size
    attributes[10] = 0x60  # exclude the kernel and the hypervisor
    call(298, attributes, pid, -1, -1, 0)


def _set_scheduler(pid: int) -> None:
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def _set_scheduling_attributes(pid: int) -> None:
    attributes = (ctypes.c_uint32 * 12)(48)  # the structure's size; SCHED_OTHER, nice 0
    call(314, pid, attributes, 0)


def _set_limits(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))


def _queue_signal(pid: int) -> None:
    information = (ctypes.c_int * 32)(0, 0, -1)  # SI_QUEUE
    call(129, pid, 0, information)


# What the kernel asks the same question for as for ptrace(2): PTRACE_MODE_READ or _ATTACH.
INSPECTIONS: dict[str, Callable[[int], object]] = {
    "read-memory": _open(os.O_RDONLY, "mem"),
    "write-memory": _open(os.O_RDWR, "mem"),
    "read-environment": _read("environ"),
    "read-maps": _read("maps"),
    "read-pages": _open(os.O_RDONLY, "pagemap"),
    "read-auxv": _read("auxv"),
    "read-syscall": _read("syscall"),
    "read-io": _read("io"),
    "clear-references": _open(os.O_WRONLY, "clear_refs"),
    "set-oom-score": _open(os.O_WRONLY, "oom_score_adj"),
    "set-dump-filter": _open(os.O_WRONLY, "coredump_filter"),
    "list-descriptors": _list("fd"),
    "list-descriptor-facts": _list("fdinfo"),
    "open-descriptor": _open(os.O_RDONLY, "fd/0"),
    "list-mapped-files": _list("map_files"),
    "enter-directory": _list("cwd"),
    "enter-root": _list("root"),
    "follow-program": _follow("exe"),
    "follow-namespace": _follow("ns/mnt"),
    "ptrace-attach": _attach(16),
    "ptrace-seize": _attach(0x4206),
    "copy-from-memory": _copy(310),
    "copy-into-memory": _copy(311),
    "take-descriptor": lambda pid: call(438, os.pidfd_open(pid), 0, 0) and None,
    "compare-descriptors": lambda pid: call(312, pid, os.getpid(), 0, 0, 0) and None,
    "move-pages": lambda pid: call(279, pid, 0, 0, 0, 0, 0) and None,
    "robust-list": lambda pid: (
        call(274, pid, ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_size_t())) and None
    ),
    "perf-events": _open_perf_event,
}

# What the kernel asks nothing but the user for.
INFLUENCES: dict[str, Callable[[int], object]] = {
    "set-limits": _set_limits,
    "set-scheduler": _set_scheduler,
    "set-scheduling": _set_scheduling_attributes,
    "set-affinity": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
    "set-priority": lambda pid: os.setpriority(
        os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)
    ),
    "set-io-priority": lambda pid: call(251, 1, pid, 0) and None,
}

SIGNALS: dict[str, Callable[[int], object]] = {
    "signal": lambda pid: os.kill(pid, 0),
    "signal-to-continue": lambda pid: os.kill(pid, signal.SIGCONT),
    "signal-to-group": lambda pid: os.killpg(os.getpgid(pid), 0),
    "signal-to-thread": lambda pid: call(234, pid, pid, 0) and None,
    "signal-by-descriptor": lambda pid: signal.pidfd_send_signal(os.pidfd_open(pid), 0),
    "signal-with-value": _queue_signal,
}


def _at(target: str, action: Callable[[int], object]) -> Callable[[Facts], object]:
    return lambda facts: action(_pid(facts, target))


for _name, _action in {**INSPECTIONS, **INFLUENCES, **SIGNALS}.items():
    for _target in _FOREIGN:
        add(f"{_name} {_target}", Means.IDS, _at(_target, _action))
for _name, _action in INSPECTIONS.items():
    for _target in _OURS:
        add(f"{_name} {_target}", Means.UNDUMPABLE, _at(_target, _action))
    add(f"{_name} {_NEIGHBOUR}", Means.LANDLOCK_1, _at(_NEIGHBOUR, _action))
for _target in (*_OURS, _NEIGHBOUR):
    for _name, _action in INFLUENCES.items():
        add(f"{_name} {_target}", Means.SECCOMP, _at(_target, _action))
    for _name, _action in SIGNALS.items():
        add(f"{_name} {_target}", Means.LANDLOCK_6, _at(_target, _action))

# setpriority(2) and ioprio_set(2) know users and groups, too.
add(
    "set-priority-of-user",
    Means.SECCOMP,
    lambda _: os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_USER, 0)),
)
add("set-io-priority-of-user", Means.SECCOMP, lambda _: call(251, 3, os.getuid(), 0) and None)
add("lower-own-oom-score", Means.IDS, lambda _: _write("/proc/self/oom_score_adj", b"-1"))
add("raise-own-limit", Means.IDS, lambda _: _raise_own_limit())
add("realtime", Means.IDS, lambda _: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))


def _write(path: str, text: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text)


def _raise_own_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Not by the module, which raises a ValueError.
    call(302, 0, resource.RLIMIT_NOFILE, (ctypes.c_uint64 * 2)(1, hard + 1), 0)
