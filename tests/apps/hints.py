"""Gives early hints where it can, and says what came of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

StartResponse = Callable[..., Callable[[bytes], object]]

LINK = ("Link", "</style.css>; rel=preload; as=style")

_HINTS: dict[str, Any] = {
    "/": [LINK, ("Link", "</script.js>; rel=preload; as=script")],
    "/none": [],
    "/large": [("Link", f"</{number}>; rel=preload; x={'x' * 1000}") for number in range(2000)],
    "/crlf": [("Link", "a\r\nX-Intruder: 1")],
    "/name": [("Li nk", "a")],
    "/hop": [("Connection", "close")],
    "/length": [("Content-Length", "5")],
    "/dict": {"Link": "a"},
    "/number": [("Link", 5)],
}

_kept: list[Callable[[Any], object]] = []


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with ``absent``, or with the exception that the hints raised, or with ``given``."""
    path = environ["PATH_INFO"]
    hint = environ.get("wsgi.early_hints")
    outcome = "absent"
    if path == "/late":
        write = start_response("200 OK", [])
        write(b"")
        hint([LINK])
        write(b"begun")
    elif path == "/prepared":
        start_response("200 OK", [("X-Prepared", "1")])
        hint([LINK])
        return [b"prepared"]
    if path == "/kept":
        _kept.append(hint)
        hint = _kept[0]
        path = "/"
    if hint is not None:
        outcome = "given"
        for _ in range(int(environ["QUERY_STRING"] or 1)):
            try:
                hint(_HINTS.get(path, [LINK]))
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
    if path != "/late":
        start_response("200 OK", [("X-Final", "1")])
    if "HTTP_X_TOKEN" in environ:
        print(f"{environ['HTTP_X_TOKEN']} {outcome}", file=sys.stderr, flush=True)
    return [outcome.encode()]
