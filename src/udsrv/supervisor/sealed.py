"""What a supervisor does before anything of the application's is imported; a check does the same.

Runs as: the application's user, in a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator

from udsrv.sandbox.apply import Report, harden, seal_supervisor
from udsrv.sandbox.place import Place, place_here
from udsrv.sandbox.proof import prove, wanted
from udsrv.supervisor.credentials import credentials_directory
from udsrv.supervisor.tmpdir import private_tmpdir
from udsrv.worker.spec import WorkerSpec


@contextlib.contextmanager
def sealed(spec: WorkerSpec, fds: Collection[int]) -> Iterator[tuple[Place, Report]]:
    """Prove that this process has ``fds`` and no power, and seal it; at the end, clear up.

    CREDENTIALS_FD, one of them, is then closed.

    Raises:
        ConfigError: a path that the operator named isn't there.
        PrivilegeError: the kernel refused or has claimed what it didn't do, or leaves a gap that
            ``--sandbox strict`` forbids.
    """
    harden()
    prove(wanted(spec.identity, session=os.getpid(), fds=fds))
    os.umask(spec.settings.umask)
    with credentials_directory(spec.log), private_tmpdir() as directory:
        place = place_here(os.environ["TMPDIR"], is_ours=directory is not None)
        report = seal_supervisor(spec.settings, place)
        if spec.settings.sandbox == "strict":
            prove({"Seccomp": "2"})  # a filter. Source: proc(5)
        yield place, report
