"""Root runs no code that others could have written, and says which it is and what mends that."""

import os
import pwd
import re
import shutil
import stat
import subprocess
from glob import glob
from pathlib import Path

import pytest

from support.accounts import APP_USER, EXTRA_GROUP, OTHER_USER, PYTHON
from support.installations import install_udsrv, make_environment, site_packages
from support.servers import credentials_of

TOLD = "import os as _os\n_os.write(2, b'our code has run\\n')\n"


@pytest.fixture
def environment(shared_directory):
    """An installation of udsrv that tells when its code runs."""
    environment = make_environment(shared_directory / "opt" / "venv")
    install_udsrv(environment)
    with (site_packages(environment) / "udsrv" / "__init__.py").open("a") as module:
        module.write(TOLD)
    return environment


def give(path, user=OTHER_USER):
    os.chown(path, pwd.getpwnam(user).pw_uid, -1, follow_symlinks=False)


def open_to_all(path):
    path.chmod(path.stat().st_mode | stat.S_IWOTH)


def open_to_a_group(path):
    shutil.chown(path, group=EXTRA_GROUP)
    path.chmod(path.stat().st_mode | stat.S_IWGRP)


def run(environment, **details) -> subprocess.CompletedProcess[str]:
    command = [environment / "bin" / "udsrv", "--version"]
    return subprocess.run(
        command, capture_output=True, text=True, cwd="/", check=False, env={}, **details
    )


def assert_refused(result, path):
    assert result.returncode == 77
    assert result.stdout == ""
    facts = os.lstat(path)
    mode = f"{stat.S_IMODE(facts.st_mode):04o}"
    assert result.stderr == (
        f"udsrv: {path} (uid {facts.st_uid}, gid {facts.st_gid}, mode {mode}) can be changed by"
        f" others than root, who runs it, or what is in it: make it root's with"
        f" 'chown -h root:root {path}; chmod go-w {path}', or install udsrv below a directory"
        " that is, such as /opt\n"
    )


def test_what_root_alone_can_write_runs(environment):
    # Below /tmp, which is sticky: others can write there and can't touch what is root's.
    result = run(environment)
    assert result.returncode == 0
    assert result.stderr == "our code has run\n"


@pytest.mark.parametrize("spoil", [give, open_to_all, open_to_a_group])
@pytest.mark.parametrize(
    "place",
    [
        "..", ".", "bin", "bin/udsrv", "pyvenv.cfg", "lib", "lib/python3*/site-packages",
        "lib/python3*/site-packages/udsrv", "lib/python3*/site-packages/udsrv/__init__.py",
        "lib/python3*/site-packages/udsrv/cli/__pycache__",
    ],
)  # fmt: skip
def test_what_others_can_write_does_not_run(environment, place, spoil):
    (site_packages(environment) / "udsrv" / "cli" / "__pycache__").mkdir()
    (path,) = {Path(found).resolve() for found in glob(f"{environment}/{place}")}
    spoil(path)
    assert_refused(run(environment), path)


def test_the_outermost_of_many_is_named(environment):
    for path in (environment, *environment.rglob("*")):
        give(path)
    assert_refused(run(environment), environment)


def test_an_interpreter_that_others_can_write(environment):
    python = environment / "bin" / "python3"
    real = environment.parent / "python"
    shutil.copy(os.path.realpath(PYTHON), real)
    python.unlink()
    python.symlink_to(real)
    assert run(environment).returncode == 0
    open_to_all(real)
    assert_refused(run(environment), real)


def test_a_link_in_the_package_that_is_somebody_elses(environment):
    link = site_packages(environment) / "udsrv" / "more.py"
    link.symlink_to("/dev/null")
    assert run(environment).returncode == 0
    give(link)
    assert_refused(run(environment), link)


def test_roots_group_may_write(environment):
    (environment / "bin").chmod(0o775)
    assert run(environment).returncode == 0


def test_others_may_run_what_is_theirs(environment):
    for path in (environment, *environment.rglob("*")):
        give(path)
    assert run(environment, **credentials_of(APP_USER)).returncode == 0


def test_a_link_to_the_interpreter_through_a_directory_of_somebody_else(
    serve, environment, shared_directory
):
    # Only an interpreter that runs already can follow every step; it goes no further.
    theirs = shared_directory / "theirs"
    theirs.mkdir()
    (theirs / "python").symlink_to(PYTHON)
    python = environment / "bin" / "python3"
    python.unlink()
    python.symlink_to(theirs / "python")
    give(theirs)
    server = serve(udsrv=environment / "bin" / "udsrv", ready=False)
    assert server.wait_end() == 77
    assert os.listdir(server.socket.parent) == []
    assert re.search(
        rf"^udsrv: root would run {theirs}/python, but {theirs} \(uid \d+, gid 0, mode 0755\) is"
        rf" writable by uid \d+, its owner, who could replace what is in it: make it root's with"
        rf" 'chown root:root {theirs}; chmod 0755 {theirs}'",
        server.log.text(),
        re.MULTILINE,
    )


def test_a_module_loaded_from_elsewhere_that_others_can_write(serve, environment):
    # As one of the interpreter's own would be, which aren't the launcher's to look at.
    package = site_packages(environment) / "udsrv"
    elsewhere = environment.parent / "elsewhere.py"
    elsewhere.write_text("")
    with (package / "errors.py").open("a") as module:
        module.write(
            "\nfrom importlib import util as _util\n"
            f"_spec = _util.spec_from_file_location('elsewhere', '{elsewhere}')\n"
            "import sys as _sys\n"
            "_sys.modules['elsewhere'] = _util.module_from_spec(_spec)\n"
        )
    open_to_all(elsewhere)
    server = serve(udsrv=environment / "bin" / "udsrv", ready=False)
    assert server.wait_end() == 77
    assert f"udsrv: root would run {elsewhere} (uid 0, gid 0, mode 0646), which is writable by" in (
        server.log.text()
    )
