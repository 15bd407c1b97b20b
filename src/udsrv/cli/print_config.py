"""Print the settings in a form that can be read back.

Runs as: any user. Loaded only by ``print-config``.
"""

from __future__ import annotations

import json
import sys
import textwrap

from udsrv.config.model import DEFAULT, SETTINGS, Setting, Settings


def print_config(settings: Settings, *, explain: bool, as_json: bool) -> int:
    """Write every setting to stdout, as TOML or as JSON."""
    text = json_text(settings) if as_json else toml_text(settings, explain=explain)
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0


def json_text(settings: Settings) -> str:
    """Return an object with the value and the origin of each setting; null is "not set"."""
    table = {
        setting.name: {
            "value": setting.show(value) if _is_set(setting, settings, value) else None,
            "origin": settings.origin(setting.name),
        }
        for setting in SETTINGS
        for value in [getattr(settings, setting.name)]
    }
    return json.dumps(table, indent=2) + "\n"


def toml_text(settings: Settings, *, explain: bool) -> str:
    """Return a file that ``--config`` takes; what is not set is a comment."""
    lines: list[str] = []
    group = ""
    for setting in SETTINGS:
        if explain and setting.group != group:
            group = setting.group
            lines += ["", f"# ==== {group} ===="]
        if explain:
            lines += ["", *_meaning(setting)]
        value = getattr(settings, setting.name)
        if _is_set(setting, settings, value):
            line = f"{setting.name} = {_toml(setting.show(value))}"
            lines.append(f"{line}  # {_source(setting, settings)}" if explain else line)
        else:
            see = f" ({_reason(setting)})" if explain else ""
            lines.append(f"# {setting.name} is not set: {setting.unset}{see}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _is_set(setting: Setting, settings: Settings, value: object) -> bool:
    if setting.name in ("socket", "name") and not settings.socket:  # there is no socket to name
        return settings.origin(setting.name) != DEFAULT
    return value is not None and (value != () or setting.unset == "")


def _meaning(setting: Setting) -> list[str]:
    flags = ", ".join((*setting.short, setting.flag))
    several = "several of it: " if setting.many else ""
    text = f"Takes {several}{setting.accepts}; given by {flags} or {setting.variable}."
    wrapped = textwrap.wrap(text, 94, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in (setting.help, *wrapped)]


def _source(setting: Setting, settings: Settings) -> str:
    """Say where the value came from, and where the reason for the default stands."""
    origin = settings.origin(setting.name)
    if origin == DEFAULT:
        return f"default ({_reason(setting)})"
    return f"from {origin}; default: {setting.default_text or 'none'} ({_reason(setting)})"


def _reason(setting: Setting) -> str:
    return f"docs/defaults.md#{setting.name}"


def _toml(value: str | int | float | list[str]) -> str:
    """Write one value; JSON's strings are TOML's but for DEL, which TOML escapes."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
