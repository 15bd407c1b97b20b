"""Which command a generated file names, and how files reach a directory."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from udsrv.cli import arguments
from udsrv.cli.generate import command_line, write_files
from udsrv.cli.main import main
from udsrv.config.resolve import resolve
from udsrv.errors import PrivilegeError, UsageError
from udsrv.generate.files import GeneratedFile


def command(*argv: str, environ: dict[str, str] | None = None) -> str:
    given = arguments.parse(argv)
    settings = resolve(given.values, environ or {}, given.config_path, "/srv/app", required=())
    return command_line(given, settings, "/srv/app")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["gen-nginx", "--socket", "/run/app.sock", "--server-name", "example.com"],
            "udsrv gen-nginx --socket /run/app.sock --server-name example.com",
        ),
        (
            ["gen-nginx", "-b", "unix:run/a.sock", "--listen", "81", "--output", "/d", "app:app"],
            "udsrv gen-nginx --socket /srv/app/run/a.sock --listen 81 app:app",
        ),
        (
            ["gen-nginx", "--socket", "/a", "--upstream-only", "--listen", "80"],
            "udsrv gen-nginx --socket /a --upstream-only",
        ),
        (
            ["gen-nginx", "--socket", "/a", "-e", "SECRET=x", "--limit-request-body", "20m"],
            "udsrv gen-nginx --socket /a --limit-request-body 20971520",
        ),
        (
            ["gen-systemd", "--socket", "/a", "app:make('x')", "-u", "app"],
            "udsrv gen-systemd --chdir /srv/app --socket /a --user app 'app:make('\"'\"'x'\"'\"')'",
        ),
        (
            ["gen-nginx", "--socket", "/a", "--preload", "--umask", "27"],
            "udsrv gen-nginx --socket /a --umask 0027 --preload",
        ),
        (
            ["gen-systemd", "--pythonpath", "/a,/b", "--socket-mode", "660", "--socket", "/a"],
            "udsrv gen-systemd --chdir /srv/app --pythonpath /a --pythonpath /b --socket /a "
            "--socket-mode 0660",
        ),
    ],
)
def test_the_command_makes_the_same_again_from_any_directory(argv, line):
    assert command(*argv) == line
    assert command(*shlex.split(line)[1:]) == line


def test_what_the_file_says_stays_in_the_file(tmp_path):
    path = tmp_path.resolve() / "app.toml"
    path.write_text('socket = "/run/app.sock"\nworkers = 4\nthreads = 2\n')
    path.chmod(0o644)
    line = command("gen-nginx", "-c", str(path), "-w", "8", environ={"UDSRV_BACKLOG": "99"})
    assert line == f"udsrv gen-nginx --config {path} --backlog 99 --workers 8"


def test_the_command_is_one_line_that_a_shell_reads_back():
    line = command("gen-systemd", "--socket", "/a", "-e", "A=it's\n\\n # ä")
    assert line.isprintable()
    echo = 'printf "%s\\0" "$@"'
    ran = subprocess.run(
        ["bash", "-c", f"set -- {line}; {echo}"], capture_output=True, text=True, check=True
    )
    assert "A=it's\n\\n # ä" in ran.stdout.split("\0")


FILES = (
    GeneratedFile("/etc/systemd/system/app.service", "unit\n"),
    GeneratedFile("/etc/sysusers.d/app.conf", "user\n"),
)


def test_files_are_written_at_their_places(tmp_path):
    out = tmp_path / "new" / "out"
    assert write_files(str(out), FILES) == [
        f"wrote {out}/etc/systemd/system/app.service",
        f"wrote {out}/etc/sysusers.d/app.conf",
    ]
    assert (out / "etc/systemd/system/app.service").read_text() == "unit\n"
    assert {p.name for p in out.rglob("*") if p.is_file()} == {"app.service", "app.conf"}


def test_what_is_there_already_stays_as_it_is(tmp_path):
    write_files(str(tmp_path), FILES)
    path = tmp_path / "etc/sysusers.d/app.conf"
    before = path.stat().st_ino
    (tmp_path / "etc/systemd/system/app.service").write_text("old")
    assert write_files(str(tmp_path), FILES) == [
        f"wrote {tmp_path}/etc/systemd/system/app.service",
        f"unchanged {tmp_path}/etc/sysusers.d/app.conf",
    ]
    assert path.stat().st_ino == before
    assert (tmp_path / "etc/systemd/system/app.service").read_text() == "unit\n"


def test_a_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    place = tmp_path / "out/etc/systemd/system/app.service"
    place.parent.mkdir(parents=True)
    place.symlink_to(victim)
    with pytest.raises(UsageError, match=r"app\.service is a symbolic link; remove it"):
        write_files(str(tmp_path / "out"), FILES)
    assert victim.read_text() == "untouched"


def test_a_linked_directory_is_not_entered(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "etc").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=f"{tmp_path}/etc is a symbolic link"):
        write_files(str(tmp_path), FILES)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.makedirs(tmp_path / "etc/systemd/system/app.service")
    with pytest.raises(UsageError, match="is not a regular file; remove it"):
        write_files(str(tmp_path), FILES)


def test_what_the_system_refuses_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivilegeError, match="cannot be written: File exists"):
        write_files(str(tmp_path / "file"), FILES)


def test_the_main_file_goes_to_stdout_and_the_others_are_named(capsys, monkeypatch):
    monkeypatch.setattr("sys.executable", "/opt/udsrv/bin/python3")
    argv = ["gen-systemd", "--socket", "/run/app/app.sock", "-u", "app", "app:app"]
    assert main(argv, start_directory="/srv/app") == 0
    out, err = capsys.readouterr()
    assert out.startswith("# Generated by: udsrv gen-systemd --chdir /srv/app ")
    assert "ExecStart=/opt/udsrv/bin/udsrv" in out
    assert err == (
        "udsrv: also needed: /etc/sysusers.d/app.conf; --output DIR writes all files, each at its "
        "place below DIR\n"
    )


def test_output_takes_all_files(tmp_path, capsys):
    argv = ["gen-nginx", "--socket", "/run/a.sock", "--server-name", "a.example", "--output", "d"]
    assert main(argv, start_directory=str(tmp_path)) == 0
    path = tmp_path / "d/etc/nginx/conf.d/a.conf"
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert path.read_text().startswith(
        "# Generated by: udsrv gen-nginx --socket /run/a.sock --server-name a.example\n"
    )
