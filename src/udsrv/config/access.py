"""The formats of the access log: their text, taken apart once.

Runs as: root while the master starts (which checks the text), the app's user in a worker (which
hands the pieces to the engine). Imports the standard library only. What each atom is stands in
``docs/access-log.md``; how it is written, in ``rust/native/src/access.rs``.
"""

from __future__ import annotations

import re

from udsrv.config.values import SettingError

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
#: Values come with their quotes; what is not known is null.
JSON = (
    '{"time":%(t)s,"remote_addr":%(h)s,"user":%(u)s,"method":%(m)s,"path":%(U)s,"query":%(q)s,'
    '"protocol":%(H)s,"status":%(s)s,"bytes":%(B)s,"duration_us":%(D)s,"referer":%(f)s,'
    '"user_agent":%(a)s,"pid":%(p)s}'
)
ATOMS = "hlutrmUqHsBbfaTDMLp"

#: A kind (an atom's letter, or "text") and a name or the text itself.
Piece = tuple[str, str]

_MOST_CHARACTERS = 2000
_PIECE = re.compile(
    r"(?P<text>[^%]+)|(?P<percent>%%)"
    rf"|%\((?:(?P<atom>[{ATOMS}])|\{{(?P<name>[^{{}}]+)\}}(?P<source>[ioe]))\)s"
)
_MEANT = re.compile(r"%(\([^)]*\)?)?.?")
# RFC 9110 5.6.2.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_json(text: str) -> bool:
    """Tell whether values are written as JSON."""
    return text == "json"


def pieces(text: str) -> tuple[Piece, ...]:
    """Return what a line is made of.

    Raises:
        SettingError: with the atom that doesn't exist.
    """
    if not text:
        raise SettingError("is empty; write combined, json or a format like '%(h)s %(r)s %(s)s'")
    if len(text) > _MOST_CHARACTERS:
        raise SettingError(f"has {len(text)} characters; at most {_MOST_CHARACTERS} are taken")
    if "%" not in text and text not in ("combined", "json"):
        raise SettingError(
            f"{text!r} has nothing of the request in it; write combined, json or a format like "
            "'%(h)s %(r)s %(s)s'"
        )
    text = {"combined": COMBINED, "json": JSON}.get(text, text)
    found: list[Piece] = []
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise SettingError(_unknown(text, at))
        found.append(_piece(match))
        at = match.end()
    return tuple(found)


def _piece(match: re.Match[str]) -> Piece:
    if match["atom"]:
        return match["atom"], ""
    if match["name"]:
        if match["source"] == "e":
            return "e", match["name"]
        if not _TOKEN.fullmatch(match["name"]):
            raise SettingError(f"{match[0]!r}: {match['name']!r} can't be the name of a header")
        return match["source"], match["name"].lower()
    return "text", "%" if match["percent"] else match["text"]


def _unknown(text: str, at: int) -> str:
    meant = _MEANT.match(text, at)
    assert meant is not None
    return (
        f"{meant[0]!r} is no atom; there are %(X)s with X one of {' '.join(ATOMS)}, "
        "%({header}i)s, %({header}o)s, %({variable}e)s, and %% for a percent sign"
    )
