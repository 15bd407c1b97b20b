"""What is measured: the table of scenarios.

Runs as: whoever runs the benchmark. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

ONE_KIB = 1024
ONE_MIB = 1024 * 1024

# One process, one thread unless the name says so; "-log" with an access log.
UNIX_PEERS = ("bjoern", "granian", "uwsgi", "gunicorn", "pyruvate")
EVERYBODY = ("floor", *UNIX_PEERS, "udsrv-1")
# Those that keep a connection open between two requests.
KEEP_ALIVE = ("bjoern", "granian", "gunicorn", "udsrv-1")


@dataclass(frozen=True)
class Scenario:
    """One kind of request, and who gets it."""

    name: str
    title: str
    what: str
    servers: tuple[str, ...]
    app: str = "hello:app"
    body_bytes: int = 13
    post_bytes: int = 0
    from_file: bool = False
    through_nginx: bool = False
    has_sleeper: bool = False
    idle_connections: int = 0
    bases: tuple[str, ...] = ("bjoern", "granian", "floor")
    # Its figures hardly vary, or cost much: so many rounds are enough.
    rounds_at_most: int = 50


SCENARIOS = (
    Scenario(
        "quick",
        "Hello, short",
        "13 bytes of WSGI, the five servers that the first targets name.",
        ("floor", "bjoern", "granian", "udsrv-1", "udsrv-4"),
    ),
    Scenario(
        "hello",
        "WSGI hello",
        "13 bytes. `udsrv-4` has `--threads 4`.",
        (*EVERYBODY, "udsrv-4"),
    ),
    Scenario(
        "10k",
        "10 KiB answer",
        "One `bytes` object of 10 KiB.",
        EVERYBODY,
        app="applications:ten_kib",
        body_bytes=10 * ONE_KIB,
    ),
    Scenario(
        "post-1k",
        "POST of 1 KiB",
        "The application reads the body and answers its length.",
        EVERYBODY,
        app="applications:post",
        post_bytes=ONE_KIB,
    ),
    Scenario(
        "post-1m",
        "POST of 1 MiB",
        "The application reads the body in pieces of 64 KiB and answers its length.",
        EVERYBODY,
        app="applications:post",
        post_bytes=ONE_MIB,
    ),
    Scenario(
        "flask",
        "Flask route",
        "`udsrv-1-aside` is WSGI hello that calls the route as well and throws its answer away: "
        "Flask's own Python and hello in one process. `loop` is a few lines of Python that read a "
        "request and send a fixed answer, `loop-flask` calls the route in between.",
        ("loop", "loop-flask", *UNIX_PEERS, "udsrv-1", "udsrv-1-aside"),
        app="flask_route:app",
        bases=("udsrv-1-aside", "bjoern", "granian"),
    ),
    Scenario(
        "download",
        "Download of 1 MiB",
        "One `bytes` object of 1 MiB.",
        EVERYBODY,
        app="applications:one_mib",
        body_bytes=ONE_MIB,
    ),
    Scenario(
        "file",
        "File of 1 MiB",
        "Through `wsgi.file_wrapper`; the floor program uses sendfile(2).",
        EVERYBODY,
        app="applications:file",
        body_bytes=ONE_MIB,
        from_file=True,
    ),
    Scenario(
        "access-log",
        "Access log",
        "WSGI hello without and with one line per request, each server's own format, into a file.",
        ("udsrv-1", "udsrv-1-log", "granian-log", "gunicorn-log", "uwsgi-log"),
        bases=("udsrv-1",),
    ),
    Scenario(
        "nginx",
        "Through nginx",
        "WSGI hello behind an nginx with the configuration that `udsrv gen-nginx` prints. nginx "
        "shares the client's core and the client sleeps while it waits; `nginx µs` is nginx's own "
        "CPU time.",
        EVERYBODY,
        through_nginx=True,
    ),
    Scenario(
        "tcp",
        "Loopback TCP",
        "WSGI hello. freastal has no Unix socket, udsrv has no other: so bjoern on TCP is the link "
        "between this table and the first one.",
        ("floor-tcp", "bjoern-tcp", "freastal-tcp"),
        bases=("bjoern-tcp", "floor-tcp"),
    ),
    Scenario(
        "sleep",
        "A request that sleeps",
        "Four threads; one connection asks for an answer that takes 100 ms, again and again. The "
        "figures are those of the fifteen others, which ask for WSGI hello.",
        ("granian-4", "uwsgi-4", "gunicorn-4", "pyruvate-4", "udsrv-4"),
        app="applications:sleepy",
        has_sleeper=True,
        bases=(),
    ),
    Scenario(
        "idle",
        "Idle connections",
        "10,000 keep-alive connections, one request each: how much memory (PSS) the process that "
        "holds them grew by. Kernel memory is not in it.",
        KEEP_ALIVE,
        idle_connections=10_000,
        bases=(),
        rounds_at_most=2,
    ),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
ALL = tuple(scenario for scenario in SCENARIOS if scenario.name != "quick")


def chosen_scenarios(names: list[str]) -> tuple[Scenario, ...]:
    """Turn the names of the command line, of which ``all`` is one, into scenarios in our order."""
    if "all" in names:
        return ALL
    return tuple(scenario for scenario in SCENARIOS if scenario.name in names)
