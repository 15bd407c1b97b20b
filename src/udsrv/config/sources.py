"""Where settings come from: the environment and one TOML file.

Runs as: root while the master starts, any user elsewhere. Imports the standard library only.
The file is data, named on the command line and never looked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from udsrv.config.model import BY_NAME, SETTINGS
from udsrv.errors import ConfigError

_FILE_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """What one source says about one setting, unread."""

    raw: object
    origin: str


def from_platform(environ: Mapping[str, str]) -> dict[str, Given]:
    """Collect what hosting platforms say to every server: how many workers the machine takes."""
    workers = environ.get("WEB_CONCURRENCY")
    return {} if workers is None else {"workers": Given(workers, "WEB_CONCURRENCY")}


def unread(environ: Mapping[str, str]) -> str:
    """Say which variable of Gunicorn's is set, in a clause of a sentence; nothing if none is."""
    if "GUNICORN_CMD_ARGS" not in environ:
        return ""
    return (
        "GUNICORN_CMD_ARGS is set and not read, so give its settings as flags or UDSRV_ variables"
    )


def from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Collect the ``UDSRV_*`` variables; items of a list stand on a line each."""
    by_variable = {setting.variable: setting for setting in SETTINGS}
    given: dict[str, Given] = {}
    for variable in sorted(name for name in environ if name.startswith("UDSRV_")):
        setting = by_variable.get(variable)
        if setting is None:
            from udsrv.config.refused import instead_of

            flag = "--" + variable.removeprefix("UDSRV_").lower().replace("_", "-")
            raise ConfigError(instead_of(flag, variable, by_variable, what="variable"))
        text = environ[variable]
        raw = [line for line in text.split("\n") if line] if setting.many else text
        given[setting.name] = Given(raw, variable)
    return given


def from_file(path: str, read: Callable[[str], bytes]) -> dict[str, Given]:
    """Collect the settings of the TOML file at the absolute ``path``, which ``read`` reads.

    Raises:
        ConfigError: it cannot be read, or a name in it is unknown.
    """
    import tomllib

    if not path.isprintable():
        raise ConfigError(f"{path!r}: the file's name must be printable; rename it")
    text = read(path)
    try:
        table = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = (
            "; Python is not run, write the settings as NAME = VALUE" if path[-3:] == ".py" else ""
        )
        reason = str(error)[:200]
        raise ConfigError(f"{path}: not valid TOML: {reason}{hint}") from error
    given: dict[str, Given] = {}
    for name, raw in table.items():
        if name not in BY_NAME:
            from udsrv.config.refused import instead_of

            flag = "--" + name.replace("_", "-")
            sentence = instead_of(flag, name, BY_NAME, what="setting")
            raise ConfigError(f"{sentence} (from {path})")
        if name == "env" and isinstance(raw, dict):
            raw = [f"{key}={_variable(key, value, path)}" for key, value in raw.items()]
        given[name] = Given(raw, path)
    return given


def _variable(key: str, value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"env.{key}: {value!r} is not text; put it in quotes (from {path})")
    return value


def read_file(path: str) -> bytes:
    """Read a regular file of a sane size, as a user who may: for root there is another function.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not stop the start
    try:
        file_fd = os.open(path, flags)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file_fd).st_mode):
        os.close(file_fd)
        raise ConfigError(f"{path}: not a regular file; name a TOML file")
    with open(file_fd, "rb") as file:
        text = file.read(_FILE_LIMIT_BYTES + 1)
    if len(text) > _FILE_LIMIT_BYTES:
        raise ConfigError(f"{path}: larger than {_FILE_LIMIT_BYTES} bytes")
    return text
