"""Credentials of a server that an ordinary user starts."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from support.accounts import ORDINARY_USER
from support.raw_http import get
from support.remote import run_in_worker
from support.servers import UDSRV

READ = """
import os
here = os.environ["CREDENTIALS_DIRECTORY"]
result = [here, open(here + "/key").read()]
"""


@pytest.fixture
def key(shared_directory):
    file = shared_directory / "key"
    file.write_text("hush")
    file.chmod(0o600)
    return file


def own(file: Path, like: Path) -> None:
    if os.getuid() == 0:
        facts = like.stat()
        os.chown(file, facts.st_uid, facts.st_gid)


def test_its_own_file_becomes_a_credential(serve_ordinary, key):
    started = serve_ordinary("--credential", "key", ready=False)  # who it is
    own(key, started.socket.parent)
    assert started.wait_end() == 78
    server = serve_ordinary("--credential", f"key:{key}")
    here, content = run_in_worker(server.socket, READ)
    assert content == "hush"
    assert stat.S_IMODE(os.stat(here).st_mode) == 0o500
    assert server.stop() == 0
    assert not os.path.exists(here)


# Shows what the example has made of its credentials.
SHOW = """

@app.route("/")
def show():
    return [SECRET_KEY, app.secret_key, DATABASES["default"]["PASSWORD"]]
"""


def test_the_example_of_the_documentation_reads_them(start_udsrv, shared_directory):
    documentation = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", documentation, re.DOTALL)
    (shared_directory / "site").mkdir(mode=0o755)
    (shared_directory / "site" / "example.py").write_text(example + SHOW)
    options = ["--chdir", f"{shared_directory}/site"]
    if os.getuid() == 0:
        options += ["--user", ORDINARY_USER]
    for name in ("secret-key", "db-password"):
        file = shared_directory / name
        file.write_text(f"the {name}\n")  # editors end a file so
        file.chmod(0o600)
        options += ["--credential", f"{name}:{file}"]
    server = start_udsrv("example:app", *options)
    expected = ["the secret-key", "the secret-key", "the db-password"]
    assert json.loads(get(server.socket).body) == expected


@pytest.mark.root
def test_without_a_place_in_memory_it_is_on_disk_and_that_is_said(
    start_udsrv, shared_directory, key
):
    # A mode in which others could replace what is ours: such a place is not used.
    launcher = shared_directory / "udsrv"
    launcher.write_text(
        "#!/bin/sh\n"
        "exec unshare --mount sh -euc 'mount --make-rprivate /;"
        f' mount -t tmpfs -o mode=0777 tmpfs /dev/shm; exec {UDSRV} "$@"\' sh "$@"\n'
    )
    launcher.chmod(0o755)
    server = start_udsrv(
        "remote:app", "--user", "nobody", "--credential", f"key:{key}", "-e", "TMPDIR=/var/tmp",
        udsrv=launcher,
    )  # fmt: skip
    here, content = run_in_worker(server.socket, READ)
    assert content == "hush"
    assert Path(here).parent == Path("/var/tmp")
    assert server.log.count("warning: the credentials are written below /var/tmp, which is on") == 1
    assert server.stop() == 0
    assert not os.path.exists(here)
