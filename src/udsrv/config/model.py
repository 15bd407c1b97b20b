"""The one table of settings, and the frozen value made from it.

Runs as: root while the master starts, any user elsewhere. Imports the standard library only.
Flags, ``UDSRV_*`` variables, TOML keys, ``--help``, ``docs/configuration.md``, ``print-config``
and validation are derived from `SETTINGS`. A row enters together with its behaviour.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from udsrv.config import values
from udsrv.config.values import Kind, SettingError, Value
from udsrv.errors import UdsrvError

DEFAULT = "default"  # the origin of a value that nobody gave

_WHOLE = Kind("a whole number", values.whole)
_SECONDS = Kind("a number of seconds", values.seconds)
_SIZE = Kind("a number of bytes, or of k, m or g", values.size)
_MODE = Kind("a mode of three octal digits, like 0660", values.socket_mode, quoted=True)
_UMASK = Kind("a mask of at most three octal digits, like 0027", values.umask, quoted=True)
_SWITCH = Kind("true or false", values.switch, is_switch=True)
_ACCOUNT = Kind("the name or number of an account", values.account)
_APP_ACCOUNT = Kind("the name or number of an account", values.unprivileged_account)
_PEER = Kind("the name of a user, or of a group after '%'", values.peer)
_PATH = Kind("a path", values.path, is_path=True)
_INTERPRETER = Kind("the path of an interpreter", values.interpreter, is_path=True)
_SOCKET = Kind("the path of a socket", values.socket_path, is_path=True)
_APP = Kind("an application like 'app:app'", values.application)
_NAME = Kind("a name of at most 64 letters, digits, '_', '-' and '.'", values.instance_name)
_ASSIGNMENT = Kind("a variable like NAME=VALUE", values.assignment, multiline=True)
_GLOB = Kind("a variable's name, or a pattern with * and ?", values.variable_glob)
_CREDENTIAL = Kind("a credential like NAME or NAME:PATH", values.credential, path_after=":")
_LOG_FILE = Kind("a path, or '-' for standard output", values.path, is_path=True, takes_stream=True)
_ACCESS_FORMAT = Kind(
    "combined, json, or a format like '%(h)s \"%(r)s\" %(s)s'", values.access_format
)
_SANDBOX = values.choice("strict", "best-effort", "off")
_NETWORK = values.choice("none", "local", "full")
_LOG_FORMAT = values.choice("text", "json")
_LEVEL = values.choice("debug", "info", "warning", "error")

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: everything that is known about one setting."""

    name: str
    kind: Kind
    #: None: not set. A text in ``unset`` says what then happens.
    default: Value | tuple[str, ...] | None
    metavar: str
    help: str
    group: str
    unset: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    #: Flags beside the long one that the name makes.
    short: tuple[str, ...] = ()
    #: Gunicorn's other spelling of the flag, accepted and not advertised.
    hidden: tuple[str, ...] = ()
    many: bool = False
    #: What separates several items in one text.
    separator: str | None = None

    @property
    def flag(self) -> str:
        """The long flag; the application alone has none."""
        return "APP" if self.name == "app" else "--" + self.name.replace("_", "-")

    @property
    def negative(self) -> str | None:
        """The flag that turns a switch off."""
        return "--no-" + self.flag.removeprefix("--") if self.kind.is_switch else None

    @property
    def words(self) -> str:
        """The long flag with the value's placeholder, if it takes one."""
        return f"{self.flag} {self.metavar}".rstrip()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "UDSRV_" + self.name.upper()

    @property
    def accepts(self) -> str:
        """What may be given, in words that complete "is not ..."."""
        if self.low is None or self.high is None:
            return self.kind.noun
        return f"{self.kind.noun} from {self.short_text(self.low)} to {self.short_text(self.high)}"

    def short_text(self, number: float) -> str:
        """Write a number of this setting's as a person would."""
        return values.size_text(number) if self.kind is _SIZE else f"{number:.10g}"

    @property
    def default_text(self) -> str:
        """What holds when nothing is given, as a person would write it."""
        if self.default is None or isinstance(self.default, tuple):
            return self.unset
        shown = self.show(self.default)
        if isinstance(shown, bool):
            return "yes" if shown else "no"
        return self.short_text(shown) if isinstance(shown, (int, float)) else str(shown)

    def _in_range(self, value: float) -> bool:
        return self.low is None or self.high is None or self.low <= value <= self.high

    def read(self, raw: object, start_directory: str) -> Value | tuple[str, ...]:
        """Read what one source says.

        Raises:
            SettingError: with the rest of a sentence that begins with the setting's name.
        """
        if not self.many:
            return self._read_item(raw, start_directory)
        items = raw if isinstance(raw, list) else [raw]
        read = [
            str(self._read_item(part, start_directory))
            for item in items
            for part in self._split(item)
        ]
        return tuple(dict.fromkeys(read))

    def _split(self, item: object) -> Iterable[object]:
        if self.separator is None or not isinstance(item, str):
            return (item,) if item != "" else ()
        return (part.strip() for part in item.split(self.separator) if part.strip())

    def _read_item(self, raw: object, start_directory: str) -> Value:
        try:
            value = self.kind.read(raw)
            if not isinstance(value, str) and not self._in_range(value):
                raise ValueError
        except SettingError:
            raise
        except ValueError as error:
            raise SettingError(f"{raw!r} is not {self.accepts}") from error
        if self.kind.path_after:
            head, mark, rest = str(value).partition(self.kind.path_after)
            return f"{head}{mark}{values.absolute(rest, start_directory)}" if mark else head
        if not self.kind.is_path or (self.kind.takes_stream and value == "-"):
            return value
        return values.absolute(str(value), start_directory)

    def show(self, value: Value | tuple[str, ...]) -> Value | list[str]:
        """Make the form in which TOML and JSON carry the value."""
        if isinstance(value, tuple):
            return list(value)
        if self.kind in (_MODE, _UMASK):
            return f"{value:04o}"
        return int(value) if isinstance(value, float) and value.is_integer() else value


APPLICATION = "Application"
SOCKET = "Socket"
PROCESSES = "Processes"
SANDBOX = "Sandbox"
TIME = "Deadlines, in seconds"
LIMITS = "Limits, in bytes unless said otherwise"
DEVELOPMENT = "Development"
REST = "Trust and log"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "app", _APP, None, "APP",
        "The application: module, module:name, module:a.b or module:make('x').",
        APPLICATION, unset="required",
    ),
    Setting(
        "python", _INTERPRETER, None, "PATH",
        "The interpreter of the application's own environment.",
        APPLICATION, unset="the one that runs udsrv",
    ),
    Setting(
        "chdir", _PATH, None, "DIR",
        "The application's working directory, first on its import path.",
        APPLICATION, unset="the directory where udsrv is started",
    ),
    Setting(
        "pythonpath", _PATH, (), "DIR",
        "More directories on the application's import path; repeatable, or with commas.",
        APPLICATION, many=True, separator=",",
    ),
    Setting(
        "env", _ASSIGNMENT, (), "NAME=VALUE",
        "A variable in the application's environment; repeatable.",
        APPLICATION, short=("-e",), many=True,
    ),
    Setting(
        "pass_env", _GLOB, (), "GLOB",
        "Variables of udsrv's environment that the application keeps; repeatable.",
        APPLICATION, many=True, separator=",",
    ),
    Setting(
        "env_file", _PATH, None, "PATH",
        "A file of NAME=VALUE lines that only root can read: the place for secrets.",
        APPLICATION, unset="none",
    ),
    Setting(
        "credential", _CREDENTIAL, (), "NAME[:PATH]",
        "A file of root's that the application reads as $CREDENTIALS_DIRECTORY/NAME; repeatable.",
        APPLICATION, many=True,
    ),
    Setting(
        "socket", _SOCKET, None, "PATH",
        "Where Nginx connects; the only thing udsrv listens on.",
        SOCKET, unset="required",
    ),
    Setting(
        "socket_owner", _ACCOUNT, None, "USER",
        "The owner of the socket file.",
        SOCKET, unset="the user that starts udsrv",
    ),
    Setting(
        "socket_group", _ACCOUNT, None, "GROUP",
        "The group of the socket file, which is Nginx's.",
        SOCKET, unset="as root www-data or nginx, else the starting group",
    ),
    Setting(
        "socket_mode", _MODE, 0o660, "MODE",
        "The mode of the socket file; others never get any access.",
        SOCKET,
    ),
    Setting(
        "backlog", _WHOLE, 4096, "N",
        "How many connections may wait; the kernel cuts it to net.core.somaxconn.",
        SOCKET, unit="connections", low=1, high=65535,
    ),
    Setting(
        "workers", _WHOLE, 1, "N",
        "Worker processes.",
        PROCESSES, unit="processes", low=1, high=1024, short=("-w",),
    ),
    Setting(
        "threads", _WHOLE, 1, "N",
        "Threads in each worker that call the application.",
        PROCESSES, unit="threads", low=1, high=1024,
    ),
    Setting(
        "max_requests", _WHOLE, 0, "N",
        "Requests after which a worker gives way to a new one; 0: it stays.",
        PROCESSES, unit="requests", low=0, high=2**40,
    ),
    Setting(
        "max_requests_jitter", _WHOLE, 0, "N",
        "Up to so many more, another number for each worker.",
        PROCESSES, unit="requests", low=0, high=2**40,
    ),
    Setting(
        "user", _APP_ACCOUNT, None, "USER",
        "The user that the application runs as, never root.",
        PROCESSES, unset="as root udsrv, else nobody", short=("-u",),
    ),
    Setting(
        "group", _APP_ACCOUNT, None, "GROUP",
        "The group that the application runs as, never root's.",
        PROCESSES, unset="the user's primary group", short=("-g",),
    ),
    Setting(
        "umask", _UMASK, 0o077, "MASK",
        "What the files that the application makes deny; the socket has its own mode.",
        PROCESSES, short=("-m",),
    ),
    Setting(
        "preload", _SWITCH, False, "",
        "Load the application once, as its user, before the workers are forked.",
        PROCESSES,
    ),
    Setting(
        "name", _NAME, None, "NAME",
        "What this instance is called in units, upstreams and the log.",
        PROCESSES, unset="the socket's file name without its suffix", short=("-n",),
    ),
    Setting(
        "sandbox", _SANDBOX, "best-effort", "MODE",
        "strict starts only where the kernel can enforce all of it; or best-effort, or off.",
        SANDBOX,
    ),
    Setting(
        "read_path", _PATH, (), "PATH",
        "What the application may read and run beside the system and itself; repeatable.",
        SANDBOX, many=True, separator=",",
    ),
    Setting(
        "write_path", _PATH, (), "PATH",
        "What the application may write beside its temporary directory; repeatable.",
        SANDBOX, many=True, separator=",",
    ),
    Setting(
        "network", _NETWORK, "full", "REACH",
        "How far the application's connections go: none, local (this machine) or full.",
        SANDBOX,
    ),
    Setting(
        "start_timeout", _SECONDS, 60.0, "S",
        "For a new generation to load the application.",
        TIME, unit="seconds", low=0.1, high=86400,
    ),
    Setting(
        "graceful_timeout", _SECONDS, 30.0, "S",
        "For requests in flight to finish when a worker is told to stop.",
        TIME, unit="seconds", low=0.1, high=86400,
    ),
    Setting(
        "keep_alive", _SECONDS, 75.0, "S",
        "How long an idle connection stays open; longer than Nginx keeps it.",
        TIME, unit="seconds", low=0.1, high=86400,
    ),
    Setting(
        "head_timeout", _SECONDS, 15.0, "S",
        "For the head of a request to arrive in full.",
        TIME, unit="seconds", low=0.1, high=86400,
    ),
    Setting(
        "body_timeout", _SECONDS, 30.0, "S",
        "Between two parts of a request's body.",
        TIME, unit="seconds", low=0.1, high=86400,
    ),
    Setting(
        "send_timeout", _SECONDS, 30.0, "S",
        "For the peer to take a part of the response.",
        TIME, unit="seconds", low=0.1, high=86400,
    ),
    Setting(
        "limit_request_line", _SIZE, 8192, "SIZE",
        "The request line; a longer one gets 414.",
        LIMITS, unit="bytes", low=64, high=_MIB,
    ),
    Setting(
        "limit_request_fields", _WHOLE, 100, "N",
        "The number of header fields; more get 431.",
        LIMITS, unit="fields", low=1, high=1000,
    ),
    Setting(
        "limit_request_field_size", _SIZE, 8192, "SIZE",
        "One header field; a longer one gets 431.",
        LIMITS, unit="bytes", low=64, high=_MIB, hidden=("--limit-request-field_size",),
    ),
    Setting(
        "limit_request_head", _SIZE, 65536, "SIZE",
        "The request line and all header fields; a longer head gets 431.",
        LIMITS, unit="bytes", low=128, high=_MIB,
    ),
    Setting(
        "limit_request_body", _SIZE, 10 * _MIB, "SIZE",
        "The request's body; a longer one gets 413.",
        LIMITS, unit="bytes", low=0, high=2**40,
    ),
    Setting(
        "body_buffer", _SIZE, 65536, "SIZE",
        "Up to this size a body is complete before the application is called.",
        LIMITS, unit="bytes", low=1024, high=64 * _MIB,
    ),
    Setting(
        "reload", _SWITCH, False, "",
        "Load the application again when a Python file of it changes; not as root.",
        DEVELOPMENT,
    ),
    Setting(
        "reload_extra_file", _PATH, (), "PATH",
        "More files whose change reloads, templates for example; repeatable.",
        DEVELOPMENT, many=True, separator=",",
    ),
    Setting(
        "trusted_peer", _PEER, (), "USER|%GROUP",
        "Whose forwarded headers are believed, beside root's; repeatable.",
        REST, unset="Nginx's user and the socket's group", many=True, separator=",",
    ),
    Setting(
        "early_hints", _SWITCH, False, "",
        "Offer wsgi.early_hints to applications; for Nginx 1.29.0 or later alone.",
        REST,
    ),
    Setting(
        "log_level", _LEVEL, "info", "LEVEL",
        "The least important message that is logged: debug, info, warning or error.",
        REST,
    ),
    Setting(
        "log_format", _LOG_FORMAT, "text", "FORMAT",
        "The form of the log's lines: text, or json for one object a line.",
        REST,
    ),
    Setting(
        "access_logfile", _LOG_FILE, None, "PATH|-",
        "A file that gets a line for each request; - is standard output.",
        REST, unset="none",
    ),
    Setting(
        "access_logformat", _ACCESS_FORMAT, "combined", "FORMAT",
        "The form of these lines: combined, json, or Gunicorn's atoms like %(h)s.",
        REST, hidden=("--access-log-format",),
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decided: plain values, which never change after `resolve`.

    Users and groups are names or numbers as given; the master looks them up.
    """

    app: str | None
    python: str | None
    chdir: str
    pythonpath: tuple[str, ...]
    env: tuple[str, ...]
    pass_env: tuple[str, ...]
    env_file: str | None
    credential: tuple[str, ...]
    socket: str
    socket_owner: str | None
    socket_group: str | None
    socket_mode: int
    backlog: int
    workers: int
    threads: int
    max_requests: int
    max_requests_jitter: int
    user: str | None
    group: str | None
    umask: int
    preload: bool
    name: str
    sandbox: str
    read_path: tuple[str, ...]
    write_path: tuple[str, ...]
    network: str
    start_timeout: float
    graceful_timeout: float
    keep_alive: float
    head_timeout: float
    body_timeout: float
    send_timeout: float
    limit_request_line: int
    limit_request_fields: int
    limit_request_field_size: int
    limit_request_head: int
    limit_request_body: int
    body_buffer: int
    reload: bool
    reload_extra_file: tuple[str, ...]
    trusted_peer: tuple[str, ...]
    early_hints: bool
    log_level: str
    log_format: str
    access_logfile: str | None
    access_logformat: str
    #: Where each value came from: a flag, a variable, the file's path, or `DEFAULT`.
    origins: Mapping[str, str] = field(compare=False)

    def origin(self, name: str) -> str:
        """Say where the value of ``name`` came from."""
        return self.origins[name]

    def to_json(self) -> bytes:
        """Write the settings for the supervisor."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Settings:
        """Read what `to_json` wrote.

        Raises:
            UdsrvError: the text is not this version's.
        """
        read: dict[str, Any] = json.loads(text)
        if set(read) != {f.name for f in fields(cls)}:
            raise UdsrvError("the settings come from another version of udsrv")
        for setting in SETTINGS:
            if setting.many:
                read[setting.name] = tuple(read[setting.name])
        return cls(**read)
