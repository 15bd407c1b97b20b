"""What all workers of a generation have in common.

Runs as: the application's user.
"""

from __future__ import annotations

from dataclasses import dataclass

from udsrv.config.model import Settings
from udsrv.log import Log


@dataclass(frozen=True)
class WorkerSpec:
    """The settings, the peers to believe (numbers), and the generation's log."""

    settings: Settings
    trusted_uids: tuple[int, ...]
    trusted_gids: tuple[int, ...]
    log: Log
