"""Gives the access log something to say: a user, answer headers, bodies of several shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

StartResponse = Callable[..., Any]


class _Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer by the path."""
    path = environ["PATH_INFO"]
    environ["REMOTE_USER"] = 'ä"user'
    environ["shop.cart"] = 7
    environ["shop.bad"] = _Unwritable()
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    fields = [("Content-Type", "text/plain"), ("X-Cart", 'a"\xe4'), ("X-Cart", "second")]
    start_response("201 Created", fields)
    if path == "/parts":
        return (part for part in (b"one", b"two", b""))
    if path == "/broken":
        return _broken()
    return [b"hello"]


def _broken() -> Iterable[bytes]:
    yield b"only this"
    raise ValueError("on purpose, in the middle")
