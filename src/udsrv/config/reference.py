"""The reference page of the settings: ``python -m udsrv.config.reference > docs/configuration.md``.

Runs as: any user, by hand. A test compares the page with the table.
"""

from __future__ import annotations

import json
import sys

from udsrv.config.model import SETTINGS, Setting
from udsrv.config.refused import REFUSED

_HEAD = """\
# Configuration

This page is made by `python -m udsrv.config.reference`; change the table in
`src/udsrv/config/model.py` instead. Why a default is what it is stands in
[defaults.md](defaults.md).

A setting can be given in three places. A later one replaces an earlier one, and a list is replaced
as a whole:

1. the TOML file that `--config PATH` (`-c`) names: a flat table, `workers = 4`;
2. the environment: `UDSRV_WORKERS=4`; the items of a list stand on a line each;
3. the command line: `--workers 4`.

`udsrv print-config --explain` shows every value and where it came from. A name that does not exist,
a value out of range or two values that contradict each other end the start: with exit code 64 when
the command line is at fault, else with 78. Relative paths begin in the directory where udsrv is
started, those in the file beside the file. It is data and is never looked for; as root, udsrv reads
it only when root alone can have written it. Sizes take `k`, `m` and `g` for powers of 1024; times
are seconds.

`WEB_CONCURRENCY`, which hosting platforms set, is the number of workers when nothing else names
one: it is weaker than the file. `GUNICORN_CMD_ARGS` is not read, and a line of the log says so.
"""


def reference_page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    group = ""
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            parts.append(f"## {group}\n")
        parts.append(_section(setting))
    parts.append(_refused())
    return "\n".join(parts)


def _section(setting: Setting) -> str:
    flags = [
        f"`{flag} {setting.metavar}`".replace(" `", "`") for flag in (*setting.short, setting.flag)
    ]
    if setting.negative is not None:
        flags.append(f"`{setting.negative}`")
    if setting.name == "app":
        flags = ["the last word of the command line"]
    if setting.name == "socket":
        flags.append("`-b unix:PATH`, `--bind unix:PATH`")
    takes = f"a list; each is {setting.accepts}" if setting.many else setting.accepts
    lines = [
        f"### {setting.name}\n",
        f"{setting.help}\n",
        f"- Flag: {', '.join(flags)}",
        f"- Variable: `{setting.variable}`",
        f"- File: `{setting.name} = {_example(setting)}`",
        f"- Takes: {takes}",
        f"- Default: {_default(setting)} ([why](defaults.md#{setting.name}))",
    ]
    return "\n".join(lines) + "\n"


_EXAMPLES = {
    "app": "app:app",
    "python": "/srv/app/.venv/bin/python",
    "chdir": "/srv/app",
    "pythonpath": ["/srv/lib"],
    "env": ["DJANGO_SETTINGS_MODULE=site.settings"],
    "pass_env": ["AWS_*"],
    "env_file": "/etc/app.env",
    "socket": "/run/app.sock",
    "socket_owner": "root",
    "socket_group": "www-data",
    "user": "app",
    "group": "app",
    "name": "app",
    "preload": True,
    "reload": True,
    "reload_extra_file": ["/srv/app/templates/base.html"],
    "read_path": ["/srv/models"],
    "write_path": ["/var/lib/app"],
    "trusted_peer": ["www-data", "%proxies"],
    "access_logfile": "/var/log/app/access.log",
}


def _example(setting: Setting) -> str:
    fallback = setting.show(setting.default) if setting.default is not None else ""
    return json.dumps(_EXAMPLES.get(setting.name, fallback))


def _default(setting: Setting) -> str:
    if setting.default is None or setting.default == ():
        return setting.unset or "none"
    return f"`{json.dumps(setting.show(setting.default))}`"


def _refused() -> str:
    rows = [f"| `{flag}` | {sentence} |" for flag, sentence in REFUSED.items()]
    return "\n".join(
        [
            "## Flags that udsrv answers with a sentence\n",
            "Gunicorn has these; each ends the start with what to do instead.\n",
            "| flag | instead |",
            "|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(reference_page())
