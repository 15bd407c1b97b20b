"""Generated units in the hands of systemd itself."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden.cases import LAUNCHER, REPOSITORY, Kept, kept_files
from support.accounts import IS_ROOT, ORDINARY_USER
from support.directories import make_shared_directory
from support.settings import make_settings
from udsrv.diagnose.audit.report import EXPOSURE_WITHOUT_NETWORK
from udsrv.generate.quoting import systemd_argument
from udsrv.generate.systemd import SystemdOptions, systemd_files

UNITS = [kept for kept in kept_files() if kept.path.suffix == ".service"]
ACCOUNTS = [kept for kept in kept_files() if kept.path.parent.name == "sysusers.d"]

# Units are judged with a program that exists: systemd looks for the one that they name.
SOME_PROGRAM = "/usr/bin/env"

# Of the documented example, in tenths. docs/deployment.md says what it is made of.
EXPOSURE = 21

MASTER_CALLS = {
    *("inotify_init1", "inotify_add_watch", "linkat", "renameat", "mkdirat", "unlinkat"),
    *("setresuid", "setresgid", "setgroups", "setsid", "prctl", "capset", "umask", "fchmod"),
    *("clone", "clone3", "vfork", "execve", "memfd_create", "kill", "pidfd_open", "waitid"),
    *("socketpair", "sendmsg", "recvmsg", "bind", "listen", "accept4", "epoll_wait", "flock"),
}
SANDBOX_CALLS = {
    *("seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
    "prlimit64",
}
NEVER_CALLS = {
    *("mount", "umount2", "pivot_root", "chroot", "ptrace", "bpf", "kexec_load", "init_module"),
    *("keyctl", "add_key", "userfaultfd", "io_uring_setup", "clock_settime", "reboot", "swapon"),
    *("perf_event_open", "open_by_handle_at", "iopl"),
}


@pytest.fixture
def unit_directory() -> Iterator[Path]:
    """A directory that systemd in test mode, which must not be root, can read."""
    directory = make_shared_directory("units")
    yield directory
    shutil.rmtree(directory)


def ids(kept: list[Kept]) -> list[str]:
    return [str(each.path.relative_to(REPOSITORY)) for each in kept]


@pytest.mark.parametrize("kept", UNITS, ids=ids(UNITS))
def test_verify_has_nothing_to_say(kept: Kept, tmp_path: Path):
    unit = tmp_path / "app.service"
    unit.write_text(kept.generated.text.replace(LAUNCHER, SOME_PROGRAM))
    result = run("systemd-analyze", "verify", unit)
    # It exits 0 for unknown keys and bad values too, so what it says is what counts.
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def assert_exposed_at_most(tenths: int, text: str, directory: Path) -> None:
    unit = directory / "app.service"
    unit.write_text(text.replace(LAUNCHER, SOME_PROGRAM))
    result = run(
        *("systemd-analyze", "security", "--offline=true", "--no-pager"),
        *(f"--threshold={tenths}", unit),
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("kept", UNITS, ids=ids(UNITS))
def test_exposure_is_what_the_documentation_says(kept: Kept, tmp_path: Path):
    # What a unit asks for beyond the example: a foreign owner and code below a home.
    more = 3 if kept.path.stem == "everything-odd" else 0
    assert_exposed_at_most(EXPOSURE + more, kept.generated.text, tmp_path)


def test_without_the_network_it_is_what_the_audit_says(tmp_path: Path):
    unit, _ = systemd_files(
        make_settings(app="app", socket="/run/app/app.sock", user="app", network="none"),
        SystemdOptions(command="udsrv gen-systemd", launcher=LAUNCHER),
    )
    assert_exposed_at_most(round(EXPOSURE_WITHOUT_NETWORK * 10), unit.text, tmp_path)


@pytest.mark.parametrize("kept", ACCOUNTS, ids=ids(ACCOUNTS))
def test_sysusers_makes_the_account(kept: Kept, tmp_path: Path):
    (tmp_path / "etc").mkdir()
    source = tmp_path / "account.conf"
    source.write_text(kept.generated.text)
    result = run("systemd-sysusers", f"--root={tmp_path}", source)
    assert result.returncode == 0, result.stderr
    user = re.findall(r"^u (\S+)", kept.generated.text, re.MULTILINE)[0]
    assert (
        f":Web application served by udsrv:/nonexistent:{nologin()}\n"
        in (tmp_path / "etc" / "passwd").read_text()
    )
    assert (tmp_path / "etc" / "passwd").read_text().startswith(f"{user}:")


def test_a_unit_allows_the_calls_of_the_master_and_of_the_sandbox_and_no_others():
    allowed = allowed_calls(UNITS[0].generated.text)
    assert allowed >= MASTER_CALLS | SANDBOX_CALLS
    assert not NEVER_CALLS & allowed


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))),
        max_size=12,
    )
)
def test_systemd_reads_arguments_back_as_they_were(unit_directory: Path, words: list[str]):
    arguments = " ".join(systemd_argument(word) for word in words)
    unit = f"[Service]\nExecStart={SOME_PROGRAM} {arguments}\n"
    assert loaded_command_line(unit_directory, unit) == [SOME_PROGRAM, *words]


def test_a_generated_unit_starts_what_the_settings_say(unit_directory: Path):
    app = "pkg.mod:make('50 % off', \"$HOME \\\\ ; %n\")"
    made = make_settings(
        app=app, socket="/run/my sites/a b.sock", name="odd", chdir="/srv/a;b", env=["A=$B ${C} %h"]
    )
    files = systemd_files(made, SystemdOptions(command="udsrv ...", launcher=SOME_PROGRAM))
    assert loaded_command_line(unit_directory, files[0].text) == [
        *(SOME_PROGRAM, "--chdir", "/srv/a;b", "--env", "A=$B ${C} %h"),
        *("--socket", "/run/my sites/a b.sock", "--user", "udsrv", "--name", "odd", app),
    ]
    dump = loaded(unit_directory, files[0].text)
    assert f"Description: udsrv: {app} on /run/my sites/a b.sock\n" in dump
    assert "RuntimeDirectory: my sites" in dump.replace("\\x20", " ")


def loaded_command_line(directory: Path, unit: str) -> list[str]:
    """Return ``ExecStart=`` as systemd would execute it."""
    found = re.search(r"-> ExecStart:\n\s*Command Line: (.*)\n", loaded(directory, unit))
    assert found
    # Printed with double quotes where needed, and `$$` not yet replaced by `$`.
    words = [
        re.sub(r"\\(.)", r"\1", quoted) if quoted or not plain else plain
        for quoted, plain in re.findall(r'"((?:\\.|[^"\\])*)"|([^ ]+)', found[1])
    ]
    assert not any("$" in word.replace("$$", "") for word in words)
    return [word.replace("$$", "$") for word in words]


def loaded(directory: Path, unit: str) -> str:
    """Return how systemd has understood ``unit``; nothing is started."""
    path = directory / "loaded.service"
    path.write_text(unit)
    path.chmod(0o644)
    drop = ("setpriv", f"--reuid={ORDINARY_USER}", "--clear-groups") if IS_ROOT else ()
    result = run(
        *drop,
        *("/usr/lib/systemd/systemd", "--test", "--system", "--unit=loaded.service"),
        env={"SYSTEMD_UNIT_PATH": f"{directory}:", "SYSTEMD_LOG_LEVEL": "err"},
    )
    found = re.search(r"-> Unit loaded\.service:\n.*?(?=-> Unit |\Z)", result.stdout, re.DOTALL)
    assert found, result.stdout + result.stderr
    return found[0]


def allowed_calls(unit: str) -> set[str]:
    """Return what the ``SystemCallFilter=`` lines of ``unit`` leave, expanded by systemd."""
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        calls = {call for word in line.lstrip("~").split() for call in expanded(word)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed | set(expanded("@default"))


@functools.cache
def expanded(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset((word,))
    lines = run("systemd-analyze", "syscall-filter", word).stdout.splitlines()[1:]
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    assert names, word
    return frozenset(call for name in names for call in expanded(name))


def nologin() -> str:
    return "/usr/sbin/nologin" if os.path.exists("/usr/sbin/nologin") else "/sbin/nologin"


def run(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, env=env)
