"""What a rule says.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

#: ``unknown``: the audit could not look, which is never taken for right.
VERDICTS = ("ok", "warn", "unknown", "fail")


@dataclass(frozen=True, slots=True)
class Judgement:
    """One cell of the table. ``fact`` and ``remedy`` belong to what isn't right."""

    cell: str
    verdict: str = "ok"
    fact: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that isn't right, with the command that mends it."""

    check: str
    subject: str
    verdict: str
    fact: str
    remedy: str
    pids: tuple[int, ...] = ()
