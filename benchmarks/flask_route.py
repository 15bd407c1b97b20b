"""A Flask route, and how much CPU time it takes when no server is around it.

Runs as: the user of the server that is being measured. As a program (``flask_route.py SECONDS``) it
calls the application in a loop and prints one line of JSON.
"""

from __future__ import annotations

import io
import json
import sys
import time

from flask import Flask, Response

app = Flask("flask_route")


@app.get("/")
def hello() -> Response:
    """Answer 13 bytes; Flask sets Content-Length."""
    return Response("Hello, World!", mimetype="text/plain")


# What a server passes for the client's request, as far as Flask looks at it.
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "bench.example",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "bench.example",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5",
    "HTTP_COOKIE": "session=9e3779b97f4a7c15; csrftoken=bf58476d1ce4e5b9",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "https",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
    """Take status and headers, as a server would."""


def call_once() -> None:
    """Call once as a server does: a fresh dictionary, the body read, the iterable closed."""
    body = app(dict(ENVIRON), start_response)
    for _piece in body:
        pass
    body.close()  # type: ignore[attr-defined]  # Werkzeug's iterable has it


def main(seconds: float) -> None:
    """Warm up, then count calls for ``seconds``."""
    for _ in range(1000):
        call_once()
    count = 0
    start_cpu_ns, start_ns = time.process_time_ns(), time.monotonic_ns()
    while time.monotonic_ns() - start_ns < seconds * 1e9:
        for _ in range(100):
            call_once()
        count += 100
    cpu_ns, elapsed_ns = time.process_time_ns() - start_cpu_ns, time.monotonic_ns() - start_ns
    each_us = elapsed_ns / count / 1000
    outcome = {"count": count, "cpu_ns": cpu_ns, "elapsed_ns": elapsed_ns}
    print(json.dumps(outcome | {"p50_us": each_us, "p99_us": each_us, "max_us": each_us}))


if __name__ == "__main__":
    main(float(sys.argv[1]))
