"""Loads when the FIFO named by ``$GATE`` has been opened for writing and closed again."""

import os
from pathlib import Path

from hello import app

__all__ = ["app"]

Path(os.environ["GATE"]).read_bytes()
