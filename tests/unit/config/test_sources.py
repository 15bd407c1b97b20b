"""The environment and the file: what is taken and what is refused."""

from __future__ import annotations

import os

import pytest

from udsrv.config.sources import Given, from_environment, from_file, read_file
from udsrv.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write_file(text: str | bytes, name: str = "app.toml") -> str:
        path = tmp_path.resolve() / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o644)
        return str(path)

    return write_file


def test_only_our_variables_are_read():
    environ = {"UDSRV_WORKERS": "4", "WORKERS": "5", "HOME": "/"}
    assert from_environment(environ) == {"workers": Given("4", "UDSRV_WORKERS")}


def test_items_of_a_list_stand_on_a_line_each():
    given = from_environment({"UDSRV_ENV": "A=1,2\nB=3\n", "UDSRV_PASS_ENV": ""})
    assert given["env"].raw == ["A=1,2", "B=3"]
    assert given["pass_env"].raw == []


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("UDSRV_WOKERS", "UDSRV_WOKERS: no such variable; did you mean UDSRV_WORKERS?"),
        ("UDSRV_ÄÖÜ", "UDSRV_ÄÖÜ: no such variable; udsrv --help lists what there is"),
        (
            "UDSRV_CONFIG",
            "UDSRV_CONFIG: name the file on the command line, with --config PATH",
        ),
        (
            "UDSRV_BIND",
            "UDSRV_BIND: the setting is called socket and takes the path alone, like /run/app.sock",
        ),
        ("UDSRV_DAEMON", "UDSRV_DAEMON: udsrv stays in the foreground: run it as a unit, which "
                         "udsrv gen-systemd makes"),
    ],
)  # fmt: skip
def test_an_unknown_variable_is_an_error(variable, sentence):
    with pytest.raises(ConfigError) as refused:
        from_environment({variable: "1"})
    assert str(refused.value) == sentence


def test_a_file_is_a_flat_table(write):
    path = write('workers = 4\npythonpath = ["/a"]\nsocket = "/run/a.sock"\n')
    assert from_file(path, read_file) == {
        "workers": Given(4, path),
        "pythonpath": Given(["/a"], path),
        "socket": Given("/run/a.sock", path),
    }


def test_the_environment_may_be_a_table(write):
    path = write('[env]\nA = "1"\nB = "x=y"\n')
    assert from_file(path, read_file)["env"].raw == ["A=1", "B=x=y"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("wokers = 4", "wokers: no such setting; did you mean workers? (from {path})"),
        ("graceful-timeout = 4", "graceful-timeout: no such setting; did you mean graceful_timeout?"
                                 " (from {path})"),
        ("[server]\nworkers = 4", "server: no such setting; "),
        ('bind = "unix:/run/a"', "bind: the setting is called socket and takes the path alone, "
                                 "like /run/app.sock (from {path})"),
        ('certfile = "x"', "certfile: udsrv opens no network port, so TLS belongs to Nginx"),
        ("[env]\nA = 1", "env.A: 1 is not text; put it in quotes (from {path})"),
        ("workers = ", "{path}: not valid TOML: Invalid value (at end of document)"),
        ("workers = 1\nworkers = 2", "{path}: not valid TOML: Cannot overwrite a value"),
        (b"\xff", "{path}: not valid TOML: 'utf-8' codec can't decode byte 0xff"),
        ('"a\\nb" = 1', "'a\\nb': no such setting; "),
        (b"#" * (1024 * 1024 + 1), "{path}: larger than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_words(write, text, sentence):
    path = write(text)
    with pytest.raises(ConfigError) as refused:
        from_file(path, read_file)
    assert sentence.format(path=path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_python_is_not_run(write, tmp_path):
    path = write("import os\nos.mkdir('ran')\n", "gunicorn.conf.py")
    with pytest.raises(ConfigError, match="Python is not run, write the settings as NAME = VALUE"):
        from_file(path, read_file)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        from_file(str(tmp_path / "none.toml"), read_file)


def test_a_fifo_does_not_stop_the_start(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        from_file(str(tmp_path / "pipe"), read_file)


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="not a regular file"):
        from_file(str(tmp_path), read_file)


def test_a_user_may_name_a_link(write, tmp_path):
    (tmp_path / "link").symlink_to(write("workers = 2"))
    assert from_file(str(tmp_path / "link"), read_file)["workers"].raw == 2
