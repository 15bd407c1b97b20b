"""The compiled module: the event loop, the connections and the WSGI boundary, in Rust.

Runs as: the app's user, in supervisors and workers.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, final

__all__ = [
    "Server",
    "child_subreaper",
    "deny",
    "die_with_parent",
    "not_dumpable",
    "restrict",
]

class _TextSink(Protocol):
    """What ``wsgi.errors`` is made of."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...

def not_dumpable() -> None: ...
def child_subreaper() -> None: ...
def die_with_parent() -> None: ...
def restrict(grants: Sequence[tuple[str, Sequence[str]]], *, connect_tcp: bool) -> int:
    """Keep of the rights on files those of ``grants`` (a path and landlock(7)'s rights below it).

    Return the ABI of the kernel's Landlock, 0 where it has none.
    """

def deny(
    denials: Sequence[tuple[str, int, Sequence[tuple[int, str, int]]]], first_unknown: int
) -> int:
    """Let system calls fail: name, errno, and conditions (argument; ==, != or has; value).

    Those with numbers from ``first_unknown`` on fail with ENOSYS. Return how many filters that
    took. Source: seccomp(2).
    """

@final
class Server:
    """Serves one WSGI application on one listener.

    The methods may be called from any thread, and from signal handlers and hooks during ``run``.
    """

    def __new__(
        cls,
        application: Callable[..., object],
        *,
        listener_fd: int,
        control_fd: int,
        on_control: Callable[[], object],
        on_exception: Callable[[str, BaseException], object],
        log: Callable[[int, str], object],
        threads: int,
        multiprocess: bool,
        keep_alive_s: float,
        head_timeout_s: float,
        body_timeout_s: float,
        send_timeout_s: float,
        limit_request_line: int,
        limit_request_fields: int,
        limit_request_field_size: int,
        limit_request_head: int,
        limit_request_body: int,
        body_buffer: int,
        trusted_uids: Sequence[int],
        trusted_gids: Sequence[int],
        early_hints: bool,
        max_requests: int,
        on_spent: Callable[[], object],
        errors: _TextSink,
        access_fd: int | None = None,
        access_format: Sequence[tuple[str, str]] = ...,
        access_json: bool = False,
    ) -> Server:
        """Use duplicates of the descriptors; the caller may close its own.

        ``on_spent`` is called, once, when ``max_requests`` are answered; 0 are never.
        ``access_format`` is what ``udsrv.config.access.pieces`` returns.
        """

    def run(self) -> None:
        """Serve until drained or stopped; once, and on the main thread, which serves too."""

    def drain(self, deadline_s: float, close_idle: bool) -> None:
        """Answer what is there, take no more, and let ``run`` return then, or at the deadline.

        With ``close_idle``, idle connections are closed at once unless a request is on its way.
        """

    def stop(self) -> None:
        """Let ``run`` return as soon as the calls in progress return."""

    def replace_listener(self, fd: int) -> None:
        """Accept from ``fd`` from now on; the old listener is served until its queue is empty."""
