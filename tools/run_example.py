"""Serve an application of examples/ behind a real nginx until Ctrl-C. `make run` calls this.

Everything lives in one directory that is removed at the end: the socket, a copy of examples/ (a
clone under /root could not be read by the dropped worker), and nginx's own prefix. Built on
tests/support, so PYTHONPATH names tests/.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from port_owner import is_free, owner_of
from support import nginx
from support.accounts import IS_ROOT, ORDINARY_USER
from support.directories import copy_readable, make_shared_directory
from support.notify import NotifySocket
from support.servers import UDSRV
from support.waiting import ENDS_WITH_US, PATIENCE_S, ProcessEndedError

TREE = Path(__file__).resolve().parents[1]

NEXT_STEPS = """\

  http://127.0.0.1:{port}/ is served by {app} ({who}). Try:

    curl http://127.0.0.1:{port}/
    curl -d name=World http://127.0.0.1:{port}/greet
    curl http://127.0.0.1:{port}/mistake          a 500 here, the traceback below
    ls -l {socket}
    ps -eo user,pid,args | grep [u]dsrv:
    less {config}

  Everything is in {place}. Ctrl-C ends it and removes that.
"""


def stop_on_signal(number: int, _frame: object) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def start_server(place: Path, app: str) -> subprocess.Popen[bytes]:
    """Start udsrv for ``app``; it is ready when this returns."""
    user = ["--user", ORDINARY_USER] if IS_ROOT else []
    notify = NotifySocket(place / "notify")
    command = [UDSRV, "--socket", place / "app.sock", *user, app]
    server = subprocess.Popen(
        [*ENDS_WITH_US, *command],
        cwd=place / "examples",
        env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notify.path)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us alone: we stop nginx first
    )
    try:
        notify.wait_for("READY=1", sender=server.pid)
    except BaseException:
        stop(server)
        raise
    finally:
        notify.close()
    return server


def generated_config(place: Path, port: int) -> str:
    """Return what gen-nginx prints for this server."""
    command = [UDSRV, "gen-nginx", "--socket", place / "app.sock"]
    command += ["--server-name", "localhost", "--listen", f"127.0.0.1:{port}"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask ``process`` to end, and see that it does."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_first_end(*processes: subprocess.Popen[bytes]) -> None:
    """Return when one of ``processes`` has ended."""
    pidfds = [os.pidfd_open(process.pid) for process in processes]
    select.select(pidfds, [], [])


def serve(place: Path, app: str, port: int) -> int:
    """Run both programs in ``place`` until one ends or a signal comes."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        copy_readable(TREE / "examples", place)
        running.append(start_server(place, app))
        front = nginx.start(place / "nginx", generated_config(place, port))
        running.append(front.process)
        who = f"user {ORDINARY_USER}; a deployment has its own" if IS_ROOT else "rootless: as you"
        config = place / "nginx" / "conf.d" / "app.conf"
        socket = place / "app.sock"
        print(NEXT_STEPS.format(**locals()), flush=True)
        wait_for_first_end(*running)
        print("udsrv: one of the two programs ended by itself", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except ProcessEndedError as error:
        print(f"udsrv: {error}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(running):
            stop(process)


def main() -> int:
    """Check the port, then serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--app", default="flask_app:app")
    options = parser.parse_args()
    if not is_free(options.port):
        owner = owner_of(options.port)
        other = next(port for port in range(options.port + 1, 65536) if is_free(port))
        print(
            f"udsrv: port {options.port} is held by {owner}; try: make run PORT={other}",
            file=sys.stderr,
        )
        return 1
    # SIGINT too: a shell starts what it puts into the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_on_signal)
    place = make_shared_directory("example")
    try:
        return serve(place, options.app, options.port)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    sys.exit(main())
