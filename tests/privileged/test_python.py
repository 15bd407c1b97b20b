"""The application's own environment, named with --python."""

import os

import pytest

import udsrv
from support.installations import PACKAGE, install_udsrv, make_environment, site_packages
from support.processes import children_of
from support.remote import run_in_worker


@pytest.fixture
def environment(shared_directory):
    return make_environment(shared_directory / "venv")


def refusal(server) -> tuple[int, str]:
    """Return the exit code and the log of a server that doesn't start, having left nothing."""
    code = server.wait_end()
    assert list(server.socket.parent.iterdir()) == []
    return code, server.log.text()


WHERE = "import sys, udsrv, os; result = [sys.prefix, os.path.dirname(udsrv.__file__)]"


def test_an_environment_without_udsrv_uses_the_masters(serve, environment):
    server = serve("--python", str(environment / "bin" / "python"))
    assert run_in_worker(server.socket, WHERE) == [str(environment), str(PACKAGE)]


def test_nothing_else_of_the_masters_environment_can_be_imported(serve, environment):
    server = serve("--python", str(environment / "bin" / "python"))
    source = """
    import importlib.util
    result = importlib.util.find_spec("pytest") is None
    """
    assert run_in_worker(server.socket, source) is True


def test_an_environment_with_the_same_udsrv_uses_its_own(serve, environment):
    install_udsrv(environment)
    server = serve("--python", str(environment / "bin" / "python"))
    own = str(site_packages(environment) / "udsrv")
    assert run_in_worker(server.socket, WHERE) == [str(environment), own]


def test_an_environment_with_another_udsrv_is_refused(serve, environment):
    install_udsrv(environment)
    (site_packages(environment) / "udsrv" / "__init__.py").write_text('__version__ = "9.9"\n')
    python = environment / "bin" / "python"
    code, log = refusal(serve("--python", str(python), ready=False))
    assert code == 78
    assert (
        f"[supervisor] error: {python} has udsrv 9.9, but the master is {udsrv.__version__}:"
        " install the same version in both environments\n"
    ) in log
    assert "Traceback" not in log


def test_an_environment_whose_compiled_module_does_not_load_is_refused(serve, environment):
    install_udsrv(environment)
    for module in (site_packages(environment) / "udsrv").glob("_native*"):
        module.unlink()
    python = environment / "bin" / "python"
    code, log = refusal(serve("--python", str(python), ready=False))
    assert code == 78
    assert f"[supervisor] error: {python} can't load udsrv's compiled module (" in log
    assert "Traceback" not in log


def test_a_foreign_package_of_the_same_name_is_refused(serve, environment):
    (site_packages(environment) / "udsrv.py").write_text("")
    python = environment / "bin" / "python"
    code, log = refusal(serve("--python", str(python), ready=False))
    assert code == 78
    assert f"{python} has another udsrv" in log
    assert "Traceback" not in log


def test_a_missing_interpreter_is_refused(serve, environment):
    code, log = refusal(serve("--python", "/no/such/python", ready=False))
    assert code == 77
    assert log.endswith("udsrv: /no/such/python doesn't exist (there is no /no)\n")


def test_an_interpreter_in_somebodys_closed_home_is_refused(serve, environment):
    environment.chmod(0o700)
    python = environment / "bin" / "python"
    code, log = refusal(serve("--python", str(python), ready=False))
    assert code == 77
    assert f"can't read {python}: {environment} is closed to it" in log


def test_what_is_no_interpreter_is_refused(serve, shared_directory):
    script = shared_directory / "python"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    code, log = refusal(serve("--python", str(script), ready=False))
    assert code == 70
    assert "the supervisor exited with code 3 before the application was ready" in log


def test_a_replaced_link_is_followed_by_the_next_supervisor(serve, environment, shared_directory):
    other = make_environment(shared_directory / "venv2")
    current = shared_directory / "current"
    current.symlink_to(environment)
    server = serve("--python", str(current / "bin" / "python"))
    assert run_in_worker(server.socket, "import sys; result = sys.prefix") == str(current)
    config = "import sys; result = open(sys.prefix + '/pyvenv.cfg').read()"
    before = run_in_worker(server.socket, config)
    (shared_directory / "next").symlink_to(other)
    (shared_directory / "next").rename(current)
    (supervisor,) = server.supervisors
    os.kill(supervisor, 9)
    server.log.wait_for(r"ready: ", times=2)
    assert run_in_worker(server.socket, config) != before
    assert children_of(server.pid) != [supervisor]
