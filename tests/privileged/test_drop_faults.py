"""A system call of a start that fails, or lies, never yields a worker that isn't what it should be.

Every call by which a process gives something up is made to fail, one after the other, in a real
server under strace: ``error=EPERM`` lets a call fail, ``retval=0`` lets it do nothing and say that
it succeeded. The application says what it runs as while it is imported. After each fault either
nothing has run it, or the table ``HARMLESS`` says why not and the application found itself with
everything in place.

A clean run first shows which calls there are, so that the walk goes over all of them.
"""

import contextlib
import json
import os
import pwd
import re
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from support import servers
from support.accounts import APP_USER
from support.fixtures import QUICK_STOP_S
from support.servers import UDSRV, Udsrv
from support.strace import FORKS, attached, calls_by_process, in_front, nth_calls
from support.waiting import ProcessEndedError

# The sandbox's, which best-effort goes without, and strict does not.
SANDBOX = ("landlock_create_ruleset", "landlock_restrict_self", "seccomp")

# What the sandbox leaves open, one path each.
RULE = "landlock_add_rule"

# What gives something up. A new layer adds its calls here.
IDENTITY = (
    "setgroups", "setgid", "setresgid", "setuid", "setresuid", "capset", "prctl", "prlimit64",
    "setsid", *SANDBOX,
)  # fmt: skip

# Whatever else a start does to the world outside of its own memory. They may fail in any way that
# is no half-made worker.
OTHER = (
    "execve", "chdir", "dup2", "fcntl", "memfd_create", "socketpair", "epoll_create1", "epoll_ctl",
    "pipe2", "socket", "bind", "listen", "mkdir", "fchmod", "rename", "link", "unlink", "wait4",
    "getppid", "kill", "clone", "clone3", "vfork",
)  # fmt: skip

SOFT_LIMIT = 512

FAILS, LIES = "error=EPERM", "retval=0"

# Calls whose fault a start survives by design, with everything in place: faults, call, reason.
HARMLESS = (
    ({FAILS, LIES}, r".*prctl\(PR_SET_NAME", "what ps shows"),
    ({FAILS, LIES}, r"prctl\(PR_CAPBSET_READ", "a module of the C library's name service asks"),
    ({FAILS, LIES}, r".*prlimit64\(0, RLIMIT_STACK, NULL", "the C library and the shell ask"),
    ({FAILS}, r"dropped: set(res)?[ug]id\((-1, )?0\b", "root is tried again, to be refused"),
    ({FAILS}, r"dropped: setgroups\(1, \[0\]", "root's group is tried again, to be refused"),
    ({LIES}, r"dropped: prctl\(PR_SET_NO_NEW_PRIVS", "inherited: the master has set it on itself"),
    ({LIES}, r"again: (capset|prctl\(PR_SET_NO_NEW_PRIVS)", "the starting image has done it"),
    ({LIES}, r"dropped: capset", "the sets are empty already, since the ids have changed"),
    ({LIES}, r".*prctl\(PR_SET_CHILD_SUBREAPER", "who adopts orphans gives nobody a privilege"),
    ({LIES}, r".*prctl\(PR_GET_DUMPABLE", "0 is the truth"),
)

# Calls whose fault a start may survive or not, with everything of the drop in place.
EITHER = (
    ({LIES}, r"prlimit64\(0, RLIMIT_(CORE|MSGQUEUE|NOFILE), \{", "it may have been as low before"),
    ({FAILS, LIES}, r"dropped: landlock_create_ruleset\(NULL", "as on a kernel without Landlock"),
    ({FAILS}, r"dropped: seccomp\(", "as on a kernel without seccomp"),
)


@dataclass(frozen=True)
class Fate:
    """What became of a start: the application's account of every process that ran it."""

    served: bool
    ran_as: list[dict[str, object]]
    sandboxes: list[dict[str, bool]]  # whether it was filtered, and could write where others can
    log: str


class Rig:
    """Starts servers, each in a directory of its own, and looks at what becomes of them."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._number = count()

    @contextlib.contextmanager
    def server(self, *expressions: str, quick: bool = True) -> Iterator[tuple[Udsrv, Path]]:
        """Yield a server that has just been started, traced if there are ``expressions``."""
        directory = self._directory / str(next(self._number))
        app = directory / "app"
        app.mkdir(parents=True)
        shutil.copy(servers.APPLICATIONS / "facts.py", app)
        trace = directory / "trace"
        words = in_front(trace, *expressions, quick=quick) if expressions else []
        # A soft limit below the hard one, so that there is something to change.
        script = directory / "udsrv"
        script.write_text(
            f'#!/bin/sh\nulimit -S -n {SOFT_LIMIT}\nexec {shlex.join(words)} {UDSRV} "$@"\n'
        )
        script.chmod(0o755)
        # With a TMPDIR of its own a supervisor doesn't clear up behind those of other cases.
        options = ("--user", APP_USER, "-e", "TMPDIR=/tmp", *self._options)
        server = servers.start(directory, "facts:app", *options, udsrv=script)
        try:
            yield server, trace
        finally:
            server.process.send_signal(signal.SIGQUIT)
            try:
                server.process.wait(QUICK_STOP_S)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
            server.notify.close()

    def first_start(self, *expressions: str, quick: bool = True) -> tuple[Fate, str]:
        """Start a server that is traced from its first instruction on."""
        with self.server(*expressions, quick=quick) as (server, trace):
            try:
                server.wait_ready()
            except ProcessEndedError:
                assert not server.socket.exists(), "a socket that nobody serves"
            return fate(server), trace.read_text()

    def next_supervisor(self, *expressions: str, **_: bool) -> tuple[Fate, str]:
        """Start one as usual, then trace what takes the place of its supervisor."""
        with self.server() as (server, trace):
            server.wait_ready()
            (supervisor,) = server.supervisors
            with attached(server.pid, trace, *expressions):
                os.kill(supervisor, signal.SIGKILL)
                server.log.wait_for(
                    r"the supervisor of generation 2 .*; a new|generation 2 did not|"
                    r"ready: .*\n(.*\n)*.*ready: "
                )
                return fate(server, after=1), trace.read_text()

    def next_worker(self, *expressions: str, **_: bool) -> tuple[Fate, str]:
        """Start one as usual, then trace what takes the place of its worker."""
        with self.server() as (server, trace):
            server.wait_ready()
            (supervisor,) = server.supervisors
            (worker,) = server.workers
            with attached(supervisor, trace, *expressions):
                os.kill(worker, signal.SIGKILL)
                server.log.wait_for(
                    r"worker 0 \(pid .*(\n.*)*worker 0 \(pid |ran as(.*\n)*.*ran as"
                )
                return fate(server, after=1), trace.read_text()


def fate(server: Udsrv, *, after: int = 0) -> Fate:
    """Read what the processes said, but for the first ``after`` of them."""
    text = server.log.text()
    lines = [line.partition(" ran as ")[2] for line in text.splitlines() if " ran as " in line]
    ran_as = [json.loads(line) for line in lines[after:]]
    sandboxes = [facts.pop("sandbox") for facts in ran_as]
    return Fate(bool(ran_as), ran_as, sandboxes, text)


@pytest.fixture
def rig(shared_directory: Path) -> Rig:
    return Rig(shared_directory)


def everything_given_up() -> dict[str, object]:
    account = pwd.getpwnam(APP_USER)
    groups = sorted(os.getgrouplist(APP_USER, account.pw_gid))
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536)
    return {
        "Uid": [str(account.pw_uid)] * 4,
        "Gid": [str(account.pw_gid)] * 4,
        "Groups": [str(gid) for gid in groups],
        "NoNewPrivs": ["1"],
        **{name: ["0" * 16] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
        "core": ["0", "0"],
        "queues": ["0", "0"],
        "files": [str(files)] * 2,
        "death signal": 9,
        "dumpable": 0,
        "securebits": 0xE3,
        "session": True,
    }


WHERE = ("first_start", "next_supervisor", "next_worker")


def is_in(table: tuple[tuple[set[str], str, str], ...], call: str, fault: str) -> bool:
    return any(fault in faults and re.match(pattern, call) for faults, pattern, _ in table)


def lacks(got: Fate) -> set[str]:
    """Return what the log has to say of the layers of the sandbox that a process found missing."""
    return {
        *("application may open every file" for facts in got.sandboxes if facts["writes"]),
        *("every system call (no seccomp)" for facts in got.sandboxes if not facts["filtered"]),
    }


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("fault", [FAILS, LIES])
def test_whatever_gives_something_up_may_fail_or_lie(rig, where, fault):
    start = getattr(rig, where)
    clean, trace = start(f"trace={','.join(IDENTITY + FORKS)}")
    assert clean.served
    assert clean.ran_as == [everything_given_up()], clean.log
    assert clean.sandboxes == [{"filtered": True, "writes": False}], clean.log
    processes = calls_by_process(trace, until="prctl(PR_GET_TIMERSLACK")
    if where == "next_worker":  # its parent dropped before it was traced
        processes = [[f"dropped: {call}" for call in calls] for calls in processes]

    def walk(name: str, number: int, calls: set[str]) -> str | None:
        # strace's short cut sets no_new_privs, so that a lie about having done so would be true.
        quick = not any("NO_NEW_PRIVS" in call for call in calls)
        got, _ = start(f"trace={name}", f"inject={name}:{fault}:when={number}", quick=quick)
        if got.ran_as not in ([], [everything_given_up()]):
            return f"{name} {number} {calls}: ran as {got.ran_as}"
        if unsaid := [words for words in lacks(got) if words not in got.log]:
            return f"{name} {number} {calls}: goes without a word: {unsaid}\n{got.log}"
        harmless = all(is_in(HARMLESS + EITHER, call, fault) for call in calls)
        may_differ = any(is_in(EITHER, call, fault) for call in calls)
        if got.served != harmless and (got.served or not may_differ):
            return f"{name} {number} {calls}: served {got.served}\n{got.log}"
        return None

    assert_all(walk, processes, IDENTITY)


@pytest.mark.parametrize("where", WHERE)
def test_strict_goes_without_nothing(shared_directory, where):
    """Each layer is looked at from inside, so that none is there by hearsay."""
    start = getattr(Rig(shared_directory, "--sandbox", "strict"), where)
    clean, trace = start(f"trace={','.join(SANDBOX)}")
    assert clean.sandboxes == [{"filtered": True, "writes": False}], clean.log
    processes = calls_by_process(trace, until="never")

    def walk(name: str, number: int, calls: set[str]) -> str | None:
        for fault in (FAILS, LIES):
            got, _ = start(f"trace={name}", f"inject={name}:{fault}:when={number}")
            if got.served:
                return f"{name} {number} {calls} {fault}: {got.sandboxes}\n{got.log}"
        return None

    assert_all(walk, processes, SANDBOX)


@pytest.mark.parametrize("where", ["first_start", "next_worker"])
def test_a_path_that_landlock_only_claims_to_open_stays_closed(rig, where):
    """A refusal ends the start. After a lie it fails for want of the path, or goes without."""
    start = getattr(rig, where)
    clean, trace = start(f"trace={RULE}")
    processes = calls_by_process(trace, until="never")
    assert any(processes)

    def walk(name: str, number: int, calls: set[str]) -> str | None:
        for fault in (FAILS, LIES):
            got, _ = start(f"trace={name}", f"inject={name}:{fault}:when={number}")
            whole = got.ran_as == clean.ran_as and got.sandboxes == clean.sandboxes
            if got.served and (fault == FAILS or not whole):
                return f"{name} {number} {calls} {fault}: {got.sandboxes}\n{got.log}"
        return None

    assert_all(walk, processes, (RULE,))


def test_whatever_else_fails_makes_no_half_made_worker(rig):
    clean, trace = rig.first_start(f"trace={','.join(OTHER)}")
    assert clean.served
    # Without the shell's helpers, such as find(1), which has hundreds of calls.
    processes = [
        calls
        for calls in calls_by_process(trace, until="never")
        if not [call for call in calls if call.startswith(('execve("/usr/bin', 'execve("/bin'))]
    ]

    def walk(name: str, number: int, calls: set[str]) -> str | None:
        got, _ = rig.first_start(f"trace={name}", f"inject={name}:{FAILS}:when={number}")
        if got.ran_as not in ([], [everything_given_up()]):
            return f"{name} {number} {calls}: ran as {got.ran_as}"
        return None

    assert_all(walk, processes, OTHER)


def assert_all(
    walk: Callable[[str, int, set[str]], str | None],
    processes: list[list[str]],
    names: tuple[str, ...],
) -> None:
    """Go over every call of ``names`` in ``processes``; nothing may be found wrong."""
    with ThreadPoolExecutor(4) as pool:
        cases = [
            pool.submit(walk, name, number, calls)
            for name in names
            for number, calls in enumerate(nth_calls(processes, name), start=1)
        ]
        wrong = [found for case in cases if (found := case.result())]
    assert not wrong, "\n".join(wrong)
