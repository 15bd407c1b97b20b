"""Every mistake an application can make, and a count of what they leave behind in its process."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]

# The mistakes are made on purpose, a hundred thousand times: telling of each would take longer.
sys.stderr = open(os.devnull, "w")  # noqa: SIM115
sys.tracebacklimit = 0

_FILE = tempfile.NamedTemporaryFile()  # noqa: SIM115
_FILE.write(b"x" * 100_000)
_FILE.flush()

_TEXT = ("Content-Type", "text/plain")


class Closing:
    """An iterable with a close(), of whatever it is given."""

    def __init__(self, *parts: object) -> None:
        self._parts = iter(parts)

    def __iter__(self) -> Iterator[Any]:
        return self._parts

    def close(self) -> None:
        """Nothing to do."""


class Cycle(Closing):
    """An iterable that refers to itself, and to the request."""

    def __init__(self, environ: Environ, *parts: object) -> None:
        super().__init__(*parts)
        self.itself = self
        self.environ = environ


def _midway() -> Iterator[bytes]:
    yield b"first"
    raise ValueError("midway")


def _starts_late(start_response: StartResponse) -> Iterator[bytes]:
    yield b"first"
    try:
        raise ValueError("late")
    except ValueError:
        start_response("500 Late", [_TEXT], sys.exc_info())


def _swallowed(function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except Exception:
        return


def _endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 10_000


def _shared(environ: Environ, start_response: StartResponse) -> dict[str, object]:
    """Objects that every request refers to."""
    return {
        "None": None,
        "b''": b"",
        "true": True,
        "version": environ["wsgi.version"],
        "errors": environ["wsgi.errors"],
        "file_wrapper": environ["wsgi.file_wrapper"],
        "app": app,
        "input": type(environ["wsgi.input"]),
        "start_response": type(start_response),
        "method": environ["REQUEST_METHOD"],
        "ValueError": ValueError,
        **{f"key {key}": key for key in environ},
    }


def _counted(environ: Environ, start_response: StartResponse) -> dict[str, object]:
    gc.collect()
    gc.collect()
    with open("/proc/self/smaps_rollup") as file:
        memory = {
            line.split()[0]: int(line.split()[1]) for line in file if line.split()[-1] == "kB"
        }
    return {
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "pss_kib": memory["Pss:"],
        "references": {
            name: sys.getrefcount(object_)
            for name, object_ in _shared(environ, start_response).items()
        },
    }


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Make the mistake that the path names."""
    match environ["PATH_INFO"]:
        case "/counted":
            body = json.dumps(_counted(environ, start_response)).encode()
            start_response("200 OK", [_TEXT, ("Content-Length", str(len(body)))])
            return [body]
        case "/raises":
            raise ValueError("at once")
        case "/raises-after-start":
            start_response("200 OK", [_TEXT])
            raise ValueError("after start")
        case "/raises-midway":
            start_response("200 OK", [_TEXT])
            return _midway()
        case "/not-iterable":
            start_response("200 OK", [_TEXT])
            return 5  # type: ignore[return-value]
        case "/text":
            start_response("200 OK", [_TEXT])
            return Closing(b"bytes", "text")
        case "/too-short":
            start_response("200 OK", [_TEXT, ("Content-Length", "10")])
            return Closing(b"123", b"45")
        case "/too-long":
            start_response("200 OK", [_TEXT, ("Content-Length", "4")])
            return Closing(b"123", b"45")
        case "/header-with-cr":
            start_response("200 OK", [("X-A", "a\r\nX-B: b")])
        case "/hop-by-hop":
            start_response("200 OK", [("Connection", "close")])
        case "/header-of-bytes":
            start_response("200 OK", [(b"X-A", "a")])
        case "/second-start":
            start_response("200 OK", [_TEXT])
            start_response("200 OK", [_TEXT])
        case "/swallows":
            start_response("200 OK", [_TEXT])
            _swallowed(start_response, "200 OK", [_TEXT])
            _swallowed(start_response, "200 OK", [("X", "\n")], (None, ValueError("x"), None))
            return [b"swallowed"]
        case "/starts-late":
            start_response("200 OK", [_TEXT])
            return _starts_late(start_response)
        case "/never-starts":
            return [b"body"]
        case "/never-closes":
            start_response("200 OK", [_TEXT])
            return Cycle(environ, b"cycle")
        case "/keeps":
            environ["kept"] = environ
            environ["kept too"] = start_response("200 OK", [_TEXT])
            environ["and this"] = start_response
            return [b"keeps"]
        case "/reads":
            body = environ["wsgi.input"].read()
            write = start_response("200 OK", [_TEXT])
            write(body)
            return []
        case "/reads-lines":
            start_response("200 OK", [_TEXT])
            return environ["wsgi.input"]
        case "/file":
            start_response("200 OK", [("Content-Type", "text/html")])
            return environ["wsgi.file_wrapper"](open(_FILE.name, "rb"))
        case "/file-too-short":
            start_response("200 OK", [("Content-Length", "200000")])
            return environ["wsgi.file_wrapper"](open(_FILE.name, "rb"))
        case "/hints":
            _swallowed(environ["wsgi.early_hints"], [("Link", "a\n")])
            environ["wsgi.early_hints"]([("Link", "<a>; rel=preload")])
            start_response("200 OK", [_TEXT])
            return [b"hints"]
        case "/endless":
            start_response("200 OK", [_TEXT])
            return _endless()
        case _:
            start_response("200 OK", [_TEXT, ("Content-Length", "5")])
            return [b"plain"]
    raise AssertionError(environ["PATH_INFO"])
