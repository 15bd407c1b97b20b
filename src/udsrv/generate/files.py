"""What a generator hands back.

Runs as: any user.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """One file, complete, and the absolute path where the program that reads it looks for it."""

    path: str
    text: str
