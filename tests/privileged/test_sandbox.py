"""What code inside a worker may do: on this kernel, and on one whose Landlock is as old as ABI 2.

Each attack says since which ABI of Landlock it fails; 0: by seccomp or by the ids alone.
"""

from __future__ import annotations

import errno
import re
import shutil
import socket
from dataclasses import dataclass

import pytest

from support import older_kernel
from support.accounts import APP_USER, OTHER_USER
from support.directories import make_directory_of
from support.remote import run_in_worker
from support.servers import UDSRV

NEVER = 99


@dataclass(frozen=True)
class Attack:
    """Python that runs in a worker, and how it is refused."""

    source: str
    refusal: int
    since_abi: int = 0


# ``sibling`` and ``supervisor`` are pids; ``place`` is a directory with other users' things in it.
ATTACKS = {
    # Files.
    "read /etc/shadow": Attack("open('/etc/shadow')", errno.EACCES),
    "list /root": Attack("os.listdir('/root')", errno.EACCES),
    "list /var/log": Attack("os.listdir('/var/log')", errno.EACCES, 1),
    "list homes": Attack("os.listdir('/home')", errno.EACCES, 1),
    "read another's file": Attack("open(place + '/other/public')", errno.EACCES, 1),
    "run a program from elsewhere": Attack(
        "subprocess.run([place + '/other/true'])", errno.EACCES, 1
    ),
    "write below /tmp": Attack("os.mkdir('/tmp/udsrv-attack-%d' % os.getpid())", errno.EACCES, 1),
    "remove below /tmp": Attack("os.rmdir(place + '/own/empty')", errno.EACCES, 1),
    "write the application": Attack("open('planted.py', 'w')", errno.EACCES),
    "write its own file elsewhere": Attack("open(place + '/own/file', 'w')", errno.EACCES, 1),
    "empty its own file elsewhere": Attack("os.truncate(place + '/own/file', 0)", errno.EACCES, 3),
    "write to the temporary directory": Attack("tempfile.TemporaryFile()", 0),
    # Other processes.
    "signal the supervisor": Attack("os.kill(supervisor, 0)", errno.EPERM, 6),
    "signal a sibling": Attack("os.kill(sibling, 0)", errno.EPERM, 6),
    "signal itself": Attack("os.kill(os.getpid(), 0)", 0),
    "trace a sibling": Attack("call('ptrace', 16, sibling, 0, 0)", errno.EPERM),
    "trace the supervisor": Attack("call('ptrace', 16, supervisor, 0, 0)", errno.EPERM),
    "read a sibling's memory": Attack(
        "call('process_vm_readv', sibling, 0, 0, 0, 0, 0)", errno.EPERM
    ),
    "take a sibling's descriptor": Attack(
        "call('pidfd_getfd', os.pidfd_open(sibling), 0, 0)", errno.EPERM
    ),
    "open a sibling's memory": Attack("open(f'/proc/{sibling}/mem')", errno.EACCES),
    "read a sibling's variables": Attack("open(f'/proc/{sibling}/environ')", errno.EACCES),
    "list a sibling's descriptors": Attack("os.listdir(f'/proc/{sibling}/fd')", errno.EACCES),
    "read the supervisor's variables": Attack("open(f'/proc/{supervisor}/environ')", errno.EACCES),
    # The kernel.
    "unshare a user namespace": Attack("call('unshare', 0x10000000)", errno.EPERM),
    "clone into a user namespace": Attack("call('clone', 0x10000000 | 17, 0)", errno.EPERM),
    "clone3": Attack("call('clone3', 0, 0)", errno.ENOSYS),
    "setns": Attack("call('setns', 0, 0)", errno.EPERM),
    "mount": Attack("call('mount', 0, 0, 0, 0, 0)", errno.EPERM),
    "io_uring_setup": Attack("call('io_uring_setup', 8, 0)", errno.ENOSYS),
    "bpf": Attack("call('bpf', 0, 0, 0)", errno.EPERM),
    "keyctl": Attack("call('keyctl', 0, -3, 0)", errno.EPERM),
    "userfaultfd": Attack("call('userfaultfd', 1)", errno.EPERM),
    "perf_event_open": Attack("call('perf_event_open', 0, 0, 0, 0, 0)", errno.EPERM),
    "personality": Attack("call('personality', 0x0040000)", errno.EPERM),
    "ask for the personality": Attack("call('personality', 0xffffffff)", 0),
    "type into a terminal": Attack(
        "fcntl.ioctl(0, 0x5412, b'x')", errno.EPERM
    ),
    "a call that is newer than the policy": Attack("call('newer', 0)", errno.ENOSYS),
    # The network.
    "netlink": Attack("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", errno.EAFNOSUPPORT),
    "packets": Attack("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", errno.EAFNOSUPPORT),
    "vsock": Attack("socket.socket(socket.AF_VSOCK)", errno.EAFNOSUPPORT),
    "ciphers of the kernel": Attack("socket.socket(socket.AF_ALG)", errno.EAFNOSUPPORT),
    "multipath TCP": Attack(
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)", errno.EPROTONOSUPPORT
    ),
    "bind a TCP port": Attack("socket.socket().bind(('127.0.0.1', 0))", errno.EACCES, 4),
    "listen on a port that the kernel chooses": Attack("socket.socket().listen()", 0, NEVER),
    "an abstract socket": Attack(
        "socket.socket(socket.AF_UNIX).connect('\\0' + abstract)", errno.EPERM, 6
    ),
    "another program's socket": Attack(
        "socket.socket(socket.AF_UNIX).connect(place + '/other/socket')", errno.EACCES, 9
    ),
}  # fmt: skip

ATTEMPT = """
import ctypes, fcntl, os, platform, re, socket, subprocess, tempfile
NUMBERS = {{
    "x86_64": dict(ptrace=101, process_vm_readv=310, unshare=272, clone=56, setns=308, mount=165,
        bpf=321, keyctl=250, userfaultfd=323, perf_event_open=298, personality=135),
    "aarch64": dict(ptrace=117, process_vm_readv=270, unshare=97, clone=220, setns=268, mount=40,
        bpf=280, keyctl=219, userfaultfd=282, perf_event_open=241, personality=92),
}}[platform.machine()] | dict(clone3=435, io_uring_setup=425, pidfd_getfd=438, newer=600)
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if libc.syscall(NUMBERS[name], *map(ctypes.c_ulong, arguments)) == -1:
        raise OSError(ctypes.get_errno(), name)
supervisor, place, abstract = os.getppid(), {place!r}, {abstract!r}
(sibling,) = {{*{workers}}} - {{os.getpid()}}
result = {{}}
for name, source in {sources!r}.items():
    try:
        exec(source)
    except OSError as error:
        result[name] = error.errno
    else:
        result[name] = 0
"""


@pytest.fixture(scope="module", params=["this kernel", "Landlock ABI 2", "no Landlock"])
def server(request, start_module_udsrv, module_directory):
    directory, options = module_directory, {}
    abi = {"this kernel": None, "Landlock ABI 2": 2, "no Landlock": 0}[request.param]
    if abi is not None:
        options["udsrv"] = older_kernel.launcher(directory, UDSRV, abi=abi)
    socket_path = directory / "run" / f"{abi}.sock"
    return start_module_udsrv(
        "remote:app", "--user", APP_USER, "--workers", "2", socket=socket_path, **options
    )


@pytest.fixture(scope="module")
def place(module_directory):
    """Return a directory with what others have made readable, and with the application's own."""
    other = make_directory_of(OTHER_USER, module_directory / "other")
    (other / "public").write_text("public")
    (other / "public").chmod(0o644)
    shutil.copy("/usr/bin/true", other / "true")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other / "socket"))
        (other / "socket").chmod(0o666)
        listener.listen()
        own = make_directory_of(APP_USER, module_directory / "own")
        make_directory_of(APP_USER, own / "empty")
        (own / "file").write_text("content")
        shutil.chown(own / "file", APP_USER)
        yield module_directory


@pytest.fixture(scope="module")
def outcomes(server, place):
    """Return how each attack went: 0 or an errno."""
    server.log.wait_for(r"\[worker 1\] loaded")
    (abi,) = re.findall(r"sandbox: (?:Landlock ABI (\d+)|no Landlock)", server.log.text())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # a name that the kernel chooses: unix(7), autobind
        listener.listen()
        source = ATTEMPT.format(
            place=str(place),
            abstract=listener.getsockname().decode()[1:],
            workers=server.workers,
            sources={name: attack.source for name, attack in ATTACKS.items()},
        )
        return int(abi or 0), run_in_worker(server.socket, source)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails_where_the_kernel_has_the_means(outcomes, name):
    abi, results = outcomes
    attack = ATTACKS[name]
    assert results[name] == (attack.refusal if abi >= attack.since_abi else 0)
