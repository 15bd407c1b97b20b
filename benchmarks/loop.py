"""Nothing but a loop in Python: read what comes, call Flask or don't, send the same answer.

Runs as: the user of the servers that are measured. ``loop-flask`` less ``loop`` is what a Flask
route costs without any server where requests come in: between system calls, and beside a busy
client. In a loop of its own it takes a tenth less, but no server's application ever runs like that.

Usage: loop.py ADDRESS [--flask]
"""

from __future__ import annotations

import io
import select
import signal
import socket
import sys
from collections.abc import Callable

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: loop\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\nHello, World!"
)

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


def flask_call() -> Callable[[], None]:
    """Return what calls the route as a server does: a new dictionary, an iterable to close."""
    from flask_route import app

    def call() -> None:
        body = app(dict(ENVIRON), start_response)
        for _piece in body:
            pass
        body.close()  # type: ignore[attr-defined]  # Werkzeug's iterable has it

    return call


def main(address: str, call: Callable[[], None] | None) -> None:
    """Serve the connections that come to a Unix socket until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _events in poll.poll():
            connection = connections.get(fd)
            if connection is None:
                connection, _ = listener.accept()
                connections[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
            elif connection.recv(65536):
                if call is not None:
                    call()
                connection.send(ANSWER)
            else:
                connections.pop(fd).close()


if __name__ == "__main__":
    main(sys.argv[1], flask_call() if "--flask" in sys.argv else None)
