"""Read the command line into what each flag said, without judging values.

Runs as: root while the master starts, any user elsewhere. Imports the standard library only.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from udsrv.config import values
from udsrv.config.model import BY_NAME, SETTINGS
from udsrv.config.sources import Given
from udsrv.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """A flag of one subcommand, beside the settings."""

    flag: str
    metavar: str
    help: str
    default: str = ""
    many: bool = False
    switch: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand; ``required`` names the settings it cannot do without."""

    name: str
    summary: str
    required: tuple[str, ...]
    options: tuple[Option, ...] = ()
    more: str = ""  # what --help says below


_OUTPUT = Option("--output", "DIR", "Write all files, each at its place below DIR.")

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command("run", "Serve the application; no word is needed.", ("socket", "app")),
        Command(
            "gen-nginx",
            "Print the Nginx configuration that fits the settings.",
            ("socket",),
            (
                Option("--server-name", "NAME", "A name Nginx answers to; repeatable.", many=True),
                Option(
                    "--listen",
                    "[ADDRESS:]PORT",
                    "Where Nginx listens; repeatable.",
                    default="80",
                    many=True,
                ),
                Option(
                    "--upstream-only",
                    "",
                    "Leave the server block out, to include the rest in your own.",
                    switch=True,
                ),
                _OUTPUT,
            ),
        ),
        Command(
            "gen-systemd",
            "Print the systemd unit that fits the settings.",
            ("socket", "app"),
            (_OUTPUT,),
        ),
        Command(
            "print-config",
            "Print every setting as TOML that --config takes.",
            (),
            (
                Option("--explain", "", "Add what each means and where it came from.", switch=True),
                Option("--json", "", "Print values and origins as JSON.", switch=True),
            ),
        ),
        Command(
            "check",
            "Check settings, accounts, directories and the application's import.",
            ("socket", "app"),
        ),
        Command(
            "audit",
            "Read from the kernel, and try, what the running processes could do.",
            ("socket",),
            (
                Option("--json", "", "Print JSON (docs/audit.schema.json).", switch=True),
                Option(
                    "--threshold",
                    "N",
                    "Fail when systemd-analyze security gives the unit more than N of 10.",
                    default="3",
                ),
            ),
            "Exit codes: 0 nothing fails, 1 something fails or could not be looked at.",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line said."""

    command: Command
    values: Mapping[str, Given]
    config_path: str | None
    options: Mapping[str, Any]
    help: bool
    version: bool


def parse(argv: Sequence[str]) -> Arguments:
    """Read the words after the program's name.

    Raises:
        UsageError: a flag is unknown, refused, lacks its value or contradicts another.
    """
    command = COMMANDS.get(argv[0]) if argv else None
    rest = argv[1:] if command else argv
    command = command or COMMANDS["run"]
    parser = _parser(command)
    try:
        found, extra = parser.parse_known_args(rest)
    except argparse.ArgumentError as error:
        raise UsageError(_in_our_words(error)) from error
    read = vars(found)
    if not (found.help or found.version):
        _refuse_extra(extra, parser, found.app)
    return Arguments(
        command=command,
        values=_given(read),
        config_path=_only("--config", read["config"]),
        options={option.flag: _option(option, read) for option in command.options},
        help=found.help,
        version=found.version,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave out the usage that argparse would print before the sentence."""
        raise UsageError(message)


def _parser(command: Command) -> _Parser:
    parser = _Parser(prog="udsrv", add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("app", nargs="?", metavar="APP")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-c", "--config", action="append")
    parser.add_argument("-b", "--bind", action="append")
    for setting in SETTINGS:
        if setting.name == "app":
            continue
        flags = (*setting.short, setting.flag, *setting.hidden)
        if setting.negative is None:
            parser.add_argument(*flags, dest=setting.name, action="append")
            continue
        for switch, value in ((flags, "true"), ((setting.negative,), "false")):
            parser.add_argument(*switch, dest=setting.name, action="append_const", const=value)
    for option in command.options:
        action = "store_true" if option.switch else "append"
        parser.add_argument(option.flag, dest=option.flag, action=action)
    return parser


def _given(read: Mapping[str, Any]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for setting in SETTINGS:
        texts = read[setting.name]
        if setting.name == "app":
            texts = texts if texts is None else [texts]
        if texts is not None:
            raw = texts if setting.many else _only(setting.flag, texts)
            given[setting.name] = Given(raw, setting.flag)
    if read["bind"] is not None:
        try:
            bound = values.bound_path(_only("--bind", read["bind"]) or "")
        except values.SettingError as error:
            raise UsageError(f"socket: {error} (from --bind)") from error
        if given.setdefault("socket", Given(bound, "--bind")).raw != bound:
            raise UsageError("socket: --socket and --bind differ; give one of them")
    return given


def _only(flag: str, texts: list[str] | None) -> str | None:
    """Take the one value of a flag; the same one twice does no harm."""
    if texts is None:
        return None
    if any(text != texts[0] for text in texts):
        raise UsageError(f"{flag}: given as {texts[0]!r} and as {texts[-1]!r}; give it once")
    return texts[0]


def _option(option: Option, read: Mapping[str, Any]) -> bool | str | tuple[str, ...]:
    found = read[option.flag]
    if option.switch:
        return bool(found)
    if option.many:
        return tuple(found or ([option.default] if option.default else ()))
    return _only(option.flag, found) or option.default


def _in_our_words(error: argparse.ArgumentError) -> str:
    flag = (error.argument_name or "").rsplit("/", 1)[-1]
    if error.message and "expected one argument" in error.message:
        setting = BY_NAME.get(flag.removeprefix("--").replace("-", "_"))
        kind = setting.accepts if setting else {"--bind": "unix:PATH"}.get(flag, "a value")
        return f"{flag}: needs {kind} after it; one that begins with '-' is written {flag}=VALUE"
    return f"{flag}: {error.message}; it takes no value"


def _refuse_extra(extra: Sequence[str], parser: argparse.ArgumentParser, app: str | None) -> None:
    if app in COMMANDS:
        raise UsageError(f"{app}: a subcommand comes first: udsrv {app} ...")
    unknown = next((word for word in extra if word.startswith("-") and word != "--"), None)
    if unknown is not None:
        from udsrv.config.refused import instead_of

        flag = unknown.partition("=")[0]
        known = [f for f in parser._option_string_actions if f.startswith("--")]
        raise UsageError(instead_of(flag, flag, known, what="flag"))
    words = [word for word in extra if word != "--"]
    if words:
        raise UsageError(f"{words[0]!r}: one application is served, and {app!r} is named already")
