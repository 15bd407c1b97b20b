r"""Turn any text into one word of an nginx or systemd file, or refuse it.

Runs as: any user. A value that reaches a file came from an operator's command line or file, so
none of them may end a word, a line or a block that it did not begin.
"""

from __future__ import annotations

import re

from udsrv.errors import ConfigError

# C0, DEL, C1, the Unicode line separators, and the surrogates that stand for undecodable bytes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# ngx_conf_read_token(): what ends or starts something when it stands in an unquoted word.
_NGINX_SPECIAL = re.compile(r"""[\s;{}"'#\\]""")

_SYSTEMD_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./$-]+")


def one_line(text: str) -> str:
    """Return ``text``, which holds no character that could end the line it is written on.

    Raises:
        ConfigError: it holds a control character, a line separator or an undecodable byte.
    """
    if found := _UNPRINTABLE.search(text):
        raise ConfigError(
            f"{text!r} holds the character {found[0]!r}, which a generated file can't carry; "
            "use a value of printable characters"
        )
    return text


def nginx_word(text: str) -> str:
    r"""Return ``text`` as one word of an nginx file, in which ``$`` still names a variable.

    Inside quotes nginx takes the backslash off ``\"``, ``\'`` and ``\\`` and turns ``\t``, ``\r``
    and ``\n`` into control characters. Source: ngx_conf_read_token() in ngx_conf_file.c.
    """
    one_line(text)
    # A regular expression is quoted even where it need not be: `{` ends an unquoted word.
    if text and not text.startswith("~") and not _NGINX_SPECIAL.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nginx_literal(text: str) -> str:
    """Return ``text`` as one word of an nginx file that means exactly these characters.

    Raises:
        ConfigError: it holds a control character, or ``$``, for which nginx has no escape.
    """
    if "$" in text:
        raise ConfigError(
            f"{text!r} holds a '$', which nginx would take for a variable and can't be told "
            "otherwise; use a value without it"
        )
    return nginx_word(text)


def systemd_text(text: str) -> str:
    """Return ``text`` for a setting that takes the rest of the line: only ``%`` is special."""
    return one_line(text).replace("%", "%%")


def systemd_word(text: str) -> str:
    r"""Return ``text`` as one word of a setting that takes several. Source: systemd.syntax(7)."""
    word = systemd_text(text)
    if _SYSTEMD_PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def systemd_argument(text: str) -> str:
    """Return ``text`` as one argument in ``ExecStart=``, where ``$NAME`` would be replaced.

    Source: systemd.service(5), "Command lines".
    """
    return systemd_word(text.replace("$", "$$"))
