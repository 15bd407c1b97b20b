"""What a process has to be before it runs the application, as two tables."""

import subprocess
import sys

import pytest

from udsrv.sandbox.proof import Identity, differences, wanted

APP = Identity(uid=990, gid=980, groups=(985, 980))


def test_nothing_differs_from_what_is_wanted():
    demanded = wanted(APP, session=7, fds={0, 1, 2, 3, 5})
    assert differences({**demanded, "Seccomp": "2"}, demanded) == []


def test_every_single_difference_is_named_with_both_values():
    demanded = wanted(APP, session=7, fds={0, 1, 2, 3, 5})
    for name, value in demanded.items():
        assert differences({**demanded, name: "x"}, demanded) == [
            f"{name} is 'x' instead of {value!r}"
        ]


def test_what_the_kernel_does_not_say_differs():
    assert differences({}, {"NoNewPrivs": "1"}) == ["NoNewPrivs is None instead of '1'"]


def test_groups_are_told_in_the_kernels_order():
    demanded = wanted(APP, session=7, fds={5, 0})
    assert demanded["Uid"] == "990 990 990 990"
    assert demanded["Gid"] == "980 980 980 980"
    assert demanded["Groups"] == "980 985"
    assert demanded["descriptors"] == [0, 5]


def test_without_root_nothing_is_demanded_that_only_root_can_change():
    demanded = wanted(None, session=7, fds=())
    assert not {"Uid", "Gid", "Groups", "CapBnd", "securebits"} & set(demanded)
    assert {"CapEff", "NoNewPrivs", "dumpable", "death signal", "core size"} <= set(demanded)


PROVE = """
import os, sys
from udsrv.errors import PrivilegeError
from udsrv.sandbox.proof import found, prove
facts = found()
demanded = {name: facts[name] for name in (
    "Uid", "Gid", "Groups", "NoNewPrivs", "Threads", "session", "dumpable", "securebits",
    "death signal", "core size", "message queues", "open files", "descriptors",
    "descriptors that a program would inherit", "descriptors of directories")}
prove(demanded)
assert facts["Uid"] == " ".join([str(os.getuid())] * 4), facts["Uid"]
assert facts["descriptors"] == [0, 1, 2], facts["descriptors"]
"""


def prove_after(change: str) -> str:
    """Return what is said after ``change`` was made to a process that had proven itself."""
    script = (
        f"{PROVE}\n{change}\ntry:\n    prove(demanded)\nexcept PrivilegeError as e:\n    print(e)"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("pass", None),
        ("kept = os.open('/dev/null', os.O_RDONLY)", "descriptors is [0, 1, 2, 3] instead of"),
        ("kept = os.open('/', os.O_RDONLY)", "descriptors of directories is [3] instead of []"),
        ("os.set_inheritable(2, False)", "descriptors that a program would inherit is [0, 1]"),
        ("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True)"
         ".start()", "Threads is '2' instead of '1'"),
        ("import resource as r; n = r.RLIMIT_NOFILE; r.setrlimit(n, (99, r.getrlimit(n)[1]))",
         "open files is (99, "),
        ("import ctypes; ctypes.CDLL(None).prctl(1, 10, 0, 0, 0)", "death signal is 10 instead of"),
        ("import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)", "dumpable is 0 instead of 1"),
        ("import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)", "NoNewPrivs is '1' instead of"),
    ],
)  # fmt: skip
def test_the_kernel_is_asked_for_each(change, name):
    said = prove_after(change)
    assert (name in said) if name else (said == "")
