"""The application is loaded once, before the fork; its workers have what it made."""

import os
import signal

import pytest

from support.directories import open_to_applications
from support.gates import Gate
from support.processes import descendants_of, status_of
from support.remote import run_in_worker
from support.waiting import wait_for_end

IMPORTED_BY = "import gated; result = gated.IMPORTED_BY"


def before_loading(code: str) -> tuple[str, ...]:
    return ("--preload", "-e", f"BEFORE_LOADING={code}")


def test_the_supervisor_loads_it_and_every_worker_has_it(serve):
    code = "import os; IMPORTED_BY = [os.getpid(), os.getuid()]"
    server = serve(*before_loading(code), "--workers", "3", app="gated:app")
    (supervisor,) = server.supervisors
    uid = int(status_of(supervisor)["Uid"].split()[0])
    assert run_in_worker(server.socket, IMPORTED_BY) == [supervisor, uid]
    assert uid != 0
    victim = run_in_worker(server.socket, "import os; result = os.getpid()")
    os.kill(victim, signal.SIGKILL)
    server.log.wait_for(rf"pid {victim}\) was killed by signal 9; a new one starts$")
    assert run_in_worker(server.socket, IMPORTED_BY) == [supervisor, uid]
    assert server.log.count(r"\[preload\] loaded$") == 1
    assert server.stop() == 0


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["in the worker", "preloaded"])
def test_what_loading_made_is_frozen(serve, options):
    server = serve(*options)
    source = "import gc, remote; result = [o is remote.app for o in gc.get_objects()]"
    assert True not in run_in_worker(server.socket, source)


def test_files_that_loading_opened_stay_open(serve, shared_directory):
    path = open_to_applications(shared_directory) / "opened"
    path.write_text("content")
    path.chmod(0o644)
    server = serve(*before_loading(f"OPENED = open({str(path)!r})"), app="gated:app")
    assert run_in_worker(server.socket, "import gated; result = gated.OPENED.read()") == "content"


DESCRIPTORS = """
import os
result = []
for name in os.listdir("/proc/self/fd"):
    try:
        result.append(os.readlink("/proc/self/fd/" + name).split(":")[0])
    except FileNotFoundError:
        pass
result.sort()
"""


def test_a_worker_has_none_of_the_supervisors_descriptors(serve):
    found = []
    for options in ((), ("--preload",)):
        server = serve(*options)
        found.append(run_in_worker(server.socket, DESCRIPTORS))
        assert server.stop() == 0
    assert found[0] == found[1]


RELOAD = """
import os, socket
channel = socket.socket(fileno=os.dup(3))
channel.send((4).to_bytes(1, "little") + bytes(15))
"""


def test_a_reload_that_nobody_has_allowed_ends_who_asks_for_it(serve):
    # Loaded in the supervisor, an application can reach the master's channel.
    server = serve(*before_loading(RELOAD), app="gated:app", ready=False)
    assert server.wait_end() == 70
    assert (
        server.log.count(
            r"error: generation 1 sent a RELOAD record, which the settings don't allow,"
            r" and is killed$"
        )
        == 1
    )


def test_an_application_that_does_not_load_is_told_once(serve):
    server = serve(*before_loading("print('so far'); 1 / 0"), app="gated:app", ready=False)
    assert server.wait_end() == 69
    assert server.log.count("ZeroDivisionError: division by zero$") == 2  # traceback and sentence
    assert server.log.count(r"\[preload\] so far$") == 1
    assert (
        server.log.count(
            r"\[supervisor\] error: 'gated:app' doesn't load: ZeroDivisionError: division by zero$"
        )
        == 1
    )
    assert list(server.socket.parent.iterdir()) == []


def test_output_is_logged_while_it_loads(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    # More than a pipe holds: nobody would go on if nobody read.
    code = f"print('x\\x1b[31m'); print('y' * 200_000); {gate.code}"
    server = serve(*before_loading(code), app="gated:app", ready=False)
    gate.wait_reached()
    server.log.wait_for(r"\[preload\] x\\x1b\[31m$")
    gate.open()
    server.wait_ready()
    gate.close()


def test_a_stop_while_it_loads_needs_no_patience(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    code = f"import tempfile; print(tempfile.gettempdir()); {gate.code}"
    server = serve(*before_loading(code), app="gated:app", ready=False)
    gate.wait_reached()
    below = descendants_of(server.pid)
    assert server.stop() == 0
    wait_for_end(*below, patience_s=1)
    (directory,) = (
        line.split()[-1] for line in server.log.text().splitlines() if "[preload] /" in line
    )
    assert not os.path.exists(directory)
    gate.close()


def test_a_master_that_dies_while_it_loads_takes_it_along(serve, shared_directory):
    gate = Gate(shared_directory / "gate")
    server = serve(*before_loading(gate.code), app="gated:app", ready=False)
    gate.wait_reached()
    below = descendants_of(server.pid)
    server.process.kill()
    server.wait_end()
    wait_for_end(*below, patience_s=1)
    gate.close()


THREADS = """
import threading
wait = threading.Event().wait
for name in ('first', 'second'):
    threading.Thread(target=wait, name=name).start()
"""


def test_threads_that_loading_started_are_named(serve):
    server = serve(*before_loading(THREADS), app="gated:app")
    assert (
        server.log.count(
            r"\] warning: the application started threads while it was preloaded, and no worker has"
            r" them: first, second; start them after the fork, or leave --preload out$"
        )
        == 1
    )
    assert run_in_worker(server.socket, "result = 1") == 1
    assert server.stop() == 0  # they wait for ever, and keep nobody from ending


def test_without_threads_nobody_is_warned(serve):
    server = serve("--preload")
    assert server.log.count("warning: the application started threads") == 0


def test_exit_handlers_run_in_the_workers_alone(serve):
    code = "import atexit, os; atexit.register(lambda: print('bye from', os.getpid(), flush=True))"
    server = serve(*before_loading(code), app="gated:app")
    (supervisor,) = server.supervisors
    (worker,) = server.workers
    assert server.stop() == 0
    assert server.log.count(rf"bye from {worker}$") == 1
    assert server.log.count(rf"bye from {supervisor}$") == 0


@pytest.mark.parametrize(("options", "mask"), [((), 0o077), (("--umask", "027"), 0o027)])
def test_the_umask_is_the_applications(serve, options, mask):
    assert run_in_worker(serve(*options).socket, "import os; result = os.umask(0)") == mask
