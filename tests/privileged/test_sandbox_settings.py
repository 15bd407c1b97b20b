"""What the settings of the sandbox do, and what is said where the kernel can't do it."""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support import older_kernel
from support.accounts import APP_USER
from support.directories import copy_readable, make_directory_of, open_to_applications
from support.installations import make_environment, site_packages
from support.remote import run_in_worker, start_in_worker
from support.servers import APPLICATIONS, UDSRV

ATTEMPTS = """
import errno, os, socket
result = {{}}
for name, source in {attempts!r}.items():
    try:
        exec(source)
    except OSError as error:
        result[name] = errno.errorcode[error.errno]
    else:
        result[name] = "done"
"""


def attempt(server, **sources: str) -> dict[str, str]:
    """Run each source in a worker; return "done", or the error's name."""
    return run_in_worker(server.socket, ATTEMPTS.format(attempts=sources))


def request_of(server, source: str) -> int:
    """Run ``source`` in a worker, uncaught; return the status of the answer."""
    with start_in_worker(server.socket, source) as connection:
        return connection.read_response(method="POST").status


def said(server) -> list[str]:
    """Return what the log says of the sandbox."""
    return re.findall(r"\[supervisor\] ((?:warning: )?sandbox: .*)", server.log.text())


def refusal(server) -> tuple[int, str]:
    """Return the exit code and the log of a server that doesn't start, having left nothing."""
    code = server.wait_end()
    assert list(server.socket.parent.iterdir()) == []
    return code, server.log.text()


@pytest.fixture
def on_abi(shared_directory):
    """Return a function that makes a udsrv which finds an older kernel."""
    return lambda abi, **how: older_kernel.launcher(shared_directory, UDSRV, abi=abi, **how)


# ---- paths ---------------------------------------------------------------------------------------


def test_named_paths_can_be_read_run_and_written(serve, shared_directory):
    tools, data = shared_directory / "tools", make_directory_of(APP_USER, shared_directory / "data")
    tools.mkdir()
    (tools / "hello").write_text("#!/bin/sh\necho hello\n")
    (tools / "hello").chmod(0o755)
    link = shared_directory / "link"
    link.symlink_to(data)
    server = serve("--read-path", str(tools), "--write-path", str(link))
    assert attempt(
        server,
        read=f"assert open({str(tools / 'hello')!r}).read()",
        run=f"import subprocess; subprocess.run([{str(tools / 'hello')!r}], check=True)",
        write=f"open({str(data / 'a')!r}, 'w').write('x')",
        write_by_link=f"open({str(link / 'b')!r}, 'w').write('x')",
        run_what_was_written=f"os.chmod({str(data / 'a')!r}, 0o700);"
        f" os.execv({str(data / 'a')!r}, ['a'])",
        write_beside=f"open({str(tools / 'b')!r}, 'w')",
    ) == {
        "read": "done",
        "run": "done",
        "write": "done",
        "write_by_link": "done",
        "run_what_was_written": "EACCES",
        "write_beside": "EACCES",
    }


def test_a_path_that_its_mode_closes_or_that_holds_code_is_called_out(serve, shared_directory):
    closed = shared_directory / "closed"
    closed.mkdir()
    server = serve("--write-path", str(closed), "--write-path", str(shared_directory / "app"))
    (uid,) = set(re.findall(r"can't be written by uid (\d+)", server.log.text()))
    assert int(uid) == pwd.getpwnam(APP_USER).pw_uid
    warned = [line for line in said(server) if line.startswith("warning: ")]
    assert warned == [
        f"warning: sandbox: write_path: {shared_directory}/app holds the code in"
        f" {shared_directory}/app, which an attacker could change",
        *(
            f"warning: sandbox: write_path: {path} can't be written by uid {uid}:"
            " it belongs to 0:0, mode 0755"
            for path in (closed, shared_directory / "app")
        ),
    ]


@pytest.mark.parametrize("setting", ["read_path", "write_path"])
def test_a_named_path_that_is_missing_is_a_mistake(serve, shared_directory, setting):
    flag, path = "--" + setting.replace("_", "-"), shared_directory / "missing"
    code, log = refusal(serve(flag, str(path), ready=False))
    assert code == 78
    assert (
        f"[supervisor] error: {setting}: {path}: No such file or directory (from {flag});"
        " it must exist, below directories that uid "
    ) in log


def test_an_application_that_is_preloaded_is_in_the_sandbox_too(serve, shared_directory):
    path = make_directory_of(APP_USER, shared_directory / "own") / "file"
    code = f"""
try:
    open({str(path)!r}, "w")
except PermissionError as error:
    print("refused", error.errno)
"""
    server = serve("--preload", "-e", f"BEFORE_LOADING={code}", app="gated:app")
    assert server.log.count(r"\[preload\] refused 13$") == 1
    assert not path.exists()


START_UP_FILE = """
import ctypes, os
record = open("{record}", "a")
try:
    os.listdir("/var/log")
except OSError as error:
    record.write(f"list {{error.errno}}\\n")
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000) < 0:
    record.write(f"unshare {{ctypes.get_errno()}}\\n")
record.close()
"""


def test_what_starts_with_the_environment_is_in_the_sandbox_too(serve, shared_directory):
    record = open_to_applications(shared_directory) / "record"
    record.touch()
    record.chmod(0o666)
    environment = make_environment(shared_directory / "venv")
    packages = site_packages(environment)
    (packages / "planted.py").write_text(START_UP_FILE.format(record=record))
    (packages / "planted.pth").write_text("import planted\n")
    serve("--python", str(environment / "bin" / "python"))
    assert record.read_text().splitlines() == ["list 13", "unshare 1"]


def test_the_temporary_directory_is_gone_afterwards(serve):
    server = serve()
    directory = Path(run_in_worker(server.socket, "import tempfile; result = tempfile.mkdtemp()"))
    assert directory.parent.name.startswith("udsrv-tmpdir-")
    assert server.stop() == 0
    assert not directory.parent.exists()


# ---- what would have allowed it ------------------------------------------------------------------


@pytest.fixture
def own(shared_directory):
    """Return a directory of the application's user, with a file."""
    directory = make_directory_of(APP_USER, shared_directory / "own")
    (directory / "file").touch()
    shutil.chown(directory / "file", APP_USER)
    (directory / "public").touch()
    return directory


def test_an_unhandled_refusal_is_followed_by_the_setting_that_would_have_allowed_it(serve, own):
    written = make_directory_of(APP_USER, own.with_name("written"))
    make_directory_of(APP_USER, own / "a b")
    server = serve("--network", "none", "--write-path", str(written))
    temporary = run_in_worker(server.socket, "import os; result = os.environ['TMPDIR']")
    program = "#!/bin/sh\\n"
    for source, advice in (
        (
            f"open('{own}/public')",
            f"{own}/public is closed to the application; --read-path {own} opens it",
        ),
        (
            f"open('{own}/file', 'a')",
            f"{own}/file is closed to the application; --read-path {own} opens it, --write-path for"
            " writing too",
        ),
        (
            f"open('{own}/new', 'w')",
            f"{own}/new is closed to the application; --write-path {own} opens it for writing",
        ),
        (
            f"os.mkdir('{own}/new/')",
            f"{own}/new is closed to the application; --write-path {own} opens it for writing",
        ),
        (
            f"try: os.listdir('{own}')\nexcept OSError as error: raise ValueError from error",
            f"{own} is closed to the application; --read-path {own} opens it, --write-path for"
            " writing too",
        ),
        (
            f"os.mkdir('{own}/a b/c')",
            f"{own}/a b/c is closed to the application; --write-path '{own}/a b' opens it for"
            " writing",
        ),
        (
            f"open('{temporary}/upload', 'w').close()\n"
            f"os.rename('{temporary}/upload', '{own}/upload')",
            f"{own}/upload is closed to the application; --write-path {own} opens it for writing",
        ),
        (
            f"os.symlink('file', '{own}/link')",
            f"{own}/link is closed to the application; --write-path {own} opens it for writing",
        ),
        *(
            (
                f"open('{directory}/run', 'w').write('{program}')\n"
                f"os.chmod('{directory}/run', 0o700)\nsubprocess.run(['{directory}/run'])",
                f"{directory}/run can't be run by the application, which may write it; {way}",
            )
            for directory, way in (
                (temporary, "put it below the application, or below a --read-path"),
                (written, f"--read-path {written} beside --write-path lets it be run"),
            )
        ),
        (
            "socket.socket()",
            "--network none leaves Unix sockets only; give --network local or full",
        ),
    ):
        assert request_of(server, f"import os, socket, subprocess\n{source}") == 500
        server.log.wait_for(rf"\] error: sandbox: {re.escape(advice)}$")


def test_what_the_modes_refuse_is_not_blamed_on_the_sandbox(serve, shared_directory):
    server = serve()
    for path in ("/etc/shadow", shared_directory / "new", "/proc/1/environ"):
        assert request_of(server, f"open('{path}', 'w')") == 500
    assert request_of(server, "raise PermissionError(13, 'no file')") == 500
    assert server.stop() == 0  # and with it, everything is in the log
    assert len(said(server)) == 1
    assert "error: sandbox" not in server.log.text()


def test_a_refusal_while_the_application_loads_is_explained_too(serve, own):
    code = f"open('{own}/new', 'w')"
    server = serve("-e", f"BEFORE_LOADING={code}", app="gated:app", ready=False)
    status, log = refusal(server)
    assert status == 69
    assert f"error: sandbox: {own}/new is closed to the application; --write-path {own} " in log


# ---- what check says -----------------------------------------------------------------------------


@pytest.fixture
def check(shared_directory):
    """Return a function that runs ``udsrv check`` and returns what it says of writing."""
    copy_readable(APPLICATIONS, shared_directory).rename(shared_directory / "app")

    def run(*options: str, udsrv: Path = UDSRV) -> list[str]:
        given = ["--socket", shared_directory / "app.sock", "--user", APP_USER, *options]
        result = subprocess.run(
            [udsrv, "check", *given, "remote:app"],
            cwd=shared_directory / "app",
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in result.stdout.splitlines() if "writ" in line]

    return run


def test_check_prints_what_may_be_written_and_what_may_not(check, shared_directory):
    data = make_directory_of(APP_USER, shared_directory / "data")
    closed = make_directory_of("root", shared_directory / "closed")
    refused, writes = check("--write-path", str(data), "--write-path", str(closed))
    assert refused.startswith(f"--  sandbox      write_path: {closed} can't be written by uid ")
    places = re.fullmatch(r"ok  writes       (.*); no other place", writes)[1].split(", ")
    assert {"/dev/shm", str(data)} < set(places)
    (temporary,) = set(places) - {"/dev/shm", str(data)}
    assert Path(temporary).name.startswith("udsrv-tmpdir-")


def test_check_claims_nothing_where_nothing_holds(check, on_abi):
    assert "--  writes       whatever its user may: there is no Landlock here" in check(
        udsrv=on_abi(0)
    )
    assert check("--sandbox", "off") == []


# ---- modes ---------------------------------------------------------------------------------------


def test_without_a_sandbox_the_ids_are_all_there_is(serve):
    server = serve("--sandbox", "off")
    assert said(server) == ["warning: sandbox: off: the application may do whatever its user may"]
    assert attempt(server, list="os.listdir('/var/log')", bind="socket.socket().bind(('', 0))") == {
        "list": "done",
        "bind": "done",
    }


def test_an_older_kernel_gets_a_line_for_each_gap(serve, on_abi):
    server = serve(udsrv=on_abi(2))
    assert said(server) == [
        "sandbox: Landlock ABI 2, seccomp; network full;"
        " a worker can connect to other programs' sockets (Landlock ABI 9, Linux 7.1)",
        "warning: sandbox: a worker can empty any file that its user may write"
        " (Landlock ABI 3, Linux 6.2)",
        "warning: sandbox: a worker can listen on a TCP port (Landlock ABI 4, Linux 6.7)",
        "warning: sandbox: a worker can signal its supervisor and siblings, and use abstract"
        " sockets (Landlock ABI 6, Linux 6.12)",
    ]


@pytest.mark.parametrize(
    ("abi", "seccomp", "gap"),
    [
        (2, True, "a worker can empty any file"),
        (0, True, "the application may open every file that its user may"),
        (7, False, "a worker may make every system call (no seccomp)"),
    ],
)
def test_strict_does_not_start_with_a_gap(serve, on_abi, abi, seccomp, gap):
    server = serve("--sandbox", "strict", ready=False, udsrv=on_abi(abi, seccomp=seccomp))
    code, log = refusal(server)
    assert code == 77
    assert f"[supervisor] error: sandbox: strict, and here {gap}" in log
    assert "give --sandbox best-effort" in log


def test_best_effort_starts_without_landlock_or_seccomp(serve, on_abi):
    server = serve(udsrv=on_abi(0))
    assert said(server)[0].startswith("sandbox: no Landlock, seccomp; network full")
    assert attempt(server, list="os.listdir('/var/log')") == {"list": "done"}
    assert server.stop() == 0
    server = serve(udsrv=on_abi(7, seccomp=False))
    assert said(server)[0].startswith("sandbox: Landlock ABI 7, no seccomp; network full")
    assert attempt(server, list="os.listdir('/var/log')") == {"list": "EACCES"}


# ---- the network ---------------------------------------------------------------------------------

CONNECTS = {
    "unix": "socket.socket(socket.AF_UNIX)",
    "tcp": "socket.socket()",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "six": "socket.socket(socket.AF_INET6)",
}


def test_without_network_there_are_unix_sockets_only(serve):
    server = serve("--network", "none")
    outcomes = attempt(server, **CONNECTS)
    assert outcomes.pop("unix") == "done"
    assert set(outcomes.values()) == {"EAFNOSUPPORT"}


# A machine of its own: with an address that isn't its loopback's, or without any.
_ELSEWHERE = """\
#!/bin/sh
exec unshare --net sh -c 'ip link set lo up && {more} exec {udsrv} "$@"' sh "$@"
"""
_WITH_AN_ADDRESS = "ip addr add 192.0.2.7/24 dev lo &&"


@pytest.fixture
def on_a_machine(shared_directory):
    def make(name: str, more: str):
        script = shared_directory / name
        script.write_text(_ELSEWHERE.format(more=more, udsrv=UDSRV))
        script.chmod(0o755)
        return script

    return make


def test_local_is_a_gap_where_nothing_filters_addresses(serve, on_a_machine):
    udsrv = on_a_machine("connected", _WITH_AN_ADDRESS)
    gap = "sandbox: network local: other machines can be reached; the generated unit prevents it"
    assert f"warning: {gap}" in said(serve("--network", "local", udsrv=udsrv))


def test_local_is_kept_where_there_is_no_way_out(serve, on_a_machine):
    server = serve("--network", "local", "--sandbox", "strict", udsrv=on_a_machine("alone", ""))
    assert len(said(server)) == 1
    assert set(attempt(server, **CONNECTS).values()) == {"done"}
