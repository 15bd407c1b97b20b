"""Find something out in a child that may change its ids and namespaces.

Runs as: root, and the child as whoever it becomes. Imports the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from udsrv.errors import PrivilegeError, UdsrvError
from udsrv.privileged import kernel

PATIENCE_S = 60.0
_PR_SET_KEEPCAPS = 8  # source: prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a child takes over of a process: ids, groups, capabilities and mounts."""

    uids: tuple[int, ...]  # real, effective, saved
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: int  # the permitted set
    mounts: str | None  # the path of a mount namespace; None: as we are


def ask_child(task: Callable[[], object]) -> Any:  # noqa: ANN401 - whatever JSON carries
    """Run ``task`` in a child and return what it returned, which went through JSON.

    Raises:
        PrivilegeError: the child was refused something, died, or took longer than `PATIENCE_S`.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        _child(task, write_fd)
    os.close(write_fd)
    try:
        answer = json.loads(_read_all(read_fd) or '{"refused": "a probe died"}')
    finally:
        os.close(read_fd)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if "refused" in answer:
        raise PrivilegeError(answer["refused"])
    return answer["answer"]


def _child(task: Callable[[], object], write_fd: int) -> NoReturn:
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        answer = {"answer": task()}
    except UdsrvError as error:
        answer = {"refused": str(error)}
    except OSError as error:
        answer = {"refused": f"{error.filename or 'a probe'}: {error.strerror}"}
    except BaseException as error:  # the edge of a process: nothing may return into the parent
        answer = {"refused": repr(error)}
    try:
        with open(write_fd, "w", encoding="ascii") as pipe:
            json.dump(answer, pipe)
    finally:
        os._exit(0)


def _read_all(fd: int) -> bytes:
    data = b""
    until_s = time.monotonic() + PATIENCE_S
    while select.select([fd], [], [], max(0.0, until_s - time.monotonic()))[0]:
        more = os.read(fd, 1 << 16)
        if not more:
            return data
        data += more
    raise PrivilegeError(f"a probe took longer than {PATIENCE_S:g} s")


def enter(namespace: str) -> None:
    """Join the namespace behind a file of /proc. Source: setns(2).

    Raises:
        OSError: the kernel refused.
    """
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(ctypes.c_int(fd), ctypes.c_int(0)) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(fd)


def become(who: Likeness) -> None:
    """Take over the ids, groups, capabilities and mounts of ``who``, and nothing of its sandbox.

    Raises:
        OSError, PrivilegeError: the kernel refused.
    """
    if who.mounts is not None:
        enter(who.mounts)
        os.chdir("/")
    kernel.prctl(_PR_SET_KEEPCAPS, 1)
    if set(os.getgroups()) != set(who.groups):
        os.setgroups(who.groups)
    os.setresgid(*who.gids[:3])
    os.setresuid(*who.uids[:3])
    kernel.set_capabilities(numbers_of(who.capabilities))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of ids has cleared it


def numbers_of(mask: int) -> Iterable[int]:
    """Return the numbers of the bits that are set. Pure."""
    return [number for number in range(64) if mask >> number & 1]
