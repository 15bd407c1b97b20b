"""What an application tries while it is imported, against the server that is to run it."""

from __future__ import annotations

import os
import signal

import pytest

from support.accounts import APP_USER
from support.raw_http import get
from support.remote import run_in_worker
from support.waiting import wait_for_end


@pytest.fixture
def load(start_udsrv):
    def start(code: str, *options: str, **details: object):
        loading = ("-e", f"BEFORE_LOADING={code}")
        return start_udsrv("gated:app", "--user", APP_USER, *loading, *options, **details)

    return start


# After which it is served and stopped like any other.
HARMLESS = {
    "ignores every signal": """
import signal
for number in signal.valid_signals() - {9, 19}:
    signal.signal(number, signal.SIG_IGN)
""",
    "blocks every signal": """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
""",
    "leaves a process": "import os, signal\nif os.fork() == 0:\n while True: signal.pause()",
    "leaves threads": """
import threading
for _ in range(5):
    threading.Thread(target=threading.Event().wait, daemon=False).start()
""",
    "changes directory and umask": "import os; os.chdir('/tmp'); os.umask(0)",
    "opens many files": "import os; kept = [os.open('/dev/null', 0) for _ in range(200)]",
    "stands in for our modules": """
import sys, types
for name in list(sys.modules):
    if name.startswith("udsrv.") and "native" not in name:
        sys.modules[name] = types.ModuleType(name)
sys.modules["json"] = sys.modules["socket"] = None
import builtins
del sys.modules["json"], sys.modules["socket"]
""",
}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_an_import_that_misbehaves_leaves_the_server_in_charge(load, code, preload):
    server = load(code, *preload)
    below = run_in_worker(server.socket, "import os; result = os.getpid()")
    assert get(server.socket).status == 200
    (supervisor,) = server.supervisors
    os.kill(below, signal.SIGKILL)
    server.log.wait_for("was killed by signal 9; a new one starts$")
    assert get(server.socket).status == 200
    assert server.stop() == 0
    wait_for_end(supervisor, patience_s=1)
    assert list(server.socket.parent.iterdir()) == []


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_an_import_that_closes_every_descriptor_ends_its_own_start_alone(load, preload):
    server = load("import os; os.closerange(0, 50)", *preload, ready=False)
    assert server.wait_end() in {69, 70}
    assert list(server.socket.parent.iterdir()) == []
