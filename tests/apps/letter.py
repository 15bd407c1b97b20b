"""What PEP 3333 leaves to be got wrong: heads of any size, endless bodies, and late reads."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _closing(parts: Iterator[bytes], token: str) -> Iterator[bytes]:
    try:
        yield from parts
    finally:
        _log(f"closed {token}")


def _endless(part: bytes) -> Iterator[bytes]:
    while True:
        yield part
        if not part:
            time.sleep(0.001)  # a stream that waits for news, and has none


class _EndlessFile:
    """Reads like a file that has no end."""

    def __init__(self, token: str) -> None:
        self.token = token

    def read(self, size: int) -> bytes:
        return b"x" * size

    def close(self) -> None:
        _log(f"closed {self.token}")


def _reads_late(environ: Environ) -> Iterator[bytes]:
    yield b"begun\n"
    try:
        yield b"%d\n" % len(environ["wsgi.input"].read())
    except OSError as error:
        yield type(error).__name__.encode()


def _memory_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


def _most_memory(environ: Environ, *, by_line: bool, piece: int) -> bytes:
    """Read everything; return how much there was, and by how many KiB the process grew."""
    read = environ["wsgi.input"].readline if by_line else environ["wsgi.input"].read
    size = len(read(1))
    before = highest = _memory_kib()
    while data := read(piece):
        size += len(data)
        highest = max(highest, _memory_kib())
    return b"%d %d" % (size, highest - before)


def _fails_late(start_response: StartResponse) -> Iterator[bytes]:
    yield b"begun"
    try:
        _deep()
    except ValueError:
        start_response("500 Late", [], sys.exc_info())


def _deep() -> None:
    raise ValueError("from the deep")


def _caught(function: Callable[[], object]) -> bytes:
    try:
        function()
    except BaseException:
        return traceback.format_exc().encode()
    return b"nothing"


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Do what the path says."""
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    token = asked.get("token", "")
    status = f"{asked.get('status', '200')} Fine"
    match environ["PATH_INFO"]:
        case "/head":
            count, size = int(asked["count"]), int(asked["size"])
            name = asked.get("name", "X-{}")
            start_response(status, [(name.format(n), f"{n}=" + "v" * size) for n in range(count)])
            return [b"body"]
        case "/endless":
            start_response(status, [])
            return _closing(_endless(b"x" * 1000), token)
        case "/endless-file":
            start_response(status, [])
            return environ["wsgi.file_wrapper"](_EndlessFile(token))  # type: ignore[no-any-return]
        case "/no-news":
            _log(f"began {token}")
            start_response(status, [])
            return _closing(_endless(b""), token)
        case "/reads-late":
            start_response(status, [])
            return _reads_late(environ)
        case "/memory":
            piece = int(asked["piece"])
            body = _most_memory(environ, by_line="lines" in asked, piece=piece)
            start_response(status, [("Content-Length", str(len(body)))])
            return [body]
        case "/fails-late":
            start_response(status, [])
            return _fails_late(start_response)
        case "/returns-bytes":
            start_response(status, [])
            return b"body"
        case "/returns-str":
            start_response(status, [])
            return "body"  # type: ignore[return-value]
        case "/second-start":
            start_response(status, [])
            return [_caught(lambda: start_response(status, [])).splitlines()[-1]]
        case "/write-after-end":
            write = start_response(status, [("Content-Length", "5")])
            write(b"12345")
            return [_caught(lambda: write(b"6")) and b""]
        case _:
            start_response(status, [("Content-Length", "5")])
            return [b"plain"]
