"""Credentials: from root's files to the application's processes, and to nobody else."""

import fcntl
import os
import pwd
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from support.accounts import APP_USER, NGINX_USER, OTHER_USER
from support.processes import descendants_of, title_of
from support.remote import run_in_worker
from support.secret_files import (
    behind_a_link,
    fifo,
    in_a_directory_of_the_application,
    in_an_open_directory,
    make_secret,
    missing,
    of_the_application,
    open_to_a_group,
    open_to_all,
)
from support.strangers import run_as
from support.waiting import wait_for_end

CONTENT = "hush-Grüße\0\n"
DIRECTORY = "import os; result = os.environ['CREDENTIALS_DIRECTORY']"


@pytest.fixture(scope="module")
def etc(module_directory):
    """Where root keeps its secrets."""
    directory = module_directory / "etc"
    directory.mkdir(mode=0o755)
    for name, content in {"password": CONTENT, "key": "hush-key"}.items():
        file = directory / name
        file.write_text(content)
        file.chmod(0o600)
    return directory


@pytest.fixture(scope="module")
def server(start_module_udsrv, etc):
    """One server whose application has two credentials, one of each kind."""
    server = start_module_udsrv(
        "remote:app", "--user", APP_USER, "--workers", "2",
        "--credential", f"db.password:{etc}/password", "--credential", "key",
        environ={"CREDENTIALS_DIRECTORY": str(etc)},
    )  # fmt: skip
    server.log.wait_for(r"\[worker 1\] loaded")
    return server


@pytest.fixture(scope="module")
def directory(server):
    return Path(run_in_worker(server.socket, DIRECTORY))


def test_the_application_reads_what_root_named(server):
    source = """
    import os
    here = os.environ["CREDENTIALS_DIRECTORY"]
    result = {name: open(f"{here}/{name}", newline="").read() for name in os.listdir(here)}
    """
    assert run_in_worker(server.socket, source) == {"db.password": CONTENT, "key": "hush-key"}


def test_so_do_the_programs_that_it_runs(server):
    source = """
    import subprocess
    command = 'cat "$CREDENTIALS_DIRECTORY/key"'
    result = subprocess.run(command, shell=True, capture_output=True, text=True).stdout
    """
    assert run_in_worker(server.socket, source) == "hush-key"


def test_the_files_are_the_applications_and_closed(directory):
    uid = pwd.getpwnam(APP_USER).pw_uid
    assert (directory.stat().st_uid, stat.S_IMODE(directory.stat().st_mode)) == (uid, 0o500)
    for file in directory.iterdir():
        facts = file.stat()
        assert (facts.st_uid, stat.S_IMODE(facts.st_mode), facts.st_nlink) == (uid, 0o400, 1)


def test_they_are_in_memory_and_not_where_temporary_files_go(server, directory):
    command = ["stat", "--file-system", "--format=%T", directory]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"tmpfs\n"
    temporary = run_in_worker(server.socket, "import tempfile; result = tempfile.gettempdir()")
    assert temporary not in map(str, directory.parents)


@pytest.mark.parametrize("user", [OTHER_USER, NGINX_USER])
def test_no_other_user_reads_or_lists_them(directory, user):
    source = """
import os, sys
for attempt in (os.listdir, lambda path: open(path + "/key"), os.chdir):
    try:
        attempt(sys.argv[1])
    except OSError as error:
        print(error.strerror)
"""
    assert run_as(user, source, directory) == "\n".join(["Permission denied"] * 3)


def test_a_worker_can_not_change_what_its_siblings_read(server, directory):
    source = f"""
    import os
    result = {{}}
    attempts = {{
        "write": lambda: open("{directory}/key", "w"),
        "remove": lambda: os.unlink("{directory}/key"),
        "add": lambda: open("{directory}/new", "w"),
        "move": lambda: os.rename("{directory}/key", "{directory}/new"),
    }}
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            result[name] = error.strerror
    """
    outcomes = run_in_worker(server.socket, source)
    assert outcomes == dict.fromkeys(("write", "remove", "add", "move"), "Permission denied")


def test_no_command_line_environment_or_log_holds_them(server):
    for pid in (server.pid, *descendants_of(server.pid)):
        assert "hush" not in title_of(pid)
        assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "hush" not in server.log.text()


def memory_files(pid: int) -> list[Path]:
    """Return the descriptors of ``pid`` that are memfds of credentials."""
    fds = Path(f"/proc/{pid}/fd").iterdir()
    return [fd for fd in fds if str(fd.readlink()).startswith("/memfd:udsrv-credentials")]


def test_the_master_keeps_them_sealed_and_the_application_has_no_such_descriptor(server):
    (held,) = memory_files(server.pid)
    fd = os.open(held, os.O_RDONLY)
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    finally:
        os.close(fd)
    assert seals == (
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    )
    for pid in descendants_of(server.pid):
        assert memory_files(pid) == []
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    assert "udsrv-credentials" not in maps


def credential(etc, name: str = "key") -> tuple[str, str]:
    return "--credential", f"{name}:{etc}/{name}"


def test_they_are_there_when_the_application_is_imported_and_go_with_the_server(
    serve, etc, shared_directory
):
    code = "import os; HERE = os.environ['CREDENTIALS_DIRECTORY']; KEY = open(HERE + '/key').read()"
    server = serve(*credential(etc), "--preload", "-e", f"BEFORE_LOADING={code}", app="gated:app")
    here, key = run_in_worker(server.socket, "import gated; result = [gated.HERE, gated.KEY]")
    assert key == "hush-key"
    assert Path(here).is_dir()
    assert server.stop() == 0
    assert not Path(here).exists()


def test_the_next_generation_has_its_own_and_removes_what_a_killed_one_left(serve, etc):
    server = serve(*credential(etc))
    old = Path(run_in_worker(server.socket, DIRECTORY))
    (supervisor,) = server.supervisors
    os.kill(supervisor, signal.SIGKILL)
    wait_for_end(supervisor)
    server.log.wait_for("ready: ", times=2)
    new = Path(run_in_worker(server.socket, DIRECTORY))
    assert new != old
    assert (new / "key").read_text() == "hush-key"
    assert not old.exists()


def test_the_next_server_removes_what_a_killed_one_left(serve, etc):
    server = serve(*credential(etc))
    left = Path(run_in_worker(server.socket, DIRECTORY))
    below = descendants_of(server.pid)
    server.process.kill()
    server.wait_end()
    wait_for_end(*below)
    assert left.exists()
    # The path that the killed one left is stale, and replaced.
    serve(*credential(etc))
    assert not left.exists()


def too_large(file):
    file.write_bytes(b"x" * (2**20 + 1))


MENDED = "it must belong to uid 0 with mode 0600: chown 0 {file} && chmod 0600 {file}"
REFUSED = {
    open_to_all: (78, "{file} (uid 0, gid 0, mode 0644) is open to others; " + MENDED),
    open_to_a_group: (
        78,
        "{file} (uid 0, gid 0, mode 0640) is open to others; " + MENDED,
    ),
    of_the_application: (78, "{file}: Permission denied; " + MENDED),
    behind_a_link: (78, "{file}: Too many levels of symbolic links"),
    in_an_open_directory: (77, "is writable by everybody"),
    in_a_directory_of_the_application: (
        77,
        "its owner, who could replace what is in it",
    ),
    missing: (78, "{file}: No such file or directory"),
    fifo: (78, "{file} is not a plain file"),
    too_large: (78, "{file} is larger than 1048576 bytes"),
}


@pytest.mark.parametrize(("spoil", "outcome"), REFUSED.items())
@pytest.mark.parametrize("named", ["with a path", "by the service manager"])
def test_a_credential_that_others_could_know_or_change_is_refused(
    serve, shared_directory, spoil, outcome, named
):
    file = make_secret(shared_directory / "etc" / "key", "hush")
    spoil(file)
    item = f"key:{file}" if named == "with a path" else "key"
    environ = {"CREDENTIALS_DIRECTORY": str(file.parent)}
    server = serve("--credential", item, ready=False, environ=environ)
    code, sentence = outcome
    assert server.wait_end() == code
    last = server.log.text().splitlines()[-1]
    assert sentence.format(file=file) in last
    assert "hush" not in server.log.text()
    assert list(server.socket.parent.iterdir()) == []


def test_together_they_have_a_limit(serve, shared_directory):
    items = []
    for name in ("one", "two"):
        file = shared_directory / name
        file.write_bytes(b"x" * 2**19)
        file.chmod(0o600)
        items += ["--credential", f"{name}:{file}"]
    assert serve(*items).stop() == 0
    file.write_bytes(b"x" * (2**19 + 1))
    server = serve(*items, ready=False)
    assert server.wait_end() == 78
    assert "they are larger than 1048576 bytes together" in server.log.text()


def test_a_name_without_a_path_needs_the_service_manager(serve):
    server = serve("--credential", "key", ready=False)
    assert server.wait_end() == 78
    assert (
        "credential: 'key' has no path, and $CREDENTIALS_DIRECTORY is not set: write key:PATH, or"
        " LoadCredential=key:PATH in the unit"
    ) in server.log.text()


def test_the_service_managers_directory_is_not_passed_on_and_that_is_said(serve, etc):
    server = serve("--pass-env", "*", environ={"CREDENTIALS_DIRECTORY": str(etc)})
    environ = run_in_worker(server.socket, "import os; result = dict(os.environ)")
    assert "CREDENTIALS_DIRECTORY" not in environ
    assert "name each that it is to read with --credential NAME" in server.log.text()
