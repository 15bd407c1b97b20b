"""What each word of the command line becomes."""

from __future__ import annotations

import pytest

from udsrv.cli.arguments import COMMANDS, parse
from udsrv.config.model import BY_NAME, SETTINGS
from udsrv.config.refused import REFUSED
from udsrv.config.sources import Given
from udsrv.errors import UsageError


def refusal(*argv: str) -> str:
    with pytest.raises(UsageError) as refused:
        parse(argv)
    return str(refused.value)


def test_without_a_subcommand_the_application_is_run():
    arguments = parse(["--socket", "/run/app.sock", "app:app"])
    assert arguments.command.name == "run"
    assert arguments.values == {
        "app": Given("app:app", "APP"),
        "socket": Given("/run/app.sock", "--socket"),
    }
    assert arguments.config_path is None


@pytest.mark.parametrize("name", COMMANDS)
def test_a_subcommand_takes_the_same_settings(name):
    arguments = parse([name, "-w", "4", "-c", "x.toml", "app:app", "-e", "A=1", "--env=B=2"])
    assert arguments.command.name == name
    assert arguments.values["workers"] == Given("4", "--workers")
    assert arguments.values["env"] == Given(["A=1", "B=2"], "--env")
    assert arguments.values["app"].raw == "app:app"
    assert arguments.config_path == "x.toml"


SWITCHES = [s for s in SETTINGS if s.kind.is_switch]
WITH_VALUES = [s for s in SETTINGS if s.name != "app" and not s.kind.is_switch]


@pytest.mark.parametrize("setting", SWITCHES, ids=lambda s: s.name)
def test_a_switch_takes_no_value_and_can_be_turned_off(setting):
    for flag, text in ((setting.flag, "true"), (setting.negative, "false")):
        assert parse([flag, "app:app"]).values[setting.name] == Given(text, setting.flag)
    assert refusal(f"{setting.flag}=yes", "app:app") == (
        f"{setting.flag}: ignored explicit argument 'yes'; it takes no value"
    )
    assert refusal(setting.flag, str(setting.negative)) == (
        f"{setting.flag}: given as 'true' and as 'false'; give it once"
    )


@pytest.mark.parametrize("setting", WITH_VALUES, ids=lambda s: s.name)
def test_every_setting_has_its_flags(setting):
    for flag in (*setting.short, setting.flag, *setting.hidden):
        given = parse([flag, "x"]).values[setting.name]
        assert given == Given(["x"] if setting.many else "x", setting.flag)


def test_gunicorns_spelling_of_a_limit_is_taken():
    given = parse(["--limit-request-field_size", "4k"]).values
    assert given["limit_request_field_size"].raw == "4k"


def test_short_flags_take_their_value_attached():
    assert parse(["-w4"]).values["workers"].raw == "4"


def test_a_value_may_begin_with_a_hyphen():
    assert parse(["--name=-x"]).values["name"].raw == "-x"
    assert refusal("--name", "-x") == (
        "--name: needs a name of at most 64 letters, digits, '_', '-' and '.' after it; one that "
        "begins with '-' is written --name=VALUE"
    )


def test_a_negative_number_is_a_value():
    assert parse(["--workers", "-1"]).values["workers"].raw == "-1"


def test_bind_is_the_socket():
    assert parse(["-b", "unix:/run/a.sock"]).values["socket"] == Given("/run/a.sock", "--bind")
    assert parse(["--bind=unix:/a", "--socket", "/a"]).values["socket"].raw == "/a"
    assert refusal("-b", "unix:/a", "--socket", "/b") == (
        "socket: --socket and --bind differ; give one of them"
    )


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "127.0.0.1:8000",
            "socket: '127.0.0.1:8000' is a network address; udsrv listens on a Unix socket only: "
            "use --socket /run/app.sock and let Nginx listen on the port (from --bind)",
        ),
        (
            "fd://3",
            "socket: 'fd://3': an inherited descriptor is not taken; udsrv makes its socket "
            "itself: use --socket PATH (from --bind)",
        ),
        (
            "/run/a.sock",
            "socket: '/run/a.sock' lacks the prefix: write --bind unix:/run/a.sock, or --socket "
            "/run/a.sock (from --bind)",
        ),
    ],
)
def test_bind_to_anything_else_is_refused(address, sentence):
    assert refusal("-b", address, "app:app") == sentence


@pytest.mark.parametrize("flag", [f for f in REFUSED if f not in ("--bind", "--config")])
def test_a_flag_of_gunicorns_says_what_to_do_instead(flag):
    expected = f"{flag}: {REFUSED[flag]}"
    assert refusal(flag, "app:app") == expected
    assert refusal("--socket", "/run/a.sock", flag, "value", "app:app") == expected
    if flag.startswith("--"):
        assert refusal(f"{flag}=value", "app:app") == expected
    else:
        assert refusal(f"{flag}value", "app:app") == f"{flag}value: {REFUSED[flag]}"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--wokers", "3"], "--wokers: no such flag; did you mean --workers?"),
        (["--socket-mod=1"], "--socket-mod: no such flag; did you mean --socket-mode?"),
        (["--xyzzy"], "--xyzzy: no such flag; udsrv --help lists what there is"),
        (["--work", "3"], "--work: no such flag; did you mean --workers?"),
        (["-Z"], "-Z: no such flag; udsrv --help lists what there is"),
        (["--a\nb"], "'--a\\nb': no such flag; udsrv --help lists what there is"),
        (
            ["--socket"],
            "--socket: needs the path of a socket after it; one that begins with '-' is written "
            "--socket=VALUE",
        ),
        (
            ["-w"],
            "--workers: needs a whole number from 1 to 1024 after it; one that begins with '-' is "
            "written --workers=VALUE",
        ),
        (
            ["-b"],
            "--bind: needs unix:PATH after it; one that begins with '-' is written --bind=VALUE",
        ),
        (
            ["--config"],
            "--config: needs a value after it; one that begins with '-' is written --config=VALUE",
        ),
        (["--version=1"], "--version: ignored explicit argument '1'; it takes no value"),
        (
            ["--workers", "3", "-w4"],
            "--workers: given as '3' and as '4'; give it once",
        ),
        (
            ["-c", "a.toml", "--config", "b.toml"],
            "--config: given as 'a.toml' and as 'b.toml'; give it once",
        ),
        (["a:b", "c:d"], "'c:d': one application is served, and 'a:b' is named already"),
        (
            ["--socket", "/a", "check", "a:b"],
            "check: a subcommand comes first: udsrv check ...",
        ),
        (["--server-name", "a.example"], "--server-name: no such flag; "),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(argv, sentence):
    found = refusal(*argv)
    assert found == sentence or (sentence.endswith("; ") and found.startswith(sentence))
    assert found.isprintable()


def test_the_same_value_twice_does_no_harm():
    assert parse(["--workers", "3", "-w", "3"]).values["workers"].raw == "3"


def test_generators_have_options_of_their_own():
    argv = ["gen-nginx", "--server-name", "a", "--server-name", "b", "--output", "d"]
    options = parse(argv).options
    assert options == {
        "--server-name": ("a", "b"),
        "--listen": ("80",),
        "--upstream-only": False,
        "--output": "d",
    }
    assert parse(["gen-nginx", "--listen", "81", "--upstream-only"]).options["--listen"] == ("81",)
    assert parse(["gen-systemd"]).options == {"--output": ""}
    assert parse(["print-config", "--json"]).options == {"--explain": False, "--json": True}


def test_an_option_needs_its_subcommand():
    assert "--output: no such flag" in refusal("check", "--output", "d")


def test_help_and_version_are_seen_beside_other_words():
    assert parse(["--socket", "/a", "--help", "--nonsense"]).help
    assert parse(["--version"]).version


def test_the_application_may_have_a_subcommands_name_when_it_is_spelled_out():
    assert parse(["check:application"]).values["app"].raw == "check:application"
    assert BY_NAME["app"].read("check:application", "/") == "check:application"
