"""Where settings come from: the environment and one TOML file.

Runs as: root while the master starts, any user elsewhere. Imports the standard library only.
The file is data, named on the command line and never looked for. Root reads only what root alone
can have written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
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


def from_file(path: str, *, as_root: bool) -> dict[str, Given]:
    """Collect the settings of the TOML file at the absolute ``path``.

    Raises:
        ConfigError: it cannot be read, root cannot rely on it, or a name in it is unknown.
    """
    import tomllib

    if not path.isprintable():
        raise ConfigError(f"{path!r}: the file's name must be printable; rename it")
    text = _read(path, as_root=as_root)
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


def _read(path: str, *, as_root: bool) -> bytes:
    """Read a regular file of a sane size; as root, one that only root can change."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not stop the start
    if as_root:
        _check_directories(path)
        flags |= os.O_NOFOLLOW
    try:
        file_fd = os.open(path, flags)
    except OSError as error:
        if as_root and os.path.islink(path):
            real = os.path.realpath(path)
            raise ConfigError(f"{path}: a symbolic link; name the file itself: {real}") from error
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    found = os.fstat(file_fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(file_fd)
        raise ConfigError(f"{path}: not a regular file; name a TOML file")
    with open(file_fd, "rb") as file:
        if as_root and not only_root_writes(found):
            raise ConfigError(
                f"{path}: root reads it, so it must be root's and writable by nobody else; "
                f"chown root {path} && chmod 0644 {path}"
            )
        text = file.read(_FILE_LIMIT_BYTES + 1)
    if len(text) > _FILE_LIMIT_BYTES:
        raise ConfigError(f"{path}: larger than {_FILE_LIMIT_BYTES} bytes")
    return text


def _check_directories(path: str) -> None:
    """Refuse a path that somebody other than root could redirect."""
    parent = os.path.dirname(path)
    real = os.path.realpath(parent)
    if real != parent:
        name = os.path.join(real, os.path.basename(path))
        raise ConfigError(f"{path}: goes through a symbolic link; as root name the path {name}")
    for directory in _chain(parent):
        try:
            found = os.stat(directory)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        if not only_root_writes(found):
            raise ConfigError(
                f"{path}: root reads it, but others may write to the directory {directory}; "
                f"chown root {directory} && chmod go-w {directory}, or keep the file below /etc"
            )


def only_root_writes(found: os.stat_result) -> bool:
    """Tell whether nobody but root can change or replace what ``found`` describes.

    In a sticky directory only the owner of an entry can rename or remove it: unlink(2).
    """
    sticky_directory = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return found.st_uid == 0 and (not found.st_mode & 0o022 or bool(sticky_directory))


def _chain(directory: str) -> Iterator[str]:
    while True:
        yield directory
        if directory == "/":
            return
        directory = os.path.dirname(directory)
