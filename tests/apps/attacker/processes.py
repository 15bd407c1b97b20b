"""Touch another process: the master, the supervisor, a sibling, nginx, another program of the user.

What succeeds changes nothing: limits, priorities and policies are set to what they are.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable

from .calls import call
from .registry import Facts, Means, add

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


def _copy(name: str) -> Callable[[int], object]:
    # An address that nothing is at: who may look at all is told EFAULT.
    def attempt(pid: int) -> object:
        remote = (_Iovec * 1)(_Iovec(8, 8))
        try:
            call(name, pid, _vector(), 1, remote, 1, 0)
        except OSError as error:
            if error.errno != 14:  # EFAULT
                raise
        return "let in"

    return attempt


def _attach(request: int) -> Callable[[int], object]:
    def attempt(pid: int) -> None:
        call("ptrace", request, pid, 0, 0)
        # PTRACE_DETACH only works on who has stopped; the end of this process detaches, too.
        os.waitpid(pid, os.WNOHANG | 0x40000000)  # __WALL

    return attempt


def _open_perf_event(pid: int) -> None:
    attributes = (ctypes.c_uint32 * 32)(1, 128)  # PERF_TYPE_SOFTWARE, the structure's size
    attributes[10] = 0x60  # exclude the kernel and the hypervisor
    call("perf_event_open", attributes, pid, -1, -1, 0)


def _get_robust_list(pid: int) -> None:
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    call("get_robust_list", pid, ctypes.byref(head), ctypes.byref(length))


def _set_scheduler(pid: int) -> None:
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def _set_scheduling_attributes(pid: int) -> None:
    attributes = (ctypes.c_uint32 * 12)(48)  # the structure's size; SCHED_OTHER, nice 0
    call("sched_setattr", pid, attributes, 0)


def _set_limits(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))


def _signal_group(pid: int) -> None:
    os.killpg(os.getpgid(pid), 0)


def _queue_signal(pid: int) -> None:
    information = (ctypes.c_int * 32)(0, 0, -1)  # SI_QUEUE
    call("rt_sigqueueinfo", pid, 0, information)


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
    "copy-from-memory": _copy("process_vm_readv"),
    "copy-into-memory": _copy("process_vm_writev"),
    "take-descriptor": lambda pid: call("pidfd_getfd", os.pidfd_open(pid), 0, 0) and None,
    "compare-descriptors": lambda pid: call("kcmp", pid, os.getpid(), 0, 0, 0) and None,
    "move-pages": lambda pid: call("move_pages", pid, 0, 0, 0, 0, 0) and None,
    "robust-list": lambda pid: (
        call(
            "get_robust_list", pid, ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_size_t())
        )
        and None
    ),
    "perf-events": _open_perf_event,
}

# Those that a filter of system calls knows.
_BY_CALL = {
    "ptrace-attach", "ptrace-seize", "copy-from-memory", "copy-into-memory", "take-descriptor",
    "compare-descriptors", "move-pages", "perf-events",
}  # fmt: skip

# What the kernel asks nothing but the user for. Affinity stays open: libraries bind their own
# threads by their numbers, which look like those of other processes.
INFLUENCES: dict[str, Callable[[int], object]] = {
    "set-limits": _set_limits,
    "set-scheduler": _set_scheduler,
    "set-scheduling": _set_scheduling_attributes,
    "set-affinity": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
    "set-priority": lambda pid: os.setpriority(
        os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)
    ),
    "set-io-priority": lambda pid: call("ioprio_set", 1, pid, 0) and None,
}

SIGNALS: dict[str, Callable[[int], object]] = {
    "signal": lambda pid: os.kill(pid, 0),
    "signal-to-continue": lambda pid: os.kill(pid, signal.SIGCONT),
    "signal-to-thread": lambda pid: call("tgkill", pid, pid, 0) and None,
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
    _refusing = {Means.LANDLOCK_1}
    if _name in _BY_CALL:
        _refusing = {Means.LANDLOCK_1, Means.SECCOMP}
    elif _name == "list-descriptors":  # their numbers: what they are of stays closed
        _refusing = {Means.NOTHING}
    add(f"{_name} {_NEIGHBOUR}", _refusing, _at(_NEIGHBOUR, _action))
for _target in (*_OURS, _NEIGHBOUR):
    for _name, _action in INFLUENCES.items():
        _means = Means.NOTHING if _name == "set-affinity" else Means.SECCOMP
        add(f"{_name} {_target}", _means, _at(_target, _action))
    for _name, _action in SIGNALS.items():
        add(f"{_name} {_target}", Means.LANDLOCK_6, _at(_target, _action))

# What ps shows.
for _target in (*_FOREIGN, _NEIGHBOUR):
    add(f"read-command-line {_target}", Means.NOTHING, _at(_target, _read("cmdline")))

# Supervisor and workers are one group: a signal to that reaches who sends it, if nobody else.
for _target in (*_FOREIGN, _NEIGHBOUR):
    _means = Means.LANDLOCK_6 if _target == _NEIGHBOUR else Means.IDS
    add(f"signal-to-group {_target}", _means, _at(_target, _signal_group))

# setpriority(2) and ioprio_set(2) know users and groups, too.
add(
    "set-priority-of-user",
    Means.SECCOMP,
    lambda _: os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_USER, 0)),
)
add(
    "set-io-priority-of-user",
    Means.SECCOMP,
    lambda _: call("ioprio_set", 3, os.getuid(), 0) and None,
)
add("lower-own-oom-score", Means.IDS, lambda _: _write("/proc/self/oom_score_adj", b"-1"))
add("raise-own-limit", Means.IDS, lambda _: _raise_own_limit())
add("realtime", Means.IDS, lambda _: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))


def _write(path: str, text: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text)


def _raise_own_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Not by the module, which raises a ValueError.
    call("prlimit64", 0, resource.RLIMIT_NOFILE, (ctypes.c_uint64 * 2)(1, hard + 1), 0)
