"""What a supervisor is told."""

import json
import os
import subprocess
import sys

import udsrv
from support.settings import make_settings
from udsrv.fds import PAYLOAD_FD

SCRIPT = """
import sys, json
from udsrv.errors import UdsrvError
from udsrv.supervisor.payload import read_payload
try:
    payload = read_payload()
except UdsrvError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print(payload.generation, payload.spec.settings.workers, payload.spec.trusted_uids,
      payload.spec.trusted_gids, payload.spec.log.level, payload.spec.log.form,
      payload.spec.identity)
"""


def read(**changed: object) -> subprocess.CompletedProcess[str]:
    settings = make_settings(app="app:app", socket="/run/app.sock", workers="3", log_level="debug")
    data = {
        "version": udsrv.__version__,
        "settings": settings.to_json().decode(),
        "identity": [1000, 100, [27, 100]],
        "trusted_uids": [0, 33],
        "trusted_gids": [33],
        "form": {"timestamps": True, "priorities": False, "is_json": True},
        **changed,
    }
    fd = os.memfd_create("payload")
    os.write(fd, json.dumps(data).encode())
    try:
        return subprocess.run(
            [sys.executable, "-c", f"import os; os.dup2({fd}, {PAYLOAD_FD})\n{SCRIPT}", "7"],
            pass_fds=(fd,),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(fd)


def test_the_payload_is_read_from_its_descriptor_wherever_another_has_read_to():
    form = "Form(timestamps=True, priorities=False, is_json=True)"
    identity = "Identity(uid=1000, gid=100, groups=(27, 100))"
    assert read().stdout == f"7 3 (0, 33) (33,) 10 {form} {identity}\n"


def test_without_root_nobody_made_us_anybody():
    assert read(identity=None).stdout.endswith(" None\n")


def test_another_version_is_refused_in_a_sentence_with_both():
    result = read(version="9.9")
    assert result.returncode == 78
    assert result.stderr == (
        f"{sys.executable} has udsrv {udsrv.__version__}, but the master is 9.9:"
        " install the same version in both environments\n"
    )
