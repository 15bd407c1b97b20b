"""Runs ``$BEFORE_LOADING`` first, so that a test decides when and how it loads."""

import os

from remote import app

__all__ = ["app"]

exec(os.environ["BEFORE_LOADING"])  # noqa: S102 - that is what it is for
