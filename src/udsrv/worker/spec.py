"""What all workers of a generation have in common.

Runs as: the application's user.
"""

from __future__ import annotations

from dataclasses import dataclass

from udsrv.config.model import Settings
from udsrv.log import Log
from udsrv.sandbox.proof import Identity


@dataclass(frozen=True)
class WorkerSpec:
    """The settings, whom root made us (None: nobody), whom to believe, the generation's log."""

    settings: Settings
    identity: Identity | None
    trusted_uids: tuple[int, ...]
    trusted_gids: tuple[int, ...]
    log: Log
