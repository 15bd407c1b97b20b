"""Load the application once, in the supervisor: its forks share what that took.

Runs as: the application's user, sealed, before the first worker is forked.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from udsrv.ipc import Channel, ChannelError, Kind, Record
from udsrv.log import Log
from udsrv.sandbox.descriptors import open_fds
from udsrv.supervisor.output import OutputRelay
from udsrv.worker.spec import WorkerSpec
from udsrv.worker.target import Application, extend_path, load


@dataclass(frozen=True)
class Preloaded:
    """The application, and what its loading left behind."""

    application: Application
    fds: frozenset[int]  # what it has opened; its workers keep them
    log: Log  # the log's own descriptor: the application has the standard ones
    output: OutputRelay
    records: tuple[Record, ...]  # what the master sent meanwhile

    def give_back_output(self) -> None:
        """Let the standard output and error be the log again, for what is said at the end."""
        _send_output_to(self.log.fd)


def preload(spec: WorkerSpec, control: Channel, clean_up: Callable[[], None]) -> Preloaded:
    """Import the application here; as what that made is frozen, no collection copies it.

    Meanwhile the application's output is logged and the master obeyed by a thread, which has ended
    when this returns: a fork must find one thread only. It calls ``clean_up`` if told to end.

    Raises:
        AppLoadError: it doesn't load; its traceback is in the log.
    """
    log = spec.log.on(os.dup(2))
    output = OutputRelay(log.child("preload"))
    attendant = _Attendant(output, control, clean_up)
    before = open_fds()
    _send_output_to(output.write_fd)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    attendant.start()
    try:
        extend_path(spec.settings.chdir, spec.settings.pythonpath)
        assert spec.settings.app is not None
        application = load(spec.settings.app)
    except BaseException:
        attendant.finish()
        output.drain()
        _send_output_to(log.fd)  # whoever reports this writes there
        raise
    attendant.finish()
    if names := _threads_but(attendant):
        log.warning(
            "the application started threads while it was preloaded, and no worker has them:"
            f" {', '.join(names)}; start them after the fork, or leave --preload out"
        )
    fds = open_fds() - before
    return Preloaded(application, fds, log, output, tuple(attendant.records))


def _send_output_to(fd: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # the application may have closed them
        sys.stdout.flush()
        sys.stderr.flush()
    os.dup2(fd, 1)
    os.dup2(fd, 2)


class _Attendant(threading.Thread):
    """Reads the application's output and the master's orders while the main thread imports."""

    def __init__(self, output: OutputRelay, control: Channel, clean_up: Callable[[], None]) -> None:
        super().__init__(name="udsrv", daemon=True)
        self.records: list[Record] = []
        self._output = output
        self._control = control
        self._clean_up = clean_up
        self._end_fd, self._finish_fd = os.pipe2(os.O_CLOEXEC)

    def run(self) -> None:
        """Attend until ``finish``."""
        poll = select.poll()
        for fd in (self._output.fileno(), self._control.fileno(), self._end_fd):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._output.fileno() in ready:
                self._output.copy()
            if self._control.fileno() in ready:
                self._obey()
            if self._end_fd in ready:
                return

    def finish(self) -> None:
        """End the thread."""
        os.write(self._finish_fd, b".")  # a fork of the application's may keep it open
        os.close(self._finish_fd)
        self.join()
        os.close(self._end_fd)

    def _obey(self) -> None:
        """Keep a new listener for later; at the order to finish there is nothing to finish."""
        try:
            self.records += self._control.receive_down()
            if all(record.kind is Kind.LISTENER for record in self.records):
                return
        except ChannelError:
            pass  # the master is gone
        self._clean_up()
        os._exit(0)


def _threads_but(attendant: _Attendant) -> list[str]:
    """Name the threads of this process, the kernel's names for those that Python doesn't know."""
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    tasks = {int(name) for name in os.listdir("/proc/self/task")}
    names = []
    for tid in sorted(tasks - {os.getpid(), attendant.native_id}):
        # A thread may have just ended.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/task/{tid}/comm") as comm:
            names.append(known.get(tid) or comm.read().strip())
    return names
