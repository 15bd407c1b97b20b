"""Run a server on what looks like an older kernel: less of Landlock, or no seccomp.

A seccomp filter around it answers the question which ABI of Landlock there is, so that everything
inside goes the way that it goes on such a kernel. As a program, it becomes the command it is given:
``older_kernel.py ABI seccomp|no-seccomp COMMAND...``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
from pathlib import Path

from support.accounts import PYTHON

# Source: landlock(7), seccomp(2), seccomp_unotify(2), linux/bpf_common.h.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_ASKED_FOR_THE_VERSION = 1
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY, _FAIL = 0x7FFF0000, 0x7FC00000, 0x00050000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _THIRD_ARGUMENT = 0, 32  # where struct seccomp_data has them
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION_BYTES = 80
_PR_SET_NO_NEW_PRIVS = 38


def launcher(directory: Path, udsrv: Path, *, abi: int, seccomp: bool = True) -> Path:
    """Make a program that starts ``udsrv`` where Landlock has ``abi``, 0 for none."""
    path = directory / f"on-abi-{abi}{'' if seccomp else '-without-seccomp'}"
    word = "seccomp" if seccomp else "no-seccomp"
    ours = f"PYTHONPATH={Path(__file__).parents[1]} exec {PYTHON} -m {__name__}"
    path.write_text(f'#!/bin/sh\n{ours} {abi} {word} {udsrv} "$@"\n')
    path.chmod(0o755)
    return path


def _program(abi: int, *, seccomp: bool) -> list[tuple[int, int, int, int]]:
    """Return the filter: code, jump if true, jump if false, operand."""
    enosys = _FAIL | errno.ENOSYS
    if not seccomp:
        return [
            (_LOAD, 0, 0, _NUMBER),
            (_IF_EQUAL, 0, 1, _SECCOMP[platform.machine()]),
            (_RETURN, 0, 0, enosys),
            (_RETURN, 0, 0, _ALLOW),
        ]
    if abi == 0:
        return [
            (_LOAD, 0, 0, _NUMBER),
            (_IF_AT_LEAST, 0, 2, _LANDLOCK_CREATE_RULESET),
            (_IF_AT_LEAST, 1, 0, _LANDLOCK_RESTRICT_SELF + 1),
            (_RETURN, 0, 0, enosys),
            (_RETURN, 0, 0, _ALLOW),
        ]
    return [
        (_LOAD, 0, 0, _NUMBER),
        (_IF_EQUAL, 0, 3, _LANDLOCK_CREATE_RULESET),
        (_LOAD, 0, 0, _THIRD_ARGUMENT),
        (_IF_EQUAL, 0, 1, _ASKED_FOR_THE_VERSION),
        (_RETURN, 0, 0, _NOTIFY),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _install(program: list[tuple[int, int, int, int]], flags: int) -> int:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    pointer = ctypes.byref(Program(len(program), code))
    fd = libc.syscall(_SECCOMP[platform.machine()], _SET_MODE_FILTER, flags, pointer)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(fd)


def _answer(listener_fd: int, abi: int) -> None:
    """Answer each question with ``abi`` until nobody is left to ask."""
    poll = select.poll()
    poll.register(listener_fd, select.POLLIN)
    while not poll.poll()[0][1] & select.POLLHUP:
        question = bytearray(_NOTIFICATION_BYTES)
        try:
            fcntl.ioctl(listener_fd, _RECEIVE, question)
            number = struct.unpack_from("=Q", question)[0]
            fcntl.ioctl(listener_fd, _SEND, struct.pack("=QqiI", number, abi, 0, 0))
        except OSError as error:
            if error.errno != errno.ENOENT:  # who asked is gone
                raise


def _start_answering(abi: int) -> socket.socket:
    """Fork who answers, not as a child of ours; return where it waits for its descriptor."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            ours.close()
            _, (listener_fd,), _, _ = socket.recv_fds(theirs, 1, 1)
            for fd in (0, 1, 2):
                os.close(fd)
            _answer(listener_fd, abi)
        os._exit(0)
    os.waitpid(child, 0)
    theirs.close()
    return ours


def main() -> None:
    """Become the command."""
    abi, seccomp, command = int(sys.argv[1]), sys.argv[2] == "seccomp", sys.argv[3:]
    program = _program(abi, seccomp=seccomp)
    if seccomp and abi:
        waiting = _start_answering(abi)
        listener_fd = _install(program, _NEW_LISTENER)
        socket.send_fds(waiting, [b"."], [listener_fd])
        os.close(listener_fd)
        waiting.close()
    else:
        _install(program, 0)
    os.environ.pop("PYTHONPATH", None)
    os.execv(command[0], command)  # noqa: S606 - exec is the point


if __name__ == "__main__":
    main()
