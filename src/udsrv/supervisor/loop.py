"""The running supervisor: one thread, one epoll.

Runs as: the application's user, sealed. Decisions are in ``children``; here they are carried out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time

from udsrv.backoff import Backoff
from udsrv.errors import AppLoadError, ConfigError, PrivilegeError, UdsrvError
from udsrv.events import EventLoop
from udsrv.ipc import FROM_WORKERS, Channel, ChannelClosedError, ChannelError, Kind, Record
from udsrv.processes import Child, State, ended_children, how_it_ended, kill_strays
from udsrv.sandbox.descriptors import close_all_but
from udsrv.sandbox.place import Place
from udsrv.supervisor.changes import Watcher
from udsrv.supervisor.children import Action, Drain, Kill, Spawn, next_actions, next_wake_s
from udsrv.supervisor.output import OutputRelay
from udsrv.supervisor.preload import Preloaded
from udsrv.worker.run import run_worker
from udsrv.worker.spec import WorkerSpec

# How long application code may go on after its worker's deadline before it is killed.
MARGIN_S = 1.0
_REPORTED_CODES = {
    error.exit_code for error in (AppLoadError, PrivilegeError, ConfigError, UdsrvError)
}


class Supervisor:
    """Keeps the wanted number of workers until the master says stop, or is gone."""

    def __init__(
        self,
        spec: WorkerSpec,
        control: Channel,
        listener: socket.socket,
        access_fd: int | None,
        place: Place,
        *,
        watcher: Watcher | None = None,
        preloaded: Preloaded | None = None,
    ) -> None:
        self._spec = spec
        self._watcher = watcher
        self._preloaded = preloaded
        self._log = preloaded.log if preloaded else spec.log
        self._control = control
        self._listener = listener
        self._access_fd = access_fd
        self._place = place
        self._pid = os.getpid()
        self._loop = EventLoop()
        self._children: dict[int, Child] = {}
        self._channels: dict[int, Channel] = {}
        self._outputs: dict[int, OutputRelay] = {}
        self._backoff: dict[int, Backoff] = {}
        self._not_before_s: dict[int, float] = {}
        # The first worker imports alone: a mistake is reported once.
        self._wanted = 1
        self._was_ready = False
        self._reload_is_due = False
        self._stopping = False
        self._exit_code = 0

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        self._catch_signals()
        self._loop.add(self._control.fileno(), self._read_control)
        if self._watcher is not None:
            self._loop.add(self._watcher.channel.fileno(), self._read_watcher)
        if self._preloaded is not None:
            self._watch_output(self._preloaded.output)
            for record in self._preloaded.records:
                self._take_listener(record)
        while not self._stopping or self._children:
            self._decide()
            self._wait()
        kill_strays(known=())  # the watcher among them
        for output in self._outputs.values():
            output.drain()
        self._control.send(Record(Kind.DRAINED))
        return self._exit_code

    def _decide(self) -> None:
        actions = next_actions(
            list(self._children.values()),
            wanted=self._wanted,
            not_before_s=self._not_before_s,
            now_s=time.monotonic(),
        )
        for action in actions:
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(slot):
                self._spawn(slot)
            case Drain(pid):
                self._log.debug(f"{_name(self._children[pid])} finishes: its successor is ready")
                within_s = self._spec.settings.graceful_timeout
                self._tell_to_finish(pid, Record(Kind.DRAIN, int(within_s * 1000)))
            case Kill(pid):
                self._kill_late(pid)

    def _wait(self) -> None:
        wake_s = next_wake_s(
            list(self._children.values()), wanted=self._wanted, not_before_s=self._not_before_s
        )
        self._loop.wait(wake_s)

    # -- workers ------------------------------------------------------------------------------

    def _spawn(self, slot: int) -> None:
        ours, theirs = Channel.pair()
        output = OutputRelay(self._log.child(f"worker {slot}"))
        pid = os.fork()
        if pid == 0:
            self._become_worker(slot, theirs, output)
        theirs.close()
        os.close(output.write_fd)
        now_s = time.monotonic()
        self._not_before_s.pop(slot, None)
        self._children[pid] = Child(slot, pid, now_s, now_s + self._spec.settings.start_timeout)
        self._channels[pid] = ours
        self._loop.add(ours.fileno(), lambda: self._read_worker(pid))
        self._watch_output(output)

    def _become_worker(self, slot: int, channel: Channel, output: OutputRelay) -> None:
        """Turn this fork into a worker. Never returns.

        Every object that this frame can reach stays alive, so nothing closes a descriptor whose
        number has been taken over by another.
        """
        code = UdsrvError.exit_code
        try:
            os.dup2(output.write_fd, 1)
            os.dup2(output.write_fd, 2)
            kept = {0, 1, 2, channel.fileno(), self._listener.fileno()}
            if self._access_fd is not None:
                kept.add(self._access_fd)
            application = None
            if self._preloaded is not None:
                application = self._preloaded.application
                kept |= self._preloaded.fds - self._own_fds()
            close_all_but(kept)
            self._reset_signals()
            code = run_worker(
                self._spec,
                slot,
                channel,
                self._listener,
                self._access_fd,
                self._place,
                self._pid,
                application=application,
            )
        except BaseException:  # the edge of a process
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _own_fds(self) -> set[int]:
        """Return what is the supervisor's alone, whatever had the number before."""
        return {*self._loop.fds(), self._log.fd}

    def _watch_output(self, output: OutputRelay) -> None:
        fd = output.fileno()

        def copy() -> None:
            if not output.copy():
                self._loop.remove(fd)
                del self._outputs[fd]
                output.close()

        self._outputs[fd] = output
        self._loop.add(fd, copy)

    def _read_worker(self, pid: int) -> None:
        try:
            for record in self._channels[pid].receive_up(FROM_WORKERS):
                child = self._children[pid]
                if record.kind is Kind.READY and child.state is State.STARTING:
                    self._children[pid] = child.ready()
                    self._became_ready()
                elif record.kind is Kind.RETIRE and child.state is State.READY:
                    self._children[pid] = child.retiring()
                    if not self._stopping:
                        self._log.info(f"{_name(child)} {_why(record.value)}; a new one starts")
        except ChannelClosedError:
            self._loop.remove(self._channels[pid].fileno())
        except ChannelError as error:
            self._loop.remove(self._channels[pid].fileno())
            self._log.error(f"{_name(self._children[pid])} sent {error} and is killed")
            self._kill(pid)

    def _became_ready(self) -> None:
        if self._was_ready:
            return
        self._was_ready = True
        if not self._stopping:
            self._wanted = self._spec.settings.workers
        self._control.send(Record(Kind.READY))
        if self._reload_is_due:
            self._control.send(Record(Kind.RELOAD))

    def _kill_late(self, pid: int) -> None:
        child = self._children[pid]
        what = "didn't load the application" if child.state is State.STARTING else "didn't finish"
        self._log.error(f"{_name(child)} {what} in time and is killed")
        self._kill(pid)

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self._children[pid] = self._children[pid].ending()

    def _reap(self) -> None:
        for pid, code in ended_children():
            if pid in self._children:
                self._ended(self._children[pid], code)

    def _ended(self, child: Child, code: int) -> None:
        slot = child.number
        channel = self._channels.pop(child.pid)
        self._loop.remove(channel.fileno())
        channel.close()
        del self._children[child.pid]
        if self._stopping:
            return
        if child.state is State.DRAINING:
            self._log.debug(f"{_name(child)} {how_it_ended(code)}")
            return
        if not self._was_ready:
            self._give_up(child, code)
            return
        now_s = time.monotonic()
        backoff = self._backoff.get(slot, Backoff()).after_death(now_s - child.started_s)
        self._backoff[slot] = backoff
        self._not_before_s[slot] = now_s + backoff.delay_s
        self._log.error(f"{_name(child)} {how_it_ended(code)}; {_what_next(backoff)}")

    def _give_up(self, child: Child, code: int) -> None:
        """Report that the application doesn't start; the master decides what that means."""
        for output in self._outputs.values():
            output.drain()
        if code not in _REPORTED_CODES:
            self._log.error(f"the application didn't load: its worker {how_it_ended(code)}")
            code = AppLoadError.exit_code
        self._control.send(Record(Kind.FAILED, code))
        self._exit_code = code
        self._stop_spawning()

    def _stop_spawning(self) -> None:
        self._stopping = True
        self._wanted = 0

    # -- the master ---------------------------------------------------------------------------

    def _read_control(self) -> None:
        try:
            for record in self._control.receive_down():
                if record.kind is Kind.LISTENER:
                    self._take_listener(record)
                else:
                    self._finish(record)
        except ChannelError:
            # The master is gone, and with it everything that kept this generation in order.
            self._loop.remove(self._control.fileno())
            self._finish(Record(Kind.STOP))
            for pid in self._children:
                self._kill(pid)

    def _take_listener(self, record: Record) -> None:
        assert record.fd is not None
        self._listener.close()
        self._listener = socket.socket(fileno=record.fd)
        for channel in self._channels.values():
            channel.send(record)

    def _finish(self, record: Record) -> None:
        """Pass the order on; a worker that is still importing has nothing to finish."""
        self._stop_spawning()
        for pid, child in list(self._children.items()):
            if child.state is State.STARTING:
                self._kill(pid)
            else:
                self._tell_to_finish(pid, record)

    def _tell_to_finish(self, pid: int, record: Record) -> None:
        self._channels[pid].send(record)
        deadline_s = time.monotonic() + record.value / 1000 + MARGIN_S
        self._children[pid] = self._children[pid].draining(deadline_s)

    # -- the watcher --------------------------------------------------------------------------

    def _read_watcher(self) -> None:
        """Ask for a reload; one that is due before this generation is ready is asked for then."""
        assert self._watcher is not None
        channel = self._watcher.channel
        try:
            for record in channel.receive_up():
                if record.kind is Kind.RELOAD and not self._stopping:
                    self._reload_is_due = not self._was_ready
                    if self._was_ready:
                        self._control.send(record)
        except ChannelError:
            self._loop.remove(channel.fileno())
            if not self._stopping:
                self._log.error("the watcher has ended: changes are not noticed any more")

    # -- signals ------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        # The master speaks over its channel; a terminal's signals aren't for us.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

        def handle(numbers: bytes) -> None:
            if signal.SIGTERM in numbers:
                within_ms = int(self._spec.settings.graceful_timeout * 1000)
                self._finish(Record(Kind.STOP, within_ms))
            self._reap()

        self._loop.on_signals((signal.SIGCHLD, signal.SIGTERM), handle)

    def _reset_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (
            signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP,
        ):  # fmt: skip
            signal.signal(number, signal.SIG_DFL)


def _name(child: Child) -> str:
    return f"worker {child.number} (pid {child.pid})"


def _why(served: int) -> str:
    return f"has served {served} requests" if served else "was told to finish"


def _what_next(backoff: Backoff) -> str:
    if not backoff.delay_s:
        return "a new one starts"
    return (
        f"that was death {backoff.early_deaths} in a row soon after the start;"
        f" a new one starts in {backoff.delay_s:g} s"
    )
