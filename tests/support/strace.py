"""Let system calls of a running program fail, or claim to have worked. Source: strace(1)."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

# What starts a process; traced, they tell whose child each is.
FORKS = ("clone", "clone3", "fork", "vfork")
_FORKED = re.compile(rf"^(\d+) +(?:<\.\.\. )?(?:{'|'.join(FORKS)})\b.* = (\d+)$", re.MULTILINE)

# A line of `strace -f -o` in which a call begins: the pid, the name, and the rest.
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$", re.MULTILINE)


def in_front(trace: Path, *expressions: str, quick: bool = True) -> list[str]:
    """Return what to put in front of a command, so that it is traced in the process it starts in.

    The tracer writes ``trace``, and ends with the last process that it traces. With ``quick``,
    calls that aren't traced cost nothing; for that strace sets no_new_privs on the command.
    """
    words = ["strace", "-D", "-f", *(["--seccomp-bpf"] if quick else []), "-qq", "-o", str(trace)]
    return words + [word for expression in expressions for word in ("-e", expression)]


@contextlib.contextmanager
def attached(pid: int, trace: Path, *expressions: str) -> Iterator[None]:
    """Trace process ``pid``, and what it starts from now on, until the end of the block."""
    words = ["strace", "-f", "-p", str(pid), "-o", str(trace)]
    for expression in expressions:
        words += ["-e", expression]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        try:
            assert "attached" in said, said
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()


def calls_by_process(trace: str, *, until: str) -> list[list[str]]:
    """Return every process's calls in ``trace``, each as ``name(arguments``, in their order. Pure.

    A process's list ends before the call that begins with ``until``. ``dropped: `` stands before
    the calls of a process that has changed its real user, or whose parent has, if ``FORKS`` are
    traced; and ``again: `` before what it has done as root in the same words before.
    """
    calls: dict[str, list[str]] = defaultdict(list)
    parents = {child: parent for parent, child in _FORKED.findall(trace)}
    dropped, ended = set(), set()
    for pid, name, rest in _CALL.findall(trace):
        call = f"{name}({rest}"
        if call.startswith(until):
            ended.add(pid)
        if pid not in calls and parents.get(pid) in dropped:
            dropped.add(pid)
        if pid not in ended:
            label = "dropped: " if pid in dropped else "again: " if call in calls[pid] else ""
            calls[pid].append(label + call)
        if name == "setresuid" and not rest.startswith("-1"):
            dropped.add(pid)
    return list(calls.values())


def nth_calls(processes: Sequence[Sequence[str]], name: str) -> list[set[str]]:
    """Return, for N from 1 up, what the N-th call of ``name`` is in each process. Pure.

    That is what ``inject=NAME:when=N`` hits, since strace counts for each process.
    """
    of_name = [
        [
            call
            for call in calls
            if call.startswith((f"{name}(", f"dropped: {name}(", f"again: {name}("))
        ]
        for calls in processes
    ]
    most = max(map(len, of_name), default=0)
    return [{calls[n] for calls in of_name if n < len(calls)} for n in range(most)]
