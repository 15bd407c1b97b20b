"""One application whose every path is a case: what PEP 3333 allows, and every way to break it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Case = Callable[[Environ, StartResponse], Iterable[bytes]]

_TEXT = ("Content-Type", "text/plain")
_CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Serve ``some_name`` as ``/some-name``."""
    _CASES["/" + function.__name__.replace("_", "-")] = function
    return function


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Do what the path says."""
    return _CASES[environ["PATH_INFO"]](environ, start_response)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _asked(environ: Environ, name: str, default: str = "") -> str:
    return parse_qs(environ["QUERY_STRING"]).get(name, [default])[0]


def _answer(start_response: StartResponse, answer: object) -> Iterable[bytes]:
    body = json.dumps(answer).encode()
    start_response("200 OK", [_TEXT, ("Content-Length", str(len(body)))])
    return [body]


class Closing:
    """An iterable that says in the log that it was closed."""

    def __init__(self, token: str, parts: Iterable[bytes]) -> None:
        self._token = token
        self._parts = iter(parts)

    def __iter__(self) -> Closing:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        _log(f"closed {self._token}")


# ---- the environ and the input ------------------------------------------------------------------


@case
def types(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tell what only Python sees of the environ."""
    told = {name: type(value).__name__ for name, value in environ.items()}
    plain = all(type(name) is str for name in environ)
    return _answer(
        start_response,
        {
            "exact dict": type(environ) is dict,
            "names are str": plain,
            "version": environ["wsgi.version"],
            "types": told,
            "input": [hasattr(environ["wsgi.input"], m) for m in _INPUT_METHODS],
            "errors": [hasattr(environ["wsgi.errors"], m) for m in _ERRORS_METHODS],
        },
    )


_INPUT_METHODS = ("read", "readline", "readlines", "__iter__")
_ERRORS_METHODS = ("flush", "write", "writelines")


@case
def errors(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Write the query to wsgi.errors."""
    environ["wsgi.errors"].write(f"errors got {environ['QUERY_STRING']}\n")
    environ["wsgi.errors"].writelines(["one\n", "two\n"])
    environ["wsgi.errors"].flush()
    return _answer(start_response, "written")


@case
def calls(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Call the methods of wsgi.input that the header X-Calls names; answer with what they gave."""
    results: list[object] = []
    for method, arguments in json.loads(environ["HTTP_X_CALLS"]):
        stream = environ["wsgi.input"]
        got = list(stream) if method == "iter" else getattr(stream, method)(*arguments)
        plain = (
            [p.decode("latin-1") for p in got] if isinstance(got, list) else got.decode("latin-1")
        )
        results.append(plain)
    return _answer(start_response, results)


@case
def digest(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body in pieces of ``?piece=``; answer with its size and digest."""
    piece = int(_asked(environ, "piece", "65536"))
    found, size = hashlib.sha256(), 0
    while data := environ["wsgi.input"].read(piece):
        found.update(data)
        size += len(data)
    return _answer(start_response, [size, found.hexdigest()])


@case
def unread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without a look at the body."""
    _log(f"unread {_asked(environ, 'token')}")
    return _answer(start_response, "unread")


@case
def first_byte(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the first byte of the body and leave the rest."""
    return _answer(start_response, environ["wsgi.input"].read(1).decode("latin-1"))


@case
def asks_on(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send a chunk when called, and another when the whole body has been read."""
    start_response("200 OK", [_TEXT])
    yield b"called\n"
    size = 0
    while data := environ["wsgi.input"].read(8192):
        size += len(data)
    yield f"{size}\n".encode()


@case
def catches(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Read to the end, and say in the log how that went."""
    token = _asked(environ, "token")
    _log(f"called {token}")
    size = 0
    try:
        while data := environ["wsgi.input"].read(4096):
            size += len(data)
    except OSError as error:
        _log(f"raised {token} {type(error).__name__} after {size}: {error}")
        try:
            environ["wsgi.input"].read()
        except OSError:
            _log(f"raised again {token}")
        raise
    _log(f"end {token} after {size}")
    return _answer(start_response, size)


# ---- answers ------------------------------------------------------------------------------------


@case
def plain(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a length."""
    start_response("200 OK", [_TEXT, ("Content-Length", "5")])
    return [b"plain"]


@case
def no_length(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with one part and no length."""
    start_response("200 OK", [_TEXT])
    return [b"whole"]


@case
def parts(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer in parts, empty ones among them."""
    start_response("200 OK", [_TEXT])
    return Closing(_asked(environ, "token"), [b"", b"a", b"", b"bc", b"", b"def", b""])


@case
def nothing(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with no part at all."""
    start_response("200 OK", [_TEXT])
    return []


@case
def sized(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with ``?status=`` and a body of ``?size=``, with its length."""
    body = b"x" * int(_asked(environ, "size"))
    start_response(
        f"{_asked(environ, 'status', '200')} Fine", [_TEXT, ("Content-Length", str(len(body)))]
    )
    return Closing(_asked(environ, "token"), [body])


@case
def headers(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with unusual but allowed headers."""
    fields = [
        ("Content-Length", "0"),
        ("x-lower", "1"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Latin", "caf\xe9"),
        ("X-Empty", ""),
        ("X-Tab", "a\tb"),
    ]
    start_response("299 As I Like", fields)
    return []


@case
def own_date(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a Date and a Server of its own."""
    start_response("200 OK", [("Content-Length", "0"), ("Date", "never"), ("Server", "me")])
    return []


@case
def writes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Use the callable of old; then go on as usual."""
    write = start_response("200 OK", [_TEXT])
    write(b"one,")
    write(b"")
    write(b"two,")
    return Closing(_asked(environ, "token"), [b"three"])


@case
def waits(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send a chunk, then the next each time a byte comes out of the pipe ``X-Pipe``."""
    start_response("200 OK", [_TEXT])
    yield b"0"
    with open(environ["HTTP_X_PIPE"], "rb", buffering=0) as pipe:
        number = 0
        while pipe.read(1):
            number += 1
            yield str(number).encode()


@case
def late_start(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Call start_response not before the first part is asked for."""
    start_response("200 OK", [_TEXT])
    yield b"late"


@case
def replaced(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Find a mistake in time, and answer with another head."""
    start_response("200 OK", [_TEXT, ("Content-Length", "3"), ("X-First", "1")])
    try:
        raise ValueError("in time")
    except ValueError:
        start_response("503 Later", [_TEXT, ("Content-Length", "5")], sys.exc_info())
    return [b"later"]


@case
def replaced_too_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Find a mistake when the head is sent."""
    start_response("200 OK", [_TEXT])
    yield b"sent"
    try:
        raise ValueError(f"too late {_asked(environ, 'token')}")
    except ValueError:
        start_response("503 Later", [_TEXT], sys.exc_info())
    _log(f"went on {_asked(environ, 'token')}")
    yield b"never"


@case
def endless(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer for as long as somebody listens."""
    start_response("200 OK", [_TEXT])
    return Closing(_asked(environ, "token"), iter(lambda: b"x" * 65536, b""))


@case
def descriptors(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tell what this process has open."""
    return _answer(start_response, len(os.listdir("/proc/self/fd")))


@case
def keeps_callables(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Use what an earlier request left behind, then leave this one's behind."""
    said = []
    for late in _kept:
        try:
            late()
            said.append("worked")
        except Exception as error:
            said.append(type(error).__name__)
    write = start_response("200 OK", [_TEXT])
    stream = _environ["wsgi.input"]
    _kept[:] = [
        lambda: write(b"INTRUDER"),
        lambda: start_response("200 OK", [("X-Intruder", "1")]),
        lambda: stream.read(),
    ]
    return [json.dumps(said).encode()]


_kept: list[Callable[[], object]] = []


# ---- mistakes -----------------------------------------------------------------------------------


class OopsError(Exception):
    """What the application raises; its text is not for a client."""


def _oops(environ: Environ) -> OopsError:
    return OopsError(f"secret {_asked(environ, 'token')}")


@case
def raises(environ: Environ, _start_response: StartResponse) -> Iterable[bytes]:
    """Raise before anything."""
    raise _oops(environ)


@case
def raises_after_start(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise between start_response and the first part."""
    start_response("200 OK", [_TEXT, ("Content-Length", "5")])
    raise _oops(environ)


@case
def raises_first(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise where the first part should come."""
    start_response("200 OK", [_TEXT])

    def parts() -> Iterator[bytes]:
        raise _oops(environ)
        yield b""

    return Closing(_asked(environ, "token"), parts())


@case
def raises_midway(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raise after the first part."""
    start_response("200 OK", [_TEXT])

    def parts() -> Iterator[bytes]:
        yield b"first"
        raise _oops(environ)

    return Closing(_asked(environ, "token"), parts())


@case
def raises_in_close(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer well, and raise in close()."""
    error = _oops(environ)

    class Raising(Closing):
        def close(self) -> None:
            raise error

    start_response("200 OK", [_TEXT, ("Content-Length", "4")])
    return Raising("", [b"fine"])


@case
def exits(_environ: Environ, _start_response: StartResponse) -> Iterable[bytes]:
    """Raise what ends a program."""
    raise SystemExit(3)


@case
def too_short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send less than was declared."""
    start_response("200 OK", [_TEXT, ("Content-Length", "10")])
    return Closing(_asked(environ, "token"), [b"abc", b"de"])


@case
def too_short_list(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send less than was declared, in one part."""
    start_response("200 OK", [_TEXT, ("Content-Length", "10")])
    return [b"abcde"]


@case
def too_long(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send more than was declared."""
    start_response("200 OK", [_TEXT, ("Content-Length", "4")])
    return Closing(_asked(environ, "token"), [b"abc", b"INTRUDER"])


@case
def too_long_list(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send more than was declared, in one part."""
    start_response("200 OK", [_TEXT, ("Content-Length", "3")])
    return [b"abcINTRUDER"]


@case
def text_part(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return a str where bytes belong."""
    start_response("200 OK", [_TEXT])
    return Closing(_asked(environ, "token"), ["text"])  # type: ignore[list-item]


@case
def text_part_midway(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return a str after bytes."""
    start_response("200 OK", [_TEXT])
    return Closing(_asked(environ, "token"), [b"first", "text"])  # type: ignore[list-item]


@case
def not_iterable(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return what is no iterable."""
    start_response("200 OK", [_TEXT])
    return 5  # type: ignore[return-value]


@case
def returns_none(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Forget to return."""
    start_response("200 OK", [_TEXT])
    return None  # type: ignore[return-value]


@case
def never_starts(_environ: Environ, _start_response: StartResponse) -> Iterable[bytes]:
    """Forget start_response."""
    return [b"body"]


@case
def starts_twice(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Call start_response again without a reason."""
    start_response("200 OK", [_TEXT])
    start_response("200 OK", [_TEXT])
    return [b"body"]


@case
def writes_text(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Give a str to write()."""
    start_response("200 OK", [_TEXT])("text")  # type: ignore[arg-type]
    return []


# What start_response must not be given, by the name in the path.
_HEADS: dict[str, tuple[Any, Any]] = {
    "crlf-in-value": ("200 OK", [("X-A", "a\r\nX-Intruder: 1")]),
    "cr-in-value": ("200 OK", [("X-A", "a\rb")]),
    "lf-in-value": ("200 OK", [("X-A", "a\nX-Intruder: 1")]),
    "nul-in-value": ("200 OK", [("X-A", "a\0b")]),
    "not-latin": ("200 OK", [("X-A", "\u20ac")]),
    "crlf-in-name": ("200 OK", [("X-A: 1\r\nX-Intruder", "1")]),
    "empty-name": ("200 OK", [("", "1")]),
    "space-in-name": ("200 OK", [("X A", "1")]),
    "crlf-in-status": ("200 OK\r\nX-Intruder: 1", []),
    "no-reason": ("OK", []),
    "status-100": ("100 Continue", []),
    "status-0": ("000 Zero", []),
    "status-is-int": (200, []),
    "status-is-bytes": (b"200 OK", []),
    "connection": ("200 OK", [("Connection", "close")]),
    "keep-alive": ("200 OK", [("Keep-Alive", "timeout=5")]),
    "transfer-encoding": ("200 OK", [("Transfer-Encoding", "chunked")]),
    "upgrade": ("200 OK", [("Upgrade", "h2c")]),
    "trailer": ("200 OK", [("Trailer", "X-A")]),
    "length-not-a-number": ("200 OK", [("Content-Length", "+5")]),
    "length-twice": ("200 OK", [("Content-Length", "4"), ("Content-Length", "4")]),
    "value-is-int": ("200 OK", [("X-A", 5)]),
    "name-is-bytes": ("200 OK", [(b"X-A", "5")]),
    "headers-are-a-dict": ("200 OK", {"X-A": "5"}),
    "header-is-a-triple": ("200 OK", [("X-A", "5", "6")]),
    "no-headers": ("200 OK", None),
}


@case
def bad_head(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Give start_response what the query names."""
    start_response(*_HEADS[_asked(environ, "what")])
    return [b"body"]


@case
def swallows(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Give start_response a bad head, and go on as if nothing had been."""
    try:
        start_response("200 OK", [("X-A", "a\r\nX-Intruder: 1")])
    except Exception as error:
        _log(f"swallowed {type(error).__name__}")
    return [b"body"]


@case
def clock(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tell the time."""
    return _answer(start_response, time.time())
