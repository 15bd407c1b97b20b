"""A change of the application's files brings a new generation, and a mistake in it does no harm."""

import os
import re

import pytest

from support.accounts import PYTHON
from support.gates import Gate
from support.processes import children_of, title_of
from support.raw_http import Connection, get
from support.waiting import wait_for_end

APPLICATION = """
{before}
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "{length}")])
    return [b"{answer}"]
"""


class Site:
    """An application in a directory of its own, and the server that watches it."""

    def __init__(self, serve, directory) -> None:
        self.directory = directory
        self.serve = serve

    def write(self, answer: str, before: str = "") -> None:
        """Change the application."""
        text = APPLICATION.format(before=before, answer=answer, length=len(answer))
        self.replace("watched.py", text)

    def replace(self, name: str, text: str) -> None:
        """Change a file as an editor does: another one is renamed onto it."""
        fresh = self.directory / f"{name}.new"
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.directory / name)

    def start(self, *options: str, **details: object):
        return self.serve(
            "--reload", "--chdir", str(self.directory), *options, app="watched:app", **details
        )


@pytest.fixture
def site(serve_ordinary, shared_directory) -> Site:
    directory = shared_directory / "watched"
    directory.mkdir()
    directory.chmod(0o755)
    return Site(serve_ordinary, directory)


def wait_replaced(server, generation: int) -> None:
    """Return when a generation serves and the one before it is gone."""
    server.log.wait_for("ready: ", times=generation)
    old = [pid for pid in server.supervisors if f"generation {generation}" not in title_of(pid)]
    wait_for_end(*old)


def test_a_change_is_served(site):
    site.write("one")
    server = site.start()
    assert get(server.socket).body == b"one"
    for number, answer in enumerate(("two", "three"), start=2):
        site.write(answer)
        wait_replaced(server, number)
        assert get(server.socket).body == answer.encode()
        server.log.wait_for(
            rf"\[supervisor\] {site.directory}/watched\.py( and \d+ more)? changed: the"
            " application is loaded again$",
            times=number - 1,
        )
    assert server.stop() == 0


def test_bytecode_of_the_same_second_does_not_hide_a_change(site):
    # The application's user may write it here: a file of the same size and time looks unchanged.
    site.directory.chmod(0o777)
    site.write("one")
    os.utime(site.directory / "watched.py", (1_000_000_000, 1_000_000_000))
    server = site.start("--write-path", str(site.directory))
    assert get(server.socket).body == b"one"
    assert list((site.directory / "__pycache__").iterdir())
    fresh = site.directory / "fresh"
    fresh.write_text((site.directory / "watched.py").read_text().replace("one", "two"))
    os.utime(fresh, (1_000_000_000, 1_000_000_000))
    fresh.chmod(0o644)
    fresh.rename(site.directory / "watched.py")
    wait_replaced(server, 2)
    assert get(server.socket).body == b"two"


def test_a_mistake_is_logged_and_the_old_generation_goes_on(site):
    site.write("good")
    server = site.start()
    site.write("broken", before="1 / 0")
    server.log.wait_for(r"generation 2 did not start \(code 69\); generation 1 goes on serving$")
    assert server.log.count("ZeroDivisionError: division by zero$") == 2
    assert get(server.socket).body == b"good"
    site.write("mended")
    server.log.wait_for("ready: ", times=2)
    assert title_of(server.supervisors[-1]).endswith("generation 3")
    wait_for_end(*server.supervisors[:-1])
    assert get(server.socket).body == b"mended"


def test_an_idle_connection_is_not_answered_by_the_old_code(site):
    site.write("old")
    server = site.start()
    with Connection(server.socket) as idle:
        idle.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.read_response().body == b"old"
        site.write("new")
        wait_replaced(server, 2)
        assert idle.read_to_end() == b""
    assert get(server.socket).body == b"new"


def test_a_change_while_a_generation_starts_is_not_missed(site, shared_directory):
    gate = Gate(shared_directory / "gate")
    site.write("one")
    server = site.start()
    site.write("two", before=gate.code)
    gate.wait_reached()
    site.write("three")
    server.log.wait_for("ready: ", times=2)
    assert title_of(server.supervisors[-1]).endswith("generation 3")
    wait_for_end(*server.supervisors[:-1])
    assert get(server.socket).body == b"three"
    gate.close()


def test_a_change_while_the_first_generation_starts_is_not_missed(site, shared_directory):
    gate = Gate(shared_directory / "gate")
    site.write("one", before=gate.code)
    server = site.start(ready=False)
    gate.wait_reached()
    site.write("two")
    server.log.wait_for("changed: the application is loaded again")
    gate.open()
    server.log.wait_for("ready: ", times=2)
    wait_for_end(*server.supervisors[:-1])
    assert get(server.socket).body == b"two"
    gate.close()


def test_with_preload_the_new_code_is_loaded_too(site):
    site.write("one")
    server = site.start("--preload", "--workers", "2")
    site.write("two")
    wait_replaced(server, 2)
    assert get(server.socket).body == b"two"


def test_what_is_no_code_reloads_only_when_it_is_named(site):
    site.write("one")
    for name in ("named.html", "other.html"):
        site.replace(name, "before")
    server = site.start("--reload-extra-file", str(site.directory / "named.html"))
    # In this order: had the first one counted, there would be two lines, or one that names it.
    site.replace("other.html", "after")
    site.replace("named.html", "after")
    wait_replaced(server, 2)
    assert server.log.count("changed: the application is loaded again") == 1
    assert re.search(r"\[supervisor\] \S+/named\.html changed: ", server.log.text())


def test_the_watcher_is_one_process_and_ends_with_the_server(site):
    site.write("one")
    server = site.start()
    (supervisor,) = server.supervisors
    (watcher,) = (pid for pid in children_of(supervisor) if title_of(pid) == "udsrv: watcher")
    if os.getuid() == 0:  # who may look: the standard streams, its channel, and inotify's
        sockets = [
            name
            for fd in os.listdir(f"/proc/{watcher}/fd")
            if (name := os.readlink(f"/proc/{watcher}/fd/{fd}")).startswith("socket:")
        ]
        assert len(sockets) == 1
    assert server.stop() == 0
    wait_for_end(watcher, patience_s=1)


def test_a_watcher_that_dies_is_told(site):
    site.write("one")
    server = site.start()
    (supervisor,) = server.supervisors
    (watcher,) = (pid for pid in children_of(supervisor) if title_of(pid) == "udsrv: watcher")
    os.kill(watcher, 9)
    server.log.wait_for(r"error: the watcher has ended: changes are not noticed any more$")
    assert get(server.socket).body == b"one"


def test_all_of_the_file_system_is_not_watched(serve_ordinary):
    server = serve_ordinary("--reload", "--chdir", "/", ready=False)
    assert server.wait_end() == 78
    assert (
        server.log.count(
            r"error: reload: would watch all of /; name the application's directory \(--chdir\)$"
        )
        == 1
    )


@pytest.mark.root
def test_root_is_refused(start_udsrv):
    server = start_udsrv("hello:app", "--user", "nobody", "--reload", run_as="root", ready=False)
    assert server.wait_end() == 78
    assert (
        server.log.count(
            r"udsrv: reload: for development, and not as root: start udsrv as yourself, or leave it"
            r" out \(from --reload\)$"
        )
        == 1
    )


def test_an_environment_without_watchfiles_is_told_what_to_install(site):
    site.write("one")
    # Debian's interpreter: udsrv itself comes from the master's package.
    server = site.start("--python", PYTHON, ready=False)
    assert server.wait_end() == 78
    assert (
        server.log.count(
            rf"error: reload: {PYTHON} has no watchfiles; install it in that environment:"
            r" pip install 'udsrv\[reload\]'$"
        )
        == 1
    )
