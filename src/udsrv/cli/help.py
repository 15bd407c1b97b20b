"""The text of ``--help``, made from the tables.

Runs as: any user. Loaded only when it is asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from udsrv.cli.arguments import COMMANDS, Command
from udsrv.config.model import SETTINGS, Setting

_WIDTH = 79
_COLUMN = 26

SHORT_USAGE = """\
usage: udsrv --socket PATH [options] APP

  udsrv --socket /run/app.sock app:app
  udsrv gen-nginx --socket /run/app.sock --server-name example.com
  udsrv check --socket /run/app.sock --user app app:app

udsrv --help lists everything.
"""


def help_text(command: Command) -> str:
    """Return the help of one subcommand, at most 79 columns wide."""
    if command.name != "run":
        return _subcommand_help(command)
    lines = [
        "usage: udsrv [options] --socket PATH APP",
        "       udsrv SUBCOMMAND [options] ...",
        "",
        *textwrap.wrap(
            "Serve a WSGI application to Nginx over a Unix socket. Every setting is also an "
            "environment variable (--start-timeout: UDSRV_START_TIMEOUT) and a line of the TOML "
            "file named by --config (start_timeout = 60). Flags win over variables, variables "
            "over the file.",
            _WIDTH,
        ),
        "",
        "Subcommands:",
    ]
    for other in COMMANDS.values():
        if other.name != "run":
            lines += _row(other.name, other.summary)
    lines += ["", "Options:"]
    lines += _row("-h, --help", "Show this, or a subcommand's options.")
    lines += _row("--version", "Show the version.")
    lines += _row("-c, --config PATH", "Read settings from this TOML file.")
    group = ""
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            lines += ["", f"{group}:"]
        lines += _row(_flags(setting), f"{setting.help}{_default(setting)}")
    lines += [
        "",
        "Exit codes: 64 usage, 69 the application does not load, 70 a mistake in udsrv,",
        "77 refused by the system, 78 configuration.",
    ]
    return "\n".join(lines) + "\n"


def _subcommand_help(command: Command) -> str:
    app = " APP" if "app" in command.required else ""
    lines = [f"usage: udsrv {command.name} [options]{app}", ""]
    lines += textwrap.wrap(command.summary, _WIDTH)
    if command.options:
        lines += ["", "Options:"]
    for option in command.options:
        default = f" [{option.default}]" if option.default else ""
        lines += _row(f"{option.flag} {option.metavar}".rstrip(), f"{option.help}{default}")
    lines += ["", "All settings that udsrv --help lists are taken too."]
    if command.more:
        lines += ["", *textwrap.wrap(command.more, _WIDTH)]
    return "\n".join(lines) + "\n"


def _flags(setting: Setting) -> str:
    if setting.name == "app":
        return setting.metavar
    bind = " (-b unix:PATH)" if setting.name == "socket" else ""
    return f"{', '.join((*setting.short, setting.words))}{bind}"


def _default(setting: Setting) -> str:
    return f" [{setting.default_text}]" if setting.default_text else ""


def _row(left: str, right: str) -> Iterator[str]:
    """Lay out two columns; a long left side has a line of its own."""
    lines = textwrap.wrap(right, _WIDTH - _COLUMN, break_on_hyphens=False)
    first = f"  {left}"
    if len(first) >= _COLUMN - 1:
        yield first
        first = ""
    for line in lines:
        yield f"{first:<{_COLUMN}}{line}"
        first = ""
