"""Become root again, or anybody else."""

from __future__ import annotations

import ctypes
import os
import subprocess

from .calls import call, libc
from .registry import Facts, Means, RefusedError, add, attack

for _name, _attempt in {
    "setuid": lambda _: os.setuid(0),
    "seteuid": lambda _: os.seteuid(0),
    "setreuid": lambda _: os.setreuid(0, 0),
    "setresuid": lambda _: os.setresuid(0, 0, 0),
    "setgid": lambda _: os.setgid(0),
    "setegid": lambda _: os.setegid(0),
    "setregid": lambda _: os.setregid(0, 0),
    "setresgid": lambda _: os.setresgid(0, 0, 0),
    "setgroups": lambda _: os.setgroups([0]),
    "leave-groups": lambda _: os.setgroups([]),
    "chown-file": lambda facts: os.chown(facts["own_file"], 0, -1),
    "chroot": lambda _: os.chroot("/"),
}.items():
    add(_name, Means.IDS, _attempt)


def _refuse_unless(is_root: bool) -> str:
    if not is_root:
        raise RefusedError("still the same")
    return "root"


# setfsuid(2) reports no error: it returns what was before.
@attack("setfsuid", Means.IDS, "still the same")
def _setfsuid(_: Facts) -> str:
    libc.setfsuid(0)
    return _refuse_unless(libc.setfsuid(-1) == 0)


@attack("setfsgid", Means.IDS, "still the same")
def _setfsgid(_: Facts) -> str:
    libc.setfsgid(0)
    return _refuse_unless(libc.setfsgid(-1) == 0)


@attack("set-user-id-program", Means.NO_NEW_PRIVS, "still the same")
def _set_user_id_program(facts: Facts) -> str:
    shown = subprocess.run([facts["set_uid_id"], "-u"], capture_output=True, check=True).stdout
    return _refuse_unless(shown == b"0\n")


@attack("file-capability-program", Means.NO_NEW_PRIVS, "still the same")
def _file_capability_program(facts: Facts) -> str:
    result = subprocess.run(
        [facts["capable_cat"], "/proc/self/status"], capture_output=True, check=False
    )
    (held,) = (line for line in result.stdout.split(b"\n") if line.startswith(b"CapEff"))
    return _refuse_unless(int(held.split()[1], 16) != 0)


@attack("capset", Means.IDS)
def _capset(_: Facts) -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    every = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    call("capset", header, every)


@attack("ambient-capability", Means.IDS)
def _ambient_capability(_: Facts) -> None:
    call("prctl", 47, 2, 7, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID


@attack("keep-capabilities-unlocked", Means.IDS)
def _securebits(_: Facts) -> None:
    call("prctl", 28, 0, 0, 0, 0)  # PR_SET_SECUREBITS


@attack("no-new-privs-off", Means.NO_NEW_PRIVS, "EINVAL")
def _no_new_privs_off(_: Facts) -> None:
    call("prctl", 38, 0, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS


for _name, _path, _text in (
    ("map-uids", "/proc/self/uid_map", "0 0 1\n"),
    ("map-gids", "/proc/self/gid_map", "0 0 1\n"),
):

    def _map(_: Facts, path: str = _path, text: str = _text) -> None:
        with open(path, "w") as file:
            file.write(text)

    add(_name, Means.IDS, _map)
