"""Listen for others, and reach what only the kernel should."""

from __future__ import annotations

import socket
from collections.abc import Callable

from .registry import Facts, Means, add


def _bind(family: int, address: tuple[str, int]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()


def _open(family: int, kind: int, protocol: int) -> Callable[[Facts], object]:
    return lambda _: socket.socket(family, kind, protocol).close()


add("listen-on-port", Means.LANDLOCK_4, lambda _: _bind(socket.AF_INET, ("127.0.0.1", 0)))
add("listen-on-port-6", Means.LANDLOCK_4, lambda _: _bind(socket.AF_INET6, ("::1", 0)))
# The kernel then chooses a port. Source: listen(2); landlock(7) knows bind(2) only.
add("listen-without-bind", Means.NOTHING, lambda _: socket.socket().listen())
add(
    "receive-datagrams",
    Means.NOTHING,
    lambda _: socket.socket(type=socket.SOCK_DGRAM).bind(("127.0.0.1", 0)),
)

# Families with a history of holes; who has none of them in the kernel is told EAFNOSUPPORT.
_NOT_THERE = ("EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT")
_RAW, _DATAGRAM, _SEQUENCED = socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
for _name, _family, _kind, _protocol in (
    ("raw", socket.AF_INET, _RAW, 1),
    ("raw-6", socket.AF_INET6, _RAW, 58),
    ("packet", 17, _RAW, 768),
    ("packet-datagram", 17, _DATAGRAM, 768),
    ("xdp", 44, _RAW, 0),
    ("key", 15, _RAW, 2),
):
    add(f"socket-{_name}", Means.IDS, _open(_family, _kind, _protocol), *_NOT_THERE)
for _name, _family, _kind, _protocol in (
    ("netlink", 16, _RAW, 0),
    ("netlink-filter", 16, _RAW, 12),
    ("netlink-transform", 16, _RAW, 6),
    ("netlink-crypto", 16, _RAW, 21),
    ("kernel-crypto", 38, _SEQUENCED, 0),
    ("virtual-machine", 40, socket.SOCK_STREAM, 0),
    ("can", 29, _RAW, 1),
    ("bluetooth", 31, _SEQUENCED, 0),
    ("tipc", 30, _DATAGRAM, 0),
    ("rds", 21, _SEQUENCED, 0),
    ("phone", 35, _DATAGRAM, 0),
    ("ham-radio", 3, _SEQUENCED, 0),
    ("ppp", 24, _DATAGRAM, 0),
    ("sctp", socket.AF_INET, socket.SOCK_STREAM, 132),
    ("dccp", socket.AF_INET, 6, 33),
    ("multipath", socket.AF_INET, socket.SOCK_STREAM, 262),
):
    add(
        f"socket-{_name}",
        Means.SECCOMP,
        _open(_family, _kind, _protocol),
        *_NOT_THERE,
        kernel_may_refuse=True,
    )
