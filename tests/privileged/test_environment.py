"""What of root's environment reaches the application: what is listed and what is named."""

import contextlib
import os
import pwd
import stat
from pathlib import Path

import pytest

from support.accounts import APP_USER, OTHER_USER
from support.directories import copy_readable, make_directory_of
from support.processes import descendants_of, title_of
from support.remote import run_in_worker, start_in_worker
from support.secret_files import (
    behind_a_link,
    fifo,
    in_an_open_directory,
    make_secret,
    missing,
    of_the_application,
    open_to_a_group,
)
from support.servers import APPLICATIONS
from support.strangers import run_as

ENVIRON = "import os; result = dict(os.environ)"
OWN = {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "TMPDIR"}


def test_the_application_gets_its_own_variables_and_the_locale(serve):
    root = {"HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "TZ": "UTC", "SECRET": "hush"}
    environ = run_in_worker(serve(environ=root).socket, ENVIRON)
    account = pwd.getpwnam(APP_USER)
    assert set(environ) == OWN | {"LANG", "TZ"}
    assert environ["HOME"] == account.pw_dir
    assert environ["USER"] == environ["LOGNAME"] == APP_USER
    assert environ["SHELL"] == account.pw_shell


def test_dropped_names_are_logged_once_and_values_never(serve):
    server = serve(environ={"LANG": "C.UTF-8", "SECRET": "hush", "PYTHONPATH": "/evil"})
    text = server.log.text()
    assert text.count("not passed to the application (see --pass-env): PYTHONPATH SECRET\n") == 1
    assert "hush" not in text
    assert "/evil" not in text


def test_what_the_operator_names_is_passed_and_the_later_source_wins(serve, shared_directory):
    file = shared_directory / "app.env"
    file.write_text("# for the application\nB=file\nC='file'\n")
    file.chmod(0o600)
    server = serve(
        "--pass-env", "A,B", "--pass-env", "C*", "--env-file", str(file), "-e", "C=flag",
        environ={"A": "root's", "B": "root's", "C": "root's", "CD": "root's", "D": "root's"},
    )  # fmt: skip
    environ = run_in_worker(server.socket, ENVIRON)
    got = {name: environ.get(name) for name in ("A", "B", "C", "CD", "D")}
    assert got == {"A": "root's", "B": "file", "C": "flag", "CD": "root's", "D": None}


def test_nothing_of_the_service_managers_reaches_the_application(serve):
    between = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x", "WATCHDOG_USEC": "1"}
    server = serve("--pass-env", "*", environ={**between, "UDSRV_WORKERS": "2", "LANG": "C.UTF-8"})
    environ = run_in_worker(server.socket, ENVIRON)
    assert set(environ) - {"PWD"} == OWN | {"LANG"}
    assert environ["HOME"] != os.environ["HOME"]
    assert "NOTIFY_SOCKET" not in server.log.text()


def test_the_running_master_has_the_locale_in_its_environment_alone(serve):
    server = serve("--pass-env", "NAMED", environ={"LANG": "C.UTF-8", "NAMED": "value"})
    assert Path(f"/proc/{server.pid}/environ").read_bytes() == b"LANG=C.UTF-8\0"
    assert run_in_worker(server.socket, ENVIRON)["NAMED"] == "value"


def test_secrets_are_in_no_command_line(serve, shared_directory):
    file = shared_directory / "app.env"
    file.write_text("DATABASE_URL=hush\n")
    file.chmod(0o600)
    server = serve("--env-file", str(file))
    assert run_in_worker(server.socket, ENVIRON)["DATABASE_URL"] == "hush"
    for pid in (server.pid, *descendants_of(server.pid)):
        assert "hush" not in title_of(pid)
    assert "hush" not in server.log.text()
    assert b"hush" not in Path(f"/proc/{server.pid}/environ").read_bytes()


LOOK_AROUND = """
import os, sys
pids = sys.argv[1:]
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                found = b"hu" + b"sh" in file.read()
        except PermissionError:
            if name == "environ" and pid in pids:
                pids.remove(pid)
        except OSError:
            pass
        else:
            if found:
                print(pid, name)
print("readable:", *pids)
"""


def test_another_user_finds_no_secret_in_the_processes_of_the_machine(serve, shared_directory):
    file = shared_directory / "secret"
    file.write_text("SECRET=hush\n")
    file.chmod(0o600)
    server = serve("--env-file", str(file), "--credential", f"key:{file}")
    pids = (server.pid, *descendants_of(server.pid))
    assert len(pids) == 3
    assert run_as(OTHER_USER, LOOK_AROUND, *pids) == "readable:"
    assert run_as(OTHER_USER, LOOK_AROUND, os.getpid()) == "readable:"


def test_a_worker_that_crashes_leaves_no_core(serve, shared_directory):
    directory = make_directory_of(APP_USER, shared_directory / "cwd")
    copy_readable(APPLICATIONS / "remote.py", directory)
    server = serve("--chdir", str(directory), "--write-path", str(directory))
    # Not dumpable: the kernel gives its files in /proc to root. Source: proc(5), prctl(2).
    for pid in descendants_of(server.pid):
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    (worker,) = server.workers
    crash = """
    import os, resource, signal
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    os.kill(os.getpid(), signal.SIGSEGV)
    """
    with contextlib.closing(start_in_worker(server.socket, crash)):
        server.log.wait_for(rf"pid {worker}\) was killed by signal 11")
    assert set(os.listdir(directory)) == {"remote.py", "__pycache__"}


def test_the_temporary_directory_is_private_and_goes_with_the_server(serve):
    server = serve()
    path = Path(run_in_worker(server.socket, "import tempfile; result = tempfile.gettempdir()"))
    facts = path.stat()
    assert facts.st_uid == pwd.getpwnam(APP_USER).pw_uid
    assert stat.S_IMODE(facts.st_mode) == 0o700
    run_in_worker(server.socket, f"open('{path}/file', 'w').close()")
    assert server.stop() == 0
    assert not path.exists()


def malformed(file):
    file.write_text("DATABASE_URL hush\n")


REFUSED = {
    open_to_a_group: (
        78,
        "(uid 0, gid 0, mode 0640) is open to others; it must belong to uid 0",
    ),
    of_the_application: (
        78,
        "Permission denied; it must belong to uid 0 with mode 0600",
    ),
    behind_a_link: (78, "app.env: "),
    in_an_open_directory: (77, "is writable by everybody"),
    malformed: (78, "app.env:1 is not NAME=VALUE"),
    missing: (78, "app.env: No such file or directory"),
    fifo: (78, "app.env is not a plain file"),
}


@pytest.mark.parametrize(("spoil", "outcome"), REFUSED.items())
def test_an_environment_file_that_others_could_know_or_change_is_refused(
    serve, shared_directory, spoil, outcome
):
    file = make_secret(shared_directory / "etc" / "app.env", "DATABASE_URL=hush\n")
    spoil(file)
    server = serve("--env-file", str(file), ready=False)
    code, sentence = outcome
    assert server.wait_end() == code
    last = server.log.text().splitlines()[-1]
    assert last.startswith("udsrv: ")
    assert sentence in last
    assert "hush" not in server.log.text()
    assert list(server.socket.parent.iterdir()) == []
