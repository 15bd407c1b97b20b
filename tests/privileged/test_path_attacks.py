"""Local users who prepare the path before root comes: refused in words, and left as it was."""

import contextlib
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.accounts import APP_USER, OTHER_USER
from support.servers import credentials_of
from support.socket_path import claimed
from support.waiting import ENDS_WITH_US
from udsrv.errors import PrivilegeError


def uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def tree(directory) -> list[tuple[object, ...]]:
    """Return everything below ``directory`` with its facts."""
    return sorted(
        (str(path), facts.st_ino, facts.st_mode, facts.st_uid, facts.st_gid, facts.st_size)
        for path in directory.rglob("*")
        for facts in [path.lstat()]
    )


def file_at_path(path):
    path.write_text("precious")


def link_at_path(path):
    path.symlink_to(path.parent.parent / "victim")


def directory_at_path(path):
    path.mkdir()


def fifo_at_path(path):
    os.mkfifo(path)


def file_at_private(path):
    path.with_name("app.sock.d").write_text("precious")


def link_at_private(path):
    path.with_name("app.sock.d").symlink_to(path.parent.parent / "victim-directory")


def directory_of_the_application_at_private(path):
    private = path.with_name("app.sock.d")
    private.mkdir(0o700)
    os.chown(private, uid(APP_USER), -1)


def open_directory_at_private(path):
    path.with_name("app.sock.d").mkdir()
    path.with_name("app.sock.d").chmod(0o750)


def link_at_lock(path):
    private = path.with_name("app.sock.d")
    private.mkdir(0o700)
    (private / "lock").symlink_to(path.parent.parent / "victim")


def open_directory(path):
    path.parent.chmod(0o777)


def directory_of_the_application(path):
    os.chown(path.parent, uid(APP_USER), 0)


def directory_of_its_group(path):
    os.chown(path.parent, 0, pwd.getpwnam(APP_USER).pw_gid)
    path.parent.chmod(0o775)


def closed_directory_of_the_application(path):
    os.chown(path.parent, uid(APP_USER), 0)
    path.parent.chmod(0o555)


def directory_behind_a_link_of_the_application(path):
    path.parent.rename(path.parent.with_name("real"))
    path.parent.symlink_to("real")
    os.lchown(path.parent, uid(APP_USER), -1)


def open_directory_above(path):
    above = path.parent.parent
    above.chmod(0o777)


REFUSED = {
    file_at_path: "app.sock is a regular file, not a socket, and is left alone",
    link_at_path: "app.sock is a symbolic link, not a socket, and is left alone",
    directory_at_path: "app.sock is a directory, not a socket, and is left alone",
    fifo_at_path: "app.sock is a FIFO, not a socket, and is left alone",
    file_at_private: "app.sock.d must be a directory of uid 0 with mode 0700, but it is a regular",
    link_at_private: "but it is a symbolic link of uid 0",
    directory_of_the_application_at_private: "but it is a directory of uid {app} with mode 0700",
    open_directory_at_private: "but it is a directory of uid 0 with mode 0750",
    link_at_lock: "app.sock.d/lock: Too many levels of symbolic links",
    open_directory: "/run (uid 0, gid 0, mode 0777) is writable by everybody",
    directory_of_the_application: "is writable by uid {app}, its owner",
    directory_of_its_group: "is writable by group {group}",
    closed_directory_of_the_application: "is writable by uid {app}, its owner",
    directory_behind_a_link_of_the_application: "/run is a symbolic link of uid {app}, who can",
    open_directory_above: "is writable by everybody",
}


@pytest.mark.parametrize(("prepare", "sentence"), REFUSED.items())
def test_a_prepared_path_is_refused_and_left_as_it_was(serve, shared_directory, prepare, sentence):
    (shared_directory / "victim").write_text("precious")
    (shared_directory / "victim-directory").mkdir(mode=0o700)
    (shared_directory / "run").mkdir(mode=0o755)
    prepare(shared_directory / "run" / "app.sock")
    watched = shared_directory / "run"
    before = tree(watched), tree(shared_directory / "victim-directory")
    server = serve(ready=False)
    assert server.wait_end() == 77
    account = pwd.getpwnam(APP_USER)
    last = server.log.text().splitlines()[-1]
    assert last.startswith("udsrv: ")
    assert sentence.format(app=account.pw_uid, group=account.pw_gid) in last
    assert (tree(watched), tree(shared_directory / "victim-directory")) == before
    assert (shared_directory / "victim").read_text() == "precious"


def test_a_sticky_directory_that_everybody_may_write_is_good_enough(serve, shared_directory):
    (shared_directory / "run").mkdir()
    (shared_directory / "run").chmod(0o1777)
    server = serve()
    assert server.socket.stat().st_uid == 0
    assert server.stop() == 0
    assert list(server.socket.parent.iterdir()) == []


def test_in_a_sticky_directory_what_somebody_prepared_is_refused(serve, shared_directory):
    (shared_directory / "run").mkdir()
    (shared_directory / "run").chmod(0o1777)
    planted = shared_directory / "run" / "app.sock.d"
    planted.mkdir(0o700)
    os.chown(planted, uid(OTHER_USER), -1)
    server = serve(ready=False)
    assert server.wait_end() == 77
    assert f"but it is a directory of uid {uid(OTHER_USER)}" in server.log.text()
    assert planted.stat().st_uid == uid(OTHER_USER)


RACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
one, two = (os.fsencode(name) for name in sys.argv[1:])
print("racing", flush=True)
while True:
    libc.renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE)
"""


@contextlib.contextmanager
def racing(source: str, *arguments: object, directory: Path) -> Iterator[None]:
    """Let ``source`` run as another user as long as the context lasts."""
    command = [*ENDS_WITH_US, sys.executable, "-I", "-c", source, *map(str, arguments)]
    racer = subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, **credentials_of(OTHER_USER)
    )
    with racer:
        try:
            assert racer.stdout.readline() == b"racing\n"
            yield
        finally:
            racer.kill()


def test_no_race_of_renames_leads_root_out_of_the_directories_it_checked(shared_directory):
    # In a sticky directory somebody swaps a directory of his own with a link to one of root's.
    common = shared_directory / "common"
    common.mkdir()
    common.chmod(0o1777)
    victim = shared_directory / "victim"
    victim.mkdir(mode=0o755)
    mine = common / "name"
    mine.mkdir()
    (common / "other").symlink_to(victim)
    os.chown(mine, uid(OTHER_USER), -1)
    os.lchown(common / "other", uid(OTHER_USER), -1)
    refusals = set()
    with racing(RACER, "name", "other", directory=common):
        until_s = time.monotonic() + 2
        for _ in range(20_000):
            try:
                claimed(common / "name" / "app.sock")
            except PrivilegeError as error:
                refusals.add(str(error).partition(str(common))[2])
            else:
                pytest.fail("it was let in")
            if time.monotonic() > until_s:
                break
    assert list(victim.iterdir()) == []
    assert {len(list(path.iterdir())) for path in (common / "name", common / "other")} == {0}
    # The race was real: root met both, and the moment between look and open.
    kinds = {"is a symbolic link" in text for text in refusals}
    assert kinds == {True, False}


def test_no_race_at_the_path_itself_makes_root_touch_somebodys_file(shared_directory):
    # In a sticky directory somebody keeps planting what root is about to look at.
    common = shared_directory / "common"
    common.mkdir()
    common.chmod(0o1777)
    victim = shared_directory / "victim"
    victim.write_text("precious")
    path = common / "app.sock"
    planter = """
import os, sys
print("racing", flush=True)
while True:
    for plant in (lambda: os.symlink(sys.argv[2], sys.argv[1]), lambda: os.mkfifo(sys.argv[1])):
        try:
            plant()
            os.unlink(sys.argv[1])
        except OSError:
            pass
"""
    published = refused = 0
    with racing(planter, path, victim, directory=common):
        until_s = time.monotonic() + 2
        while time.monotonic() < until_s and not (published > 20 and refused > 20):
            try:
                owned = claimed(path)
            except PrivilegeError:
                refused += 1
                continue
            try:
                with owned.stage():
                    owned.publish()
                    facts = path.lstat()
                    assert (facts.st_uid, owned.is_ours()) == (0, True)
                    published += 1
            except PrivilegeError:
                refused += 1
            finally:
                owned.withdraw()
    assert published > 0
    assert refused > 0
    assert victim.read_text() == "precious"
    assert not path.with_name("app.sock.d").exists()
