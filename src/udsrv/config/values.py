"""Turn the text of one setting into its value.

Runs as: root while the master starts, any user elsewhere. Imports the standard library only.
Every function takes printable text (``Kind.read`` sees to that), looks nothing up on the system,
and raises `SettingError` or a plain ``ValueError`` ("is not what the setting takes").
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from udsrv.config.target import Target

Value = str | int | float
SUN_PATH_BYTES = 107  # sockaddr_un.sun_path is 108 bytes with its NUL: unix(7)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GLOB = re.compile(r"[A-Za-z0-9_*?\[\]!-]+")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,254}")
_HOST_PORT = re.compile(r"[^/]*:\d*|\[[^/]*\](:\d*)?|[\d.]+|localhost")
_OURS = ("UDSRV_", "LISTEN_", "WATCHDOG_", "NOTIFY_SOCKET")
_HIGHEST_ID = 2**32 - 2  # 2**32 - 1 is (uid_t) -1, which means "unchanged": chown(2)
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}
_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class SettingError(ValueError):
    """A value that needs a sentence of its own; the text follows the setting's name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type of setting is written: ``noun`` completes "is not ..."."""

    noun: str
    parse: Callable[[str], Value]
    is_path: bool = False
    #: What stands before a path, if there is one.
    path_after: str = ""
    #: ``-`` is no path but a standard stream.
    takes_stream: bool = False
    #: A number without quotes would be misread: TOML turns 0o660 into 432.
    quoted: bool = False
    #: Line breaks are allowed: a certificate in an environment variable has them.
    multiline: bool = False
    #: True or false: its flag takes no value, and ``--no-...`` says false.
    is_switch: bool = False

    def read(self, raw: object) -> Value:
        """Read one item, which is text or the number that TOML made of it."""
        if self.is_switch and isinstance(raw, bool):
            return raw
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
            raise ValueError
        if self.quoted and not isinstance(raw, str):
            raise SettingError(f'{raw!r} is a number; write it as text in octal, like "0660"')
        text = str(raw)
        allowed = "\n\r\t" if self.multiline else ""
        if not all(c.isprintable() or c in allowed for c in text):
            raise SettingError(f"{text!r} holds a character that cannot be printed")
        return self.parse(text)


def whole(text: str) -> int:
    """Read a whole number; int() alone would take "+5", "1_0" and other digits than ours."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds, with a fraction or without."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError
    return float(text)


def size(text: str) -> int:
    """Read a number of bytes, with ``k``, ``m`` or ``g`` for powers of 1024."""
    found = re.fullmatch(r"([0-9]{1,15})([kmg]?)", text.lower())
    if found is None:
        raise ValueError
    return int(found[1]) * _FACTORS[found[2]]


def size_text(size_bytes: float) -> str:
    """Write a number of bytes the way `size` reads it, with the largest unit that divides it."""
    for unit in ("g", "m", "k"):
        if size_bytes and size_bytes % _FACTORS[unit] == 0:
            return f"{int(size_bytes) // _FACTORS[unit]}{unit}"
    return f"{size_bytes:.10g}"


def socket_mode(text: str) -> int:
    """Read the socket's mode, which gives its owner read and write, and others nothing."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError
    mode = int(text, 8)
    if mode & 0o007:
        raise SettingError(
            f"{text!r} lets every user connect; use 0660 and name Nginx's group with --socket-group"
        )
    if mode & 0o600 != 0o600:
        raise SettingError(f"{text!r} takes read or write from the owner; 0660 or 0600 works")
    return mode


def umask(text: str) -> int:
    """Read a file mode creation mask; what the application's user loses for itself is a mistake."""
    if not re.fullmatch(r"0?[0-7]{1,3}", text):
        raise ValueError
    mask = int(text, 8)
    if mask & 0o700:
        raise SettingError(
            f"{text!r} takes the files of the application from its own user; 0027 or 0077 works"
        )
    return mask


def switch(text: str) -> bool:
    """Read yes or no; TOML's words, and what environments usually say."""
    if text not in _SWITCHES:
        raise ValueError
    return _SWITCHES[text]


def account(text: str) -> str:
    """Check the form of a user's or group's name or number; whether it exists is not asked."""
    if not _ACCOUNT.fullmatch(text) or (text.isdecimal() and int(text) > _HIGHEST_ID):
        raise ValueError
    return text


def unprivileged_account(text: str) -> str:
    """Check an account that the application may run under."""
    if account(text) == "root" or (text.isdecimal() and int(text) == 0):
        raise SettingError(
            f"{text!r} would run the application as root; name an account of its own"
        )
    return text


def peer(text: str) -> str:
    """Check ``USER`` or ``%GROUP``."""
    account(text.removeprefix("%"))
    return text


def choice(*allowed: str) -> Kind:
    """Make a kind with a few fixed words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return Kind(f"one of {', '.join(allowed)}", parse)


def path(text: str) -> str:
    """Check a path, which `absolute` completes later."""
    if not text:
        raise ValueError
    return text


def absolute(text: str, start_directory: str) -> str:
    """Complete a relative path; no symbolic link is followed."""
    joined = os.path.normpath(os.path.join(start_directory, text))
    # POSIX lets a leading "//" mean something else, so normpath keeps it; Linux does not.
    return "/" + joined.lstrip("/")


def interpreter(text: str) -> str:
    """Check the interpreter's path; PATH is not searched, since root's may differ from yours."""
    if "/" not in text:
        raise SettingError(
            f"{text!r} is a bare name; give the path, like /srv/app/.venv/bin/python"
        )
    return text


def socket_path(text: str) -> str:
    """Check that the text can be the path of a socket file."""
    if text.startswith("unix:"):
        raise SettingError(f"{text!r} should be the path alone: {text.removeprefix('unix:')!r}")
    if text.startswith("@"):
        raise SettingError(
            f"{text!r} is an abstract name, which has no owner and no mode; "
            "give the path of a file, like /run/app.sock"
        )
    if "://" in text or _HOST_PORT.fullmatch(text):
        raise SettingError(
            f"{text!r} is a network address; udsrv listens on a Unix socket only: use "
            "--socket /run/app.sock and let Nginx listen on the port"
        )
    if not text or os.path.basename(text) in ("", ".", ".."):
        raise SettingError(
            f"{text!r} names no file; give the path of the socket, like /run/app.sock"
        )
    return text


def bound_path(text: str) -> str:
    """Turn the value of ``--bind`` into the value of ``--socket``."""
    if text.startswith("fd://"):
        raise SettingError(
            f"{text!r}: an inherited descriptor is not taken; "
            "udsrv makes its socket itself: use --socket PATH"
        )
    if text.startswith("unix:"):
        return re.sub(r"\A//(?=/)", "", text.removeprefix("unix:"))
    if "/" in text and "://" not in text:
        raise SettingError(
            f"{text!r} lacks the prefix: write --bind unix:{text}, or --socket {text}"
        )
    raise SettingError(
        f"{text!r} is a network address; udsrv listens on a Unix socket only: use "
        "--socket /run/app.sock and let Nginx listen on the port"
    )


def check_socket_length(absolute_path: str) -> None:
    """Refuse a path that Nginx's ``connect`` could not take."""
    length = len(os.fsencode(absolute_path))
    if length > SUN_PATH_BYTES:
        raise SettingError(
            f"{absolute_path!r} has {length} bytes, and the kernel takes {SUN_PATH_BYTES} for a"
            " socket: choose a shorter path"
        )


def application(text: str) -> str:
    """Check that the application is named in a form the worker can load."""
    try:
        Target.parse(text)
    except ValueError as error:
        raise SettingError(str(error)) from error
    return text


def assignment(text: str) -> str:
    """Check ``NAME=VALUE`` for the application's environment."""
    name, equals, _ = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise ValueError
    _refuse_ours(name)
    return text


def variable_glob(text: str) -> str:
    """Check a pattern for names of environment variables."""
    if not _GLOB.fullmatch(text):
        raise ValueError
    _refuse_ours(text)
    return text


def _refuse_ours(name: str) -> None:
    if name == "CREDENTIALS_DIRECTORY":
        raise SettingError(
            f"{name!r} is set by udsrv, for the files that --credential names; leave it out"
        )
    if name.startswith(_OURS):
        raise SettingError(
            f"{name!r} is between systemd and udsrv and never reaches the application; leave it out"
        )


def credential(text: str) -> str:
    """Check ``NAME`` or ``NAME:PATH``; the name is a file's, and one that systemd takes.

    Source: systemd.exec(5), LoadCredential=.
    """
    name, colon, file = text.partition(":")
    if "/" in name:
        better = f"{os.path.basename(name) or 'NAME'}:{text}"
        raise SettingError(f"{text!r} begins with a path; say what it is called: {better!r}")
    if not _CREDENTIAL.fullmatch(name) or (colon and not file):
        raise ValueError
    return text


def access_format(text: str) -> str:
    """Check the format of the access log."""
    from udsrv.config.access import pieces

    pieces(text)
    return text


def instance_name(text: str) -> str:
    """Check the name that units, upstreams and log lines carry."""
    if not _NAME.fullmatch(text):
        raise ValueError
    return text
