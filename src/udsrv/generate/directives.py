"""nginx configuration as values, and their one rendering.

Runs as: any user. Text that came from outside is a plain ``str`` and means itself; text with nginx
variables in it is written in this package only and is marked as an ``Expression``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from udsrv.generate.quoting import nginx_literal, nginx_word, one_line

Version = tuple[int, int, int]

_INDENT = "    "
_WIDTH = 96


@dataclass(frozen=True, slots=True)
class Expression:
    """A word in which ``$`` names an nginx variable or ends a regular expression."""

    text: str


Word = str | Expression


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark of its own, one paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Directive:
    """``name args;`` with the reason for it printed above, and the nginx that first had it."""

    name: Word
    args: tuple[Word, ...]
    why: str = ""
    since: Version = (1, 0, 0)


@dataclass(frozen=True, slots=True)
class Block:
    """``name args { ... }``."""

    name: Word
    args: tuple[Word, ...]
    children: tuple[Item, ...]
    why: str = ""
    since: Version = (1, 0, 0)


Item = Comment | Directive | Block


def directive(name: Word, *args: Word, why: str = "", since: Version = (1, 0, 0)) -> Directive:
    """Return ``name args;``."""
    return Directive(name, args, why, since)


def block(name: Word, *args: Word, children: Sequence[Item], why: str = "") -> Block:
    """Return ``name args { children }``."""
    return Block(name, args, tuple(children), why)


def oldest_nginx(items: Iterable[Item]) -> Version:
    """Return the first version of nginx that has every directive of ``items``."""
    oldest: Version = (1, 0, 0)
    for item in items:
        if isinstance(item, Comment):
            continue
        oldest = max(oldest, item.since)
        if isinstance(item, Block):
            oldest = max(oldest, oldest_nginx(item.children))
    return oldest


def render(items: Iterable[Item]) -> str:
    """Return the text of ``items``, ending in a newline."""
    return "".join(f"{line}\n" for line in _lines(items, ""))


def comment_lines(text: str, width: int = _WIDTH) -> list[str]:
    """Return one paragraph as ``#`` lines; words are never broken."""
    return textwrap.wrap(
        one_line(text),
        width,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(items: Iterable[Item], indent: str) -> Iterator[str]:
    for index, item in enumerate(items):
        if isinstance(item, Comment):
            yield from (indent + line for line in comment_lines(item.text, _WIDTH - len(indent)))
            continue
        if isinstance(item, Block) and index:
            yield ""
        if item.why:
            yield from (indent + line for line in comment_lines(item.why, _WIDTH - len(indent)))
        words = " ".join(_word(word) for word in (item.name, *item.args))
        if isinstance(item, Directive):
            yield f"{indent}{words};"
        else:
            yield f"{indent}{words} {{"
            yield from _lines(item.children, indent + _INDENT)
            yield f"{indent}}}"


def _word(word: Word) -> str:
    return nginx_word(word.text) if isinstance(word, Expression) else nginx_literal(word)
