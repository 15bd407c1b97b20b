"""Root opens nothing where everybody can put something: /tmp and /dev/shm."""

import os
import shlex
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from support import servers
from support.accounts import APP_USER
from support.servers import UDSRV
from support.strace import FORKS, calls_by_process, in_front


@pytest.fixture
def directory_in_run():
    """A directory for a server that isn't below /tmp itself."""
    directory = Path(tempfile.mkdtemp(prefix="udsrv-test-", dir="/run"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_a_start_a_new_generation_and_a_stop(directory_in_run):
    trace = directory_in_run / "trace"
    script = directory_in_run / "udsrv"
    words = shlex.join(in_front(trace, f"trace=%file,%network,setresuid,{','.join(FORKS)}"))
    script.write_text(f'#!/bin/sh\nexec {words} {UDSRV} "$@"\n')
    script.chmod(0o755)
    server = servers.start(directory_in_run, "remote:app", "--user", APP_USER, udsrv=script)
    server.wait_ready()
    (supervisor,) = server.supervisors
    os.kill(supervisor, signal.SIGKILL)
    server.log.wait_for(r"ready: .*\n(.*\n)*.*ready: ")
    assert server.stop() == 0
    by_root = [
        call
        for calls in calls_by_process(trace.read_text(), until="never")
        for call in calls
        if not call.startswith("dropped: ")
    ]
    assert [call for call in by_root if '"/etc/passwd"' in call]
    assert [call for call in by_root if "app.sock" in call]
    assert not [call for call in by_root if '"/tmp' in call or '"/dev/shm' in call]
