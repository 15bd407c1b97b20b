"""An application's mistakes and a client's hang-ups leave nothing behind, however many there are.

``UDSRV_TEST_REQUESTS=1000000`` asks more often than `make test` does.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from support import raw_http
from support.servers import Udsrv

REQUESTS = int(os.environ.get("UDSRV_TEST_REQUESTS", "100000"))

# What goes on on the same connection, and what ends it.
GOING_ON = (
    *("/plain", "/raises", "/raises-after-start", "/not-iterable", "/never-starts", "/swallows"),
    *("/header-with-cr", "/hop-by-hop", "/header-of-bytes", "/second-start", "/never-closes"),
    *("/keeps", "/file", "/file-too-short", "/hints"),
)
ENDING = ("/raises-midway", "/text", "/too-short", "/too-long", "/starts-late", "/endless")

# An answer that is not read to its end before the client hangs up.
HANGING_UP = ("/endless", "/file")

# What the two halves of a run may differ by: caches that fill up, and the interpreter's own.
ALLOWED = {"objects": 20, "blocks": 200, "pss_kib": 1024}
REFERENCES = 50


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def post(target: str, body: bytes) -> bytes:
    fields = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    return fields.encode() + body


BODIES = (
    post("/reads", b"line\n" * 20),
    post("/reads-lines", b"line\n" * 20),
    post("/raises", b"x"),
)
BATCH = b"".join([*map(get, GOING_ON), *BODIES])
LARGE = post("/reads-lines", b"x\n" * 100_000)
IN_BATCH = len(GOING_ON) + len(BODIES)
IN_ROUND = 4 * IN_BATCH + len(ENDING) + len(HANGING_UP) + 2


def a_round(server: Udsrv) -> None:
    """Make every mistake, most of them in pipelined requests, and hang up in the middle of some."""
    batches = deque(raw_http.Connection(server.socket) for _ in range(4))
    for client in batches:
        client.send(BATCH + get("/plain").replace(b"Host: a", b"Host: a\r\nConnection: close"))
    for target in ENDING:
        with raw_http.Connection(server.socket) as client:
            client.send(get(target))
            if target == "/endless":
                client.read_exactly(100)
            else:
                client.read_to_end()
    for target in HANGING_UP:
        with raw_http.Connection(server.socket) as client:
            client.send(get(target) * 2)
    with raw_http.Connection(server.socket) as client:
        client.send(LARGE[: len(LARGE) // 2])
    for client in batches:
        with client:
            assert client.read_to_end().endswith(b"\r\n\r\nplain")


def counted(server: Udsrv) -> dict[str, Any]:
    """Return what is left, once the server has had time to notice who hung up."""
    for _ in range(100):
        raw_http.get(server.socket, "/plain")
    return dict(json.loads(raw_http.get(server.socket, "/counted").body))


def grown(before: dict[str, int], after: dict[str, int], by: int) -> dict[str, int]:
    """Return what there is more of, by more than ``by``."""
    return {name: n - before[name] for name, n in after.items() if n - before[name] > by}


def test_mistakes_and_hang_ups_leave_nothing(serve: Callable[..., Udsrv], threads: int):
    server = serve("leaks:app", "--threads", str(threads), "--early-hints")
    workers = server.workers
    rounds = REQUESTS // IN_ROUND // 2  # this runs for two numbers of threads
    for _ in range(rounds // 5):
        a_round(server)
    before = counted(server)
    for _ in range(rounds - rounds // 5):
        a_round(server)
    after = counted(server)
    print(f"{rounds * IN_ROUND} requests, {threads} threads: {before} then {after}")
    assert server.workers == workers
    assert grown(before.pop("references"), after.pop("references"), REFERENCES) == {}
    assert after.pop("descriptors") == before.pop("descriptors")
    for name, by in ALLOWED.items():
        assert after[name] - before[name] <= by, name
