"""Starting a program with exactly the descriptors it is given, as ourselves."""

import os
import signal
import sys

import pytest

from udsrv.errors import ConfigError, PrivilegeError
from udsrv.privileged.spawn import SpawnSpec, run_as, spawn


def run(script: str, *, fds=(), environ=None, directory="/") -> tuple[str, int]:
    read_fd, write_fd = os.pipe()
    argv = [sys.executable, "-I", "-c", script]
    pid = spawn(SpawnSpec(argv, environ or {}, directory, (0, write_fd, 2, *fds), None))
    os.close(write_fd)
    with os.fdopen(read_fd) as output:
        text = output.read()
    return text.strip(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_program_gets_the_given_descriptors_and_no_others():
    stray_fd = os.dup(2)
    os.set_inheritable(stray_fd, True)
    with open("/dev/zero") as zero, open("/dev/full") as full:
        script = "import os; print([os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir("
        script += "'/proc/self/fd') if int(fd) > 2 and os.path.exists(f'/proc/self/fd/{fd}')])"
        text, code = run(script, fds=(full.fileno(), zero.fileno()))
    os.close(stray_fd)
    assert (text, code) == ("['/dev/full', '/dev/zero']", 0)


def test_descriptors_may_change_places():
    with open("/dev/zero") as zero, open("/dev/full") as full:
        pairs = sorted([zero.fileno(), full.fileno()], reverse=True)
        names = [os.readlink(f"/proc/self/fd/{fd}") for fd in pairs]
        script = "import os; print([os.readlink(f'/proc/self/fd/{fd}') for fd in (3, 4)])"
        assert run(script, fds=pairs)[0] == str(names)


def test_the_environment_and_directory_are_the_given_ones():
    script = "import os; print(sorted(os.environ.items()), os.getcwd())"
    text, _ = run(script, environ={"A": "1", "LC_ALL": "C.UTF-8"}, directory="/usr")
    assert text == "[('A', '1'), ('LC_ALL', 'C.UTF-8')] /usr"


def test_the_program_has_a_session_of_its_own_and_a_closed_umask():
    text, _ = run("import os; print(os.getsid(0) == os.getpid(), oct(os.umask(0)))")
    assert text == "True 0o77"


def test_signals_have_their_default_meaning_and_none_is_blocked():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        script = "import signal; print(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL,"
        script += " signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
        assert run(script)[0] == "True set()"
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        signal.signal(signal.SIGUSR1, before)


def test_the_program_dies_with_its_starter():
    script = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n));"
    assert run(f"{script} print(n.value)")[0] == str(signal.SIGKILL.value)


def test_a_program_that_cannot_be_started_is_said_in_one_line(capfd):
    pid = spawn(SpawnSpec(["/no/such/python"], {}, "/", (0, 1, 2), None))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 77
    assert capfd.readouterr().err == "udsrv: /no/such/python: No such file or directory\n"


def test_a_directory_that_is_gone_is_said_in_one_line(capfd):
    pid = spawn(SpawnSpec([sys.executable], {}, "/no/such", (0, 1, 2), None))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 77
    assert capfd.readouterr().err == "udsrv: /no/such: No such file or directory\n"


def raise_config_error():
    raise ConfigError("one sentence")


def raise_key_error():
    raise KeyError("mistake")


def exit_five():
    raise SystemExit(5)


@pytest.mark.parametrize(
    ("task", "code", "text"),
    [
        (lambda: None, 0, ""),
        (raise_config_error, 78, "udsrv: one sentence\n"),
        (raise_key_error, 70, "udsrv: KeyError('mistake')\n"),
        (exit_five, 70, "udsrv: SystemExit(5)\n"),
    ],
)
def test_a_task_never_returns_into_its_starter(capfd, task, code, text):
    assert run_as(None, task) == code
    assert capfd.readouterr().err == text


def test_a_task_that_is_killed_is_an_error():
    with pytest.raises(PrivilegeError, match="killed by signal 9"):
        run_as(None, lambda: os.kill(os.getpid(), signal.SIGKILL))
