"""Take the published socket away, connect where nobody should, squat on names."""

from __future__ import annotations

import os
import socket

from .registry import Facts, Means, add, attack


def connect(address: str) -> None:
    """Connect to a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)


for _name, _attempt in {
    "connect-published": lambda f: connect(f["socket"]),
    "connect-kept": lambda f: connect(f["private"] + "/kept"),
    "connect-staged": lambda f: connect(f["private"] + "/staged"),
    "unlink-published": lambda f: os.unlink(f["socket"]),
    "chmod-published": lambda f: os.chmod(f["socket"], 0o660),
    "chown-published": lambda f: os.chown(f["socket"], os.getuid(), -1),
    "move-published": lambda f: os.rename(f["socket"], f["socket"] + ".old"),
    "link-published": lambda f: os.link(f["socket"], f["socket"] + ".link"),
    "link-published-away": lambda f: os.link(f["socket"], f["tmp"] + "/published"),
    "utime-published": lambda f: os.utime(f["socket"], (1, 1)),
    "bind-published": lambda f: socket.socket(socket.AF_UNIX).bind(f["socket"]),
    "plant-beside-published": lambda f: open(f["socket"] + ".planted", "x").close(),
    "chmod-private": lambda f: os.chmod(f["private"], 0o700),
    "remove-private": lambda f: os.rmdir(f["private"]),
    "unlock": lambda f: open(f["private"] + "/lock", "r+").close(),
}.items():
    add(_name, Means.IDS, _attempt, "EXDEV", "EADDRINUSE", "ENOTEMPTY")


@attack("replace-published", Means.IDS, "EXDEV")
def _replace_published(facts: Facts) -> None:
    mine = f"{facts['tmp']}/mine-{os.getpid()}"
    with open(mine, "x"):
        pass
    try:
        os.replace(mine, facts["socket"])
    finally:
        os.unlink(mine)


add("connect-abstract", Means.LANDLOCK_6, lambda f: connect("\0" + f["abstract"]))
add("connect-others-socket", Means.LANDLOCK_9, lambda f: connect(f["others_socket"]))


@attack("send-to-abstract", Means.LANDLOCK_6)
def _send_to_abstract(facts: Facts) -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", "\0" + facts["abstract_datagram"])
