"""An application that watches over its server with wsgiref.validate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.validate import validator

StartResponse = Callable[..., Callable[[bytes], object]]


@validator
def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Use every method of the input, and answer in the way that ``?how=`` names."""
    asked = parse_qs(environ["QUERY_STRING"])
    status = asked.get("status", ["200"])[0]
    stream = environ["wsgi.input"]
    size = len(stream.read(1)) + len(stream.readline()) + len(stream.readline(3))
    size += sum(map(len, stream.readlines(10))) + sum(map(len, stream)) + len(stream.read(100))
    environ["wsgi.errors"].write("seen\n")
    environ["wsgi.errors"].flush()
    if status != "200":
        start_response(f"{status} Nothing", [])
        return []
    how = asked.get("how", ["length"])[0]
    body = f"{size}\n".encode()
    headers = [("Content-Type", "text/plain")]
    if how == "length":
        headers.append(("Content-Length", str(len(body))))
    write = start_response("200 OK", headers)
    if how == "write":
        write(body)
        return []
    return [body] if how == "length" else iter([body, b"end\n"])  # type: ignore[return-value]
