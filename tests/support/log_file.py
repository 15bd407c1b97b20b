"""A file that some process writes lines to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from support.waiting import PATIENCE_S, WaitError, wait_until


@dataclass(frozen=True)
class LogFile:
    """The lines in ``path``; a failed wait shows them."""

    path: Path

    def text(self) -> str:
        """Return everything written so far."""
        return self.path.read_text(errors="surrogateescape")

    def count(self, pattern: str) -> int:
        """Return how many lines match ``pattern``."""
        return len(re.findall(pattern, self.text(), re.MULTILINE))

    def wait_for(
        self,
        pattern: str,
        *,
        times: int = 1,
        unless_ends: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Return when ``times`` lines match ``pattern``."""
        try:
            wait_until(
                lambda: self.count(pattern) >= times,
                watching=self.path,
                what=f"{times} lines matching {pattern!r}",
                unless_ends=unless_ends,
                patience_s=patience_s,
            )
        except WaitError as error:
            raise type(error)(f"{error}\n{self.path} holds:\n{self.text()}") from None
