"""A server whose application has been taken over, nginx in front, and all there is to attack."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import nginx
from support.accounts import APP_USER, OTHER_USER, PYTHON, make_accounts
from support.directories import copy_readable
from support.log_file import LogFile
from support.processes import children_of
from support.raw_http import request
from support.servers import APPLICATIONS, UDSRV, Udsrv, credentials_of
from support.waiting import ENDS_WITH_US


@pytest.fixture(scope="session", autouse=True)
def _accounts() -> None:
    make_accounts()


@dataclass(frozen=True)
class Scene:
    """One server under attack and what is around it."""

    server: Udsrv
    front: nginx.Nginx
    port: int  # where nginx listens
    access_log: LogFile
    facts: dict[str, Any]

    def know_processes(self) -> None:
        """Look who there is to attack: again, when some have been replaced."""
        self.facts["inode"] = self.server.socket.stat().st_ino
        self.facts["master"] = self.server.pid
        (self.facts["supervisor"],) = self.server.supervisors
        self.facts["workers"] = self.server.workers

    def attempt(self, *names: str) -> dict[str, str]:
        """Try attacks in whichever worker takes the request; return name and outcome."""
        body = json.dumps({"attacks": names, "facts": self.facts}).encode()
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        response = request(self.server.socket, head + body, method="POST")
        assert response.status == 200, self.server.log.text()
        outcomes: dict[str, str] = json.loads(response.body)["outcomes"]
        assert outcomes.keys() == set(names)
        return outcomes


def _owned(owner: str, path: Path, mode: int, content: bytes | None = b"content\n") -> Path:
    """Make a file, or a directory when there is no content."""
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    who = pwd.getpwnam(owner)
    os.chown(path, who.pw_uid, who.pw_gid)
    path.chmod(mode)
    return path


def _program(source: str, path: Path, mode: int) -> Path:
    shutil.copyfile(source, path)
    path.chmod(mode)
    return path


def _make_victims(directory: Path) -> dict[str, str]:
    """Fill ``directory`` with what is to be attacked, and say where it is."""
    others = _owned(OTHER_USER, directory / "others", 0o755, None)
    own = _owned(APP_USER, directory / "own", 0o755, None)
    for name in ("removed", "moved"):
        _owned(APP_USER, own / name, 0o644)
    capable = _program("/bin/cat", directory / "capable-cat", 0o755)
    # cap_setuid+ep. Source: capabilities(7), "File capability extended attribute versioning".
    every = bytes.fromhex("0100000280000000000000000000000000000000")
    os.setxattr(capable, "security.capability", every)
    victims = {
        "foreign_secret": _owned(OTHER_USER, others / "secret", 0o600),
        "foreign_public": _owned(OTHER_USER, others / "public", 0o644),
        "own_directory": own,
        "own_file": _owned(APP_USER, directory / "own_file", 0o644),
        "own_program": _program("/bin/true", own / "program", 0o755),
        "own_code": _owned(APP_USER, directory / "app" / "own_code.py", 0o644),
        "set_uid_id": _program("/usr/bin/id", directory / "set-uid-id", 0o4755),
        "capable_cat": capable,
    }
    return {name: str(path) for name, path in victims.items()}


@contextlib.contextmanager
def _listeners(directory: Path) -> Iterator[dict[str, str]]:
    """Listen as programs do that are nobody's business: by a path, by abstract names."""
    with contextlib.ExitStack() as stack:
        by_path, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        datagrams = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        path = directory / "others.sock"
        by_path.bind(str(path))
        path.chmod(0o666)
        by_path.listen()
        names = [f"{directory.name}-{kind}" for kind in ("stream", "datagram")]
        abstract.bind(f"\0{names[0]}")
        abstract.listen()
        datagrams.bind(f"\0{names[1]}")
        yield {"others_socket": str(path), "abstract": names[0], "abstract_datagram": names[1]}


@contextlib.contextmanager
def _neighbour() -> Iterator[int]:
    """Run another program of the application's user, which hides nothing; yield its pid."""
    process = subprocess.Popen(
        [*ENDS_WITH_US, PYTHON, "-I", "-c", "import signal; print(flush=True); signal.pause()"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **credentials_of(APP_USER),  # type: ignore[call-overload]
    )
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _terminal() -> Iterator[str]:
    master_fd, slave_fd = os.openpty()
    try:
        yield os.ttyname(slave_fd)
    finally:
        os.close(master_fd)
        os.close(slave_fd)


@contextlib.contextmanager
def _shared_memory(name: str) -> Iterator[str]:
    path = _owned(APP_USER, Path("/dev/shm", name), 0o600)
    try:
        yield str(path)
    finally:
        path.unlink()


SetScene = Callable[..., Scene]


@pytest.fixture(scope="module")
def set_scene(start_module_udsrv, start_module_nginx, module_directory: Path) -> Iterator[SetScene]:
    """Return a function that starts nginx, and a server with that many workers behind it.

    With ``at_import`` the application is preloaded, and tries these attacks in the supervisor.
    """
    with contextlib.ExitStack() as stack:
        copy_readable(APPLICATIONS, module_directory).rename(module_directory / "app")
        facts = {
            **_make_victims(module_directory),
            **stack.enter_context(_listeners(module_directory)),
            "neighbour": stack.enter_context(_neighbour()),
            "terminal": stack.enter_context(_terminal()),
            "own_shared_memory": stack.enter_context(_shared_memory(module_directory.name)),
        }
        numbers = itertools.count()

        def start(
            *options: str, workers: int = 2, at_import: Iterable[str] = (), **details: object
        ) -> Scene:
            number = next(numbers)
            path = module_directory / "run" / f"{number}.sock"
            log = module_directory / f"access-{number}.log"
            port = nginx.free_port()
            front = start_module_nginx(_printed_config(path, port))
            front.error_log.wait_for(r"start worker process \d+")
            (front_worker,) = children_of(front.process.pid)
            known = {
                **facts,
                "socket": str(path),
                "private": f"{path}.d",
                "access_log": str(log),
                "nginx-master": front.process.pid,
                "nginx-worker": front_worker,
            }
            if at_import:
                order = module_directory / "app" / f"order-{number}.json"
                order.write_text(json.dumps({"attacks": list(at_import), "facts": known}))
                options = ("--preload", "-e", f"ATTACKS_AT_IMPORT={order}", *options)
            server = start_module_udsrv(
                "attacker:app",
                *("--user", APP_USER, "--workers", str(workers), "--access-logfile", log, *options),
                socket=path,
                **details,
            )
            server.log.wait_for(r"\] loaded", times=1 if at_import else workers)
            scene = Scene(server, front, port, LogFile(log), known)
            scene.know_processes()
            return scene

        yield start


def _printed_config(path: Path, port: int) -> str:
    where = ["--server-name", "localhost", "--listen", f"127.0.0.1:{port}"]
    command = [UDSRV, "gen-nginx", "--socket", path, *where]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
