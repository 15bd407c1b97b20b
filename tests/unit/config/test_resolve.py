"""Which source wins, who is at fault, and which values contradict each other."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udsrv.config.model import DEFAULT, SETTINGS
from udsrv.config.resolve import resolve
from udsrv.config.sources import Given
from udsrv.errors import ConfigError, UsageError

START = "/srv/app"


def flags(**raw: object) -> dict[str, Given]:
    return {name: Given(value, "--" + name.replace("_", "-")) for name, value in raw.items()}


def make(environ=None, config=None, required=(), **raw):
    return resolve(flags(**raw), environ or {}, config, START, required=required)


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        path = tmp_path.resolve() / "app.toml"
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    return write


def test_without_sources_every_value_is_the_default():
    settings = make()
    for setting in SETTINGS:
        if setting.name not in ("chdir", "socket", "name"):
            assert getattr(settings, setting.name) == setting.default
        assert settings.origin(setting.name) == DEFAULT
    assert settings.chdir == START


def test_flags_win_over_variables_and_variables_over_the_file(config):
    path = config("workers = 2\nthreads = 2\nbacklog = 2\n")
    environ = {"UDSRV_WORKERS": "3", "UDSRV_THREADS": "3"}
    settings = make(environ, path, workers="4")
    assert (settings.workers, settings.threads, settings.backlog) == (4, 3, 2)
    assert settings.origin("workers") == "--workers"
    assert settings.origin("threads") == "UDSRV_THREADS"
    assert settings.origin("backlog") == path
    assert settings.origin("user") == DEFAULT


def test_what_a_platform_says_is_weaker_than_everything_but_the_default(config):
    environ = {"WEB_CONCURRENCY": "3"}
    settings = make(environ)
    assert (settings.workers, settings.origin("workers")) == (3, "WEB_CONCURRENCY")
    assert make(environ, config("workers = 2")).workers == 2
    assert make({**environ, "UDSRV_WORKERS": "4"}).workers == 4
    assert make(environ, workers="5").workers == 5


@pytest.mark.parametrize("text", ["", "0", "many"])
def test_what_a_platform_says_must_be_a_number_of_workers(text):
    with pytest.raises(ConfigError) as refused:
        make({"WEB_CONCURRENCY": text})
    assert str(refused.value) == (
        f"workers: {text!r} is not a whole number from 1 to 1024 (from WEB_CONCURRENCY)"
    )


def test_who_has_put_everything_into_gunicorns_variable_is_told():
    environ = {"GUNICORN_CMD_ARGS": "--bind unix:/run/a.sock --workers 4"}
    assert make(environ).workers == 1
    with pytest.raises(UsageError) as refused:
        make(environ, required=("socket",))
    assert str(refused.value).endswith(
        "; GUNICORN_CMD_ARGS is set and not read, so give its settings as flags or UDSRV_ variables"
    )


@pytest.mark.parametrize(
    ("raw", "value"), [("true", True), ("1", True), ("false", False), ("0", False)]
)
def test_a_switch_is_true_or_false(config, raw, value):
    assert make({"UDSRV_PRELOAD": raw}).preload is value
    assert make({}, config("preload = true"), preload=raw).preload is value


@pytest.mark.parametrize("raw", ["yes", "", "True", "on"])
def test_a_switch_is_nothing_else(raw):
    with pytest.raises(ConfigError, match=rf"^preload: '{raw}' is not true or false \(from"):
        make({"UDSRV_PRELOAD": raw})


@pytest.mark.parametrize(("raw", "mask"), [("0", 0), ("22", 0o22), ("027", 0o27), ("0077", 0o77)])
def test_a_umask_is_octal(raw, mask):
    assert make(umask=raw).umask == mask


@pytest.mark.parametrize("raw", ["0o22", "8", "00777", "-1", "0277", "777"])
def test_a_umask_leaves_the_owner_everything(raw):
    with pytest.raises(UsageError, match=r"^umask: "):
        make(umask=raw)


def test_extra_files_say_nothing_without_a_reload():
    with pytest.raises(UsageError) as refused:
        make(reload_extra_file=["a.html"])
    assert str(refused.value) == (
        "reload_extra_file: says nothing without reload; give --reload too"
        " (from --reload-extra-file)"
    )
    settings = make(reload_extra_file=["a.html"], reload="true")
    assert settings.reload_extra_file == ("/srv/app/a.html",)


def test_a_list_is_replaced_as_a_whole(config):
    path = config('env = ["A=1", "B=2"]')
    assert make({"UDSRV_ENV": "C=3"}, path).env == ("C=3",)
    assert make({}, path, env=["D=4"]).env == ("D=4",)


def test_the_file_is_named_relative_to_the_start_directory(tmp_path):
    (tmp_path / "app.toml").write_text("workers = 2")
    (tmp_path / "app.toml").chmod(0o644)
    settings = resolve({}, {}, "app.toml", os.path.realpath(tmp_path), required=())
    assert settings.workers == 2


def test_relative_paths_begin_in_the_start_directory_and_those_of_the_file_beside_it(config):
    path = config('env_file = "x.env"\ncredential = ["key:x.key"]')
    settings = make({"UDSRV_PYTHONPATH": "lib"}, path, socket="run/a.sock")
    assert settings.env_file == os.path.join(os.path.dirname(path), "x.env")
    assert settings.credential == (f"key:{os.path.dirname(path)}/x.key",)
    assert settings.pythonpath == ("/srv/app/lib",)
    assert settings.socket == "/srv/app/run/a.sock"


def test_the_command_lines_fault_is_a_usage_error():
    with pytest.raises(UsageError) as refused:
        make(workers="many")
    assert refused.value.exit_code == 64
    assert str(refused.value) == (
        "workers: 'many' is not a whole number from 1 to 1024 (from --workers)"
    )


def test_the_environments_fault_is_a_configuration_error():
    with pytest.raises(ConfigError) as refused:
        make({"UDSRV_WORKERS": "many"})
    assert refused.value.exit_code == 78
    assert str(refused.value) == (
        "workers: 'many' is not a whole number from 1 to 1024 (from UDSRV_WORKERS)"
    )


@pytest.mark.parametrize("named", ["python:site.gunicorn", "file:gunicorn.conf.py"])
def test_what_gunicorn_runs_as_python_is_no_path(named):
    with pytest.raises(UsageError, match=f"--config: '{named}' is not .* Python is not run"):
        make({}, named)


def test_the_files_fault_is_a_configuration_error(config):
    path = config('log_level = "loud"')
    with pytest.raises(ConfigError) as refused:
        make({}, path)
    assert str(refused.value) == (
        f"log_level: 'loud' is not one of debug, info, warning, error (from {path})"
    )


def test_a_wrong_value_is_an_error_even_where_a_stronger_source_replaces_it(config):
    with pytest.raises(ConfigError, match="workers"):
        make({}, config('workers = "many"'), workers="2")


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("socket", "socket: not set; give --socket /run/app.sock, UDSRV_SOCKET, or 'socket' in the "
                   "file that --config names"),
        ("app", "app: not set; give app:app, UDSRV_APP, or 'app' in the file that --config names"),
    ],
)  # fmt: skip
def test_what_is_required_is_asked_for(missing, sentence):
    given = {"socket": "/run/a.sock", "app": "a:b"}
    del given[missing]
    with pytest.raises(UsageError) as refused:
        make(required=("socket", "app"), **given)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("socket", "name"),
    [("/run/app.sock", "app"), ("/run/shop/web", "web"), ("/run/a.b.sock", "a.b")],
)
def test_the_instance_is_named_after_its_socket(socket, name):
    assert make(socket=socket).name == name


def test_a_name_that_the_socket_cannot_give_is_asked_for():
    with pytest.raises(UsageError, match=r"'my app' is not a name of .*; give --name"):
        make(socket="/run/my app.sock")
    assert make(socket="/run/my app.sock", name="mine").name == "mine"


def test_the_longest_socket_is_what_the_kernel_takes():
    assert len(make(socket="/run/" + "a" * 97 + ".sock", name="x").socket) == 107
    with pytest.raises(UsageError, match=r"has 108 bytes, and the kernel takes 107"):
        make(socket="/run/" + "a" * 98 + ".sock", name="x")


def test_the_length_of_a_socket_counts_bytes_of_the_absolute_path():
    with pytest.raises(UsageError, match=r"has 1[12]\d bytes"):
        make(socket="ä" * 52 + ".sock", name="x")


def test_a_credential_has_one_file_and_there_are_not_too_many():
    with pytest.raises(UsageError, match="credential: 'a' has two values; give it one"):
        make(credential=["a:/1", "a"])
    assert make(credential=["a:/1", "a:/1"]).credential == ("a:/1",)
    names = [f"n{number}" for number in range(65)]
    assert len(make(credential=names[1:]).credential) == 64
    with pytest.raises(UsageError, match="credential: 65 are named, and 64 is the most"):
        make(credential=names)


def test_a_variable_has_one_value():
    with pytest.raises(UsageError, match="env: 'A' has two values; give it one"):
        make(env=["A=1", "B=1", "A=2"])
    assert make(env=["A=1", "A=1"]).env == ("A=1",)


@pytest.mark.parametrize("part", ["limit_request_line", "limit_request_field_size"])
def test_a_head_holds_its_parts(part):
    with pytest.raises(UsageError) as refused:
        make(limit_request_head="4k")
    assert str(refused.value) == (
        "limit_request_head: limit_request_head is 4096, less than limit_request_line, which is "
        "8192 and part of it; raise limit_request_head or lower limit_request_line "
        "(from --limit-request-head)"
    )
    with pytest.raises(
        UsageError, match=rf"^{part}: limit_request_head is 65536, less than {part}"
    ):
        make(**{part: "65537"})
    assert make(**{part: "128k"}, limit_request_head="128k").limit_request_head == 131072


def test_a_contradiction_is_the_fault_of_who_gave_it():
    with pytest.raises(ConfigError, match=r"\(from UDSRV_LIMIT_REQUEST_LINE\)"):
        make({"UDSRV_LIMIT_REQUEST_LINE": "1m"})


@given(st.sampled_from([s for s in SETTINGS if s.name != "app"]), st.text(max_size=40))
def test_any_text_is_taken_or_refused_in_one_line(setting, text):
    raw: dict[str, object] = {"name": "x"}
    raw[setting.name] = [text] if setting.many else text
    message = ""
    try:
        make(**raw)
    except UsageError as error:
        message = str(error)
    assert message.isprintable()
