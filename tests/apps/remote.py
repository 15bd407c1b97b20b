"""Runs the Python that a request's body holds: the tests' way into a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

print("loaded", flush=True)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Run the body; answer with what it made of ``result``, as JSON, or as its ``answer`` says."""
    names: dict[str, Any] = {"environ": environ, "result": None}
    exec(environ["wsgi.input"].read().decode(), names)  # noqa: S102 - that is what it is for
    if "answer" in names:
        return names["answer"](start_response)  # type: ignore[no-any-return]
    answer = json.dumps(names["result"]).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
