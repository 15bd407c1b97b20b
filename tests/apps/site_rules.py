"""What the three sites of `tests/nginx` have in common."""

from __future__ import annotations

from collections.abc import Mapping

LINES = [f"line {number}\n" for number in range(1, 1001)]

_TOLD = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR")
_TOLD_TOO = ("SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme", "CONTENT_TYPE", "CONTENT_LENGTH")


class MistakeError(Exception):
    """A mistake whose text is for the log alone."""

    def __init__(self) -> None:
        super().__init__("secret of the application")


def told(environ: Mapping[str, object]) -> dict[str, object]:
    """Return what a client may ask about its request."""
    return {
        name: value
        for name, value in environ.items()
        if name in _TOLD or name in _TOLD_TOO or name.startswith("HTTP_")
    }
