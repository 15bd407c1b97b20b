"""Exit codes, and which stream gets what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from udsrv import __version__
from udsrv.cli import main as program
from udsrv.cli.help import SHORT_USAGE
from udsrv.cli.main import main

SOURCE = Path(__file__).parents[3] / "src"


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("UDSRV_")]:
        monkeypatch.delenv(name)


def test_without_arguments_there_are_three_examples(capsys):
    assert main([], start_directory="/") == 64
    out, err = capsys.readouterr()
    assert (out, err) == ("", SHORT_USAGE)
    assert err.count("\n  udsrv ") == 3
    assert len(err.splitlines()) < 10


def test_variables_alone_can_be_enough(monkeypatch, capsys):
    monkeypatch.setenv("UDSRV_WORKERS", "many")
    assert main([], start_directory="/") == 78
    assert capsys.readouterr().err == (
        "udsrv: workers: 'many' is not a whole number from 1 to 1024 (from UDSRV_WORKERS)\n"
    )


def test_the_version(capsys):
    assert main(["--version"], start_directory="/") == 0
    assert capsys.readouterr().out == f"udsrv {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (["--nonsense"], 64, "udsrv: --nonsense: no such flag; "),
        (["app:app"], 64, "udsrv: socket: not set; give --socket /run/app.sock, "),
        (["--socket", "/run/app.sock"], 64, "udsrv: app: not set; give app:app, "),
        (["check", "--socket", "/run/app.sock"], 64, "udsrv: app: not set; "),
        (["gen-nginx"], 64, "udsrv: socket: not set; "),
        (["gen-systemd", "--socket", "/run/app.sock"], 64, "udsrv: app: not set; "),
        (["-c", "/none.toml", "app:app"], 78, "udsrv: /none.toml: "),
        (["--socket", "/run/a.sock", "a.py"], 64, "udsrv: app: 'a.py' names a file; "),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_its_code(argv, code, sentence, capsys):
    assert main(argv, start_directory="/") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(sentence)
    assert err.count("\n") == 1


def test_a_mistake_of_ours_shows_its_traceback(monkeypatch, capsys):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("not thought of")

    monkeypatch.setattr(program, "resolve", broken)
    assert main(["print-config"], start_directory="/") == 70
    err = capsys.readouterr().err
    assert "RuntimeError: not thought of" in err
    assert err.endswith("udsrv: that is a mistake in udsrv; please report it\n")


def test_a_reader_that_stops_early_is_no_error():
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    code = "import sys; from udsrv.cli.main import main; sys.exit(main(sys.argv[1:], "
    code += "start_directory='/'))"
    with os.fdopen(write_fd) as stdout:
        ran = subprocess.run(
            [sys.executable, "-c", code, "--help"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(SOURCE)},
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_what_runs_is_imported_and_nothing_more():
    """The master keeps what was imported: no generators, no texts for people."""
    code = (
        f"import sys; sys.path.append({str(SOURCE)!r}); from udsrv.cli.main import main; "
        "main(sys.argv[1:], start_directory='/'); "
        "print(*sorted(m for m in sys.modules if m.startswith('udsrv.')))"
    )
    argv = ["--socket", "/run/a.sock", "-b", "unix:/run/b.sock", "app:app"]
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *argv],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == [
        "udsrv.cli",
        "udsrv.cli.arguments",
        "udsrv.cli.main",
        "udsrv.config",
        "udsrv.config.model",
        "udsrv.config.resolve",
        "udsrv.config.sources",
        "udsrv.config.target",
        "udsrv.config.values",
        "udsrv.errors",
    ]
