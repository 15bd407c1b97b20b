"""How long to wait before something that died is started again. Pure.

Runs as: root and the app's user. Imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

# A process that lived this long was not in a crash loop.
STABLE_S = 10.0
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0


@dataclass(frozen=True)
class Backoff:
    """The number of deaths in a row that came too early."""

    early_deaths: int = 0

    def after_death(self, lived_s: float) -> Backoff:
        """Return the state after a process died that had lived ``lived_s`` seconds."""
        return Backoff(0) if lived_s >= STABLE_S else Backoff(self.early_deaths + 1)

    @property
    def delay_s(self) -> float:
        """Return the wait: none after the first death, then doubling up to half a minute."""
        if self.early_deaths <= 1:
            return 0.0
        return min(FIRST_DELAY_S * 2.0 ** min(self.early_deaths - 2, 16), LONGEST_DELAY_S)
