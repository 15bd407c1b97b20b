"""Every vector, whole and cut in two at every place, through the socket of a real server."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from support import raw_http
from support.servers import Udsrv
from support.vectors import Vector, converse, read_table

VECTORS = read_table()

# What the application must have read when a vector with a body is accepted.
BODIES = {
    "CL15": ["hello"],
    "TE18": ["hello"],
    "CH19": ["hello"],
    "CH20": ["hello"],
    "CH23": ["hello"],
    "SM02": ["GET /smug HTTP/1.1\r\nHost: a\r\nX: 1\r\n"],
    "SM04": ["hello", ""],
    "OK03": ["hello"],
    "OK04": ["0123456789"],
}

# What must have been dropped when it is accepted: value and where it would have shown.
DROPPED = {
    "HD21": ["CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"],
    "HD27": ["HTTP_PROXY"],
    "TE18": ["HTTP_TRANSFER_ENCODING"],
    "CH19": [],  # CONTENT_LENGTH, if it is there, is the body's own length: `complete` checks it
    "CH20": [],
    "HD22": [],
}

FIRST = b"GET /first HTTP/1.1\r\nHost: first\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    status: int
    head: str
    body: bytes

    @property
    def seen(self) -> dict[str, str]:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return "\r\nconnection: close\r\n" in f"{self.head}\r\n".lower()


def parse(wire: bytes, *, is_head: bool = False) -> list[Answer]:
    answers = []
    while wire:
        head, end, wire = wire.partition(b"\r\n\r\n")
        assert end, f"not a whole head: {head!r}"
        text = head.decode("latin-1")
        status = re.match(r"HTTP/1\.1 ([1-9][0-9][0-9]) [ -~]+\r\n", text)
        length = re.findall(r"\r\nContent-Length: ([0-9]+)(?=\r\n|$)", text)
        assert status, text
        assert len(length) == 1, text
        size = 0 if is_head else int(length[0])
        assert len(wire) >= size, f"a body cut short: {wire!r}"
        answers.append(Answer(int(status[1]), text, wire[:size]))
        wire = wire[size:]
    return answers


def without_date(wire: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [ -~]{29}(?=\r\n)", b"", wire)


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


def is_refusal(answers: list[Answer], status: str) -> bool:
    """One short answer of the server's own, and then the end."""
    if len(answers) != 1 or str(answers[0].status) != status:
        return False
    assert answers[0].closes
    assert len(answers[0].body) < 40
    return True


def is_complete(vector: Vector, answers: list[Answer]) -> bool:
    """Whether the application saw what was sent, with the whole body."""
    if set(statuses(answers)) != {200}:
        return False
    method, target, version = vector.raw.lstrip(b"\r\n").split(b"\r\n")[0].decode().split(" ")
    first = answers[0].seen
    assert first["REQUEST_METHOD"] == method
    assert first["PATH_INFO"] == ("" if target == "*" else target)
    assert first["SERVER_PROTOCOL"] == version
    assert first.get("HTTP_HOST", "a") in ("a", "[::1]:80")
    for answer, body in zip(answers, BODIES.get(vector.id, [""]), strict=True):
        assert answer.seen["body"] == body
        if answer.seen.get("CONTENT_LENGTH"):
            assert int(answer.seen["CONTENT_LENGTH"]) == len(body)
    return True


def drops_what_it_must(vector: Vector, answers: list[Answer]) -> bool:
    (answer,) = answers
    for name in DROPPED[vector.id]:
        assert name not in answer.seen
    seen = " ".join(answer.seen.values())
    for value in ("6.6.6.6", "evil", "99"):
        assert value not in seen
    if vector.id == "HD22":
        assert answer.seen["REMOTE_ADDR"] == answer.seen["HTTP_X_FORWARDED_FOR"] == "1.1.1.1"
    return True


def meets(vector: Vector, outcome: str, wire: bytes) -> bool:
    """Whether ``wire`` is the outcome; parts of it that can't be right are an assertion."""
    answers = parse(wire, is_head=outcome == "200nb" and b" 200 " in wire)
    if outcome == "wait":
        return not answers or is_refusal(answers, "400")
    if outcome == "4xx":
        return len(answers) == 1 and 400 <= answers[0].status < 500
    if outcome == "200nb":
        return statuses(answers) == [200] and not answers[0].body
    if outcome == "200h":
        return statuses(answers) == [200] and answers[0].seen["HTTP_HOST"] == "b"
    if outcome == "200+200":
        return is_complete(vector, answers) and [a.seen["PATH_INFO"] for a in answers] == [
            *("/", "/second")
        ]
    if outcome in ("200", "200x", "200d"):
        if not is_complete(vector, answers) or len(answers) != 1:
            return False
        return outcome != "200d" or drops_what_it_must(vector, answers)
    return is_refusal(answers, outcome.removesuffix("x"))


@pytest.fixture(scope="module")
def server(serve: Callable[..., Udsrv], threads: int) -> Udsrv:
    return serve("recorder:app", "--threads", str(threads))


def take_calls(server: Udsrv) -> Counter[str]:
    """Return what the application was called for since the last time, and how often."""
    return Counter(json.loads(raw_http.get(server.socket, "/calls").body))


def calls_of(wire: bytes, *, is_head: bool) -> Counter[str]:
    """Return the calls that an answer admits."""
    if is_head:
        return Counter({"HEAD /": 1})
    return Counter(
        f"{answer.seen['REQUEST_METHOD']} {answer.seen['PATH_INFO']}"
        for answer in parse(wire)
        if answer.status == 200
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_a_vector_gets_its_outcome_however_it_is_cut(server: Udsrv, vector: Vector):
    take_calls(server)
    (whole,) = converse(server.socket, [(vector.raw,)], end=vector.ends_sending)
    assert any(meets(vector, outcome, whole) for outcome in sorted(vector.expect)), whole
    calls = calls_of(whole, is_head=vector.id == "SM06")
    assert take_calls(server) == calls

    cuts = vector.cuts()
    scripts = ((vector.raw[:cut], vector.raw[cut:]) for cut in cuts)
    wires = converse(server.socket, scripts, end=vector.ends_sending)
    for cut, wire in zip(cuts, wires, strict=True):
        assert without_date(wire) == without_date(whole), f"cut at {cut}: {vector.raw[:cut]!r}"
    assert take_calls(server) == Counter({call: count * len(cuts) for call, count in calls.items()})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_a_vector_behind_another_request_gets_the_same(server: Udsrv, vector: Vector):
    alone, behind = converse(
        server.socket, [(vector.raw,), (FIRST + vector.raw,)], end=vector.ends_sending
    )
    first = behind.index(b"}") + 1
    assert parse(behind[:first])[0].seen["PATH_INFO"] == "/first"
    assert without_date(behind[first:]) == without_date(alone)


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v.may_be_accepted], ids=lambda vector: vector.id
)
def test_the_next_request_begins_where_an_accepted_one_ends(server: Udsrv, vector: Vector):
    (alone,) = map(without_date, converse(server.socket, [(vector.raw,)], end=True))
    both = vector.raw + LAST
    (whole,) = map(without_date, converse(server.socket, [(both,)], end=False))
    assert whole.startswith(alone)
    rest = whole[len(alone) :]
    if b"\r\nConnection: close\r\n" in alone:
        assert rest == b""
    else:
        (answer,) = parse(rest)
        assert (answer.status, answer.seen["PATH_INFO"]) == (200, "/last")

    cuts = vector.cuts()
    wires = converse(server.socket, ((both[:cut], both[cut:]) for cut in cuts), end=False)
    for cut, wire in zip(cuts, wires, strict=True):
        assert without_date(wire) == whole, f"cut at {cut}: {both[:cut]!r}"


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v.may_be_accepted and "200+200" not in v.expect],
    ids=lambda vector: vector.id,
)
def test_a_request_that_ends_too_early_never_reaches_the_application(server: Udsrv, vector: Vector):
    # SM03 is a whole request with bytes behind it that are none of it.
    size = vector.raw.index(b"\r\n\r\n") + 4 if vector.id == "SM03" else len(vector.raw)
    take_calls(server)
    prefixes = [cut for cut in vector.cuts() if cut < size]
    wires = converse(server.socket, ((vector.raw[:cut],) for cut in prefixes), end=True)
    for cut, wire in zip(prefixes, wires, strict=True):
        answers = parse(wire)
        assert not answers or is_refusal(answers, "400"), f"ends at {cut}: {wire!r}"
    assert take_calls(server) == {}
