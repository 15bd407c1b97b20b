"""Make one frozen `Settings` from the table's defaults, the file, the environment and the flags.

Runs as: root while the master starts, any user elsewhere. Imports the standard library only.
Pure apart from reading the file. Users and groups are not looked up: a generator works with
accounts that do not exist yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from udsrv.config import sources, values
from udsrv.config.model import BY_NAME, DEFAULT, SETTINGS, Settings
from udsrv.config.sources import Given
from udsrv.config.values import SettingError
from udsrv.errors import ConfigError, UsageError

#: The first is at least as large as each of the others: it holds them.
_CONTAINS = ("limit_request_head", ("limit_request_line", "limit_request_field_size"))

#: Lists of which each item has a name of its own, and what ends the name.
_NAMED = {"env": "=", "credential": ":"}
_MOST_CREDENTIALS = 64


def resolve(
    argv_values: Mapping[str, Given],
    environ: Mapping[str, str],
    config_path: str | None,
    start_directory: str,
    *,
    required: Collection[str] = ("socket", "app"),
    read: Callable[[str], bytes] = sources.read_file,
) -> Settings:
    """Decide every setting; a later source replaces an earlier one, lists included.

    ``read`` reads the file of settings; root's must see that nobody else can write it.
    Without a socket, which only ``required`` without it permits, ``socket`` is empty.

    Raises:
        UsageError: the command line is wrong, or something required is missing.
        ConfigError: the file or the environment is wrong.
    """
    origins = {setting.name: DEFAULT for setting in SETTINGS}
    decided: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}
    for directory, source in _sources(argv_values, environ, config_path, start_directory, read):
        for name, given in source.items():
            try:
                decided[name] = BY_NAME[name].read(given.raw, directory)
                _check(name, decided[name])
            except SettingError as error:
                _fail(name, str(error), given.origin)
            origins[name] = given.origin
    for name in required:
        if decided[name] is None:
            _fail_missing(name, environ)
    if decided["chdir"] is None:
        decided["chdir"] = start_directory
    if decided["socket"] is None:
        decided["socket"] = ""
    if decided["name"] is None:
        decided["name"] = _name_of(decided["socket"], origins["socket"])
    _check_limits(decided, origins)
    if decided["reload_extra_file"] and not decided["reload"]:
        _fail(
            "reload_extra_file",
            "says nothing without reload; give --reload too",
            origins["reload_extra_file"],
        )
    return Settings(**decided, origins=origins)


def _sources(
    argv_values: Mapping[str, Given],
    environ: Mapping[str, str],
    config_path: str | None,
    start_directory: str,
    read: Callable[[str], bytes],
) -> list[tuple[str, Mapping[str, Given]]]:
    """Order the sources from the weakest to the strongest, with where their relative paths begin.

    Those of the file begin beside it: a unit starts elsewhere than a shell does.
    """
    ordered: list[tuple[str, Mapping[str, Given]]] = [
        (start_directory, sources.from_environment(environ)),
        (start_directory, argv_values),
    ]
    if config_path is not None:
        if config_path.startswith(("python:", "file:")):
            raise UsageError(
                f"--config: {config_path!r} is not the path of a TOML file; Python is not run,"
                " write the settings as NAME = VALUE"
            )
        path = values.absolute(config_path, start_directory)
        file = sources.from_file(path, read)
        ordered.insert(0, (os.path.dirname(path), file))
    # The weakest: a platform sets it for all, the file was written for this application.
    return [(start_directory, sources.from_platform(environ)), *ordered]


def _check(name: str, value: object) -> None:
    """Check what the whole value of one setting must keep."""
    if name == "socket":
        values.check_socket_length(str(value))
    if name in _NAMED and isinstance(value, tuple):
        names = [text.partition(_NAMED[name])[0] for text in value]
        twice = next((each for each in names if names.count(each) > 1), None)
        if twice is not None:
            raise SettingError(f"{twice!r} has two values; give it one")
    if name == "credential" and isinstance(value, tuple) and len(value) > _MOST_CREDENTIALS:
        raise SettingError(
            f"{len(value)} are named, and {_MOST_CREDENTIALS} is the most; put several secrets"
            " into one file"
        )


def _check_limits(decided: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    whole, parts = _CONTAINS
    for part in parts:
        if decided[whole] < decided[part]:
            culprit = whole if origins[whole] != DEFAULT else part
            _fail(
                culprit,
                f"{whole} is {decided[whole]}, less than {part}, which is {decided[part]} and part "
                f"of it; raise {whole} or lower {part}",
                origins[culprit],
            )


def _name_of(socket: str, origin: str) -> str:
    """Name the instance after its socket, when the operator has not."""
    stem = os.path.splitext(os.path.basename(socket))[0] or "udsrv"
    try:
        return str(BY_NAME["name"].read(stem, "/"))
    except SettingError as error:
        _fail("name", f"{error}, and the socket is called so; give --name", origin)


def _fail_missing(name: str, environ: Mapping[str, str]) -> NoReturn:
    setting = BY_NAME[name]
    unread = sources.unread(environ)
    example = {"app": "app:app", "socket": "--socket /run/app.sock"}[name]
    raise UsageError(
        f"{name}: not set; give {example}, {setting.variable}, "
        f"or '{name}' in the file that --config names" + (f"; {unread}" if unread else "")
    )


def _fail(name: str, sentence: str, origin: str) -> NoReturn:
    """Say whose value is wrong, by the exit code too."""
    from_command_line = origin == "APP" or origin.startswith("-")
    raise (UsageError if from_command_line else ConfigError)(f"{name}: {sentence} (from {origin})")
