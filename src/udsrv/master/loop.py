"""The running master: one thread, one epoll.

Runs as: root. Imports the standard library only.

It listens to signals, to its supervisors' channels, to the listener's hang-up and to what happens
at the socket's path. Decisions are in ``generations``; here they are carried out.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import signal
import time
from dataclasses import replace

from udsrv.backoff import Backoff
from udsrv.errors import AppLoadError, ConfigError, PrivilegeError, UdsrvError, UsageError
from udsrv.events import EventLoop
from udsrv.ipc import Channel, ChannelClosedError, ChannelError, Kind, Record
from udsrv.log import Log
from udsrv.master.generations import (
    ENDING_S,
    MARGIN_S,
    Action,
    Drain,
    Kill,
    Start,
    next_actions,
    next_wake_s,
)
from udsrv.master.launch import start_supervisor
from udsrv.master.plan import Plan
from udsrv.master.signals import MEANINGS, Meaning
from udsrv.master.systemd import Notifier
from udsrv.master.terminal import TerminalRelay
from udsrv.master.watch import PathWatch
from udsrv.privileged.listener import SocketPath
from udsrv.processes import Child, State, ended_children, how_it_ended, kill_strays

# A listener that is hung up this often within a minute is not given to the old generation again.
HANG_UPS_A_MINUTE = 3
# The exit codes that a supervisor may report; anything else is our bug.
_EXIT_CODES = {
    error.exit_code for error in (UsageError, AppLoadError, PrivilegeError, ConfigError, UdsrvError)
}


class Master:
    """Keeps one generation serving the socket's path until it is told to stop."""

    def __init__(self, plan: Plan, path: SocketPath, log: Log) -> None:
        self._plan = plan
        self._path = path
        self._log = log
        self._notifier = Notifier(plan.notify_socket)
        # Nothing of the application gets a terminal's descriptor.
        fds = plan.supervisor.fds
        self._relays = {fd: TerminalRelay(fd) for fd in set(fds) if os.isatty(fd)}
        given = [self._relays[fd].write_fd if fd in self._relays else fd for fd in fds]
        self._supervisor = replace(plan.supervisor, fds=given)
        self._loop = EventLoop()
        self._generations: dict[int, Child] = {}
        self._channels: dict[int, Channel] = {}
        self._wanted = 1
        self._last_number = 0
        self._backoff = Backoff()
        self._may_start_s = 0.0
        self._published = False
        self._watch: PathWatch | None = None
        self._first_with_listener = 0  # an older generation serves nobody any more
        self._hang_ups: collections.deque[float] = collections.deque(maxlen=HANG_UPS_A_MINUTE)
        self._stopping = False
        self._exit_code = 0
        self._listener = path.stage()

    def run(self) -> int:
        """Serve until stopped; return the exit code."""
        self._loop.on_signals(MEANINGS, self._handle_signals)
        self._watch_listener()
        for relay in self._relays.values():
            self._loop.add(relay.read_fd, relay.copy)
        self._notifier.send(f"STATUS=starting {self._plan.app}")
        while not self._stopping or self._generations:
            self._decide()
            self._loop.wait(self._next_wake_s())
        self._notifier.send(f"STATUS=stopped, exit code {self._exit_code}")
        for relay in self._relays.values():
            relay.copy()
        return self._exit_code

    def _next_wake_s(self) -> float | None:
        may_start_s = math.inf if self._stopping else self._may_start_s
        wake_s = next_wake_s(
            list(self._generations.values()), wanted=self._wanted, may_start_s=may_start_s
        )
        return None if wake_s == math.inf else wake_s

    # -- generations --------------------------------------------------------------------------

    def _decide(self) -> None:
        actions = next_actions(
            list(self._generations.values()),
            wanted=self._wanted,
            may_start_s=math.inf if self._stopping else self._may_start_s,
            now_s=time.monotonic(),
        )
        for action in actions:
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case Start():
                self._start()
            case Drain(number):
                # With `reload`, idle connections go at once: nobody wants the old code's answer.
                kind = Kind.STOP if self._plan.may_reload else Kind.DRAIN
                self._finish(number, kind, self._plan.graceful_timeout_s)
            case Kill(number):
                self._kill_late(number)

    def _start(self) -> None:
        self._last_number += 1
        number = self._last_number
        # Whoever held it can have let accepting wait, or shortened the queue: for all who hold it.
        self._listener.setblocking(False)
        self._listener.listen(self._path.spec.backlog)
        pid, channel = start_supervisor(self._supervisor, number, self._listener)
        now_s = time.monotonic()
        deadline_s = now_s + self._plan.start_timeout_s + MARGIN_S
        self._generations[number] = Child(number, pid, now_s, deadline_s)
        self._channels[number] = channel
        self._loop.add(channel.fileno(), lambda: self._read(number))
        self._log.debug(f"generation {number} is starting, supervisor pid {pid}")

    def _read(self, number: int) -> None:
        try:
            for record in self._channels[number].receive_up():
                self._take(number, record)
        except ChannelClosedError:
            # What an exit looks like from here: the status follows by SIGCHLD.
            self._loop.remove(self._channels[number].fileno())
            self._generations[number] = self._generations[number].ending(
                time.monotonic() + ENDING_S
            )
        except ChannelError as error:
            self._loop.remove(self._channels[number].fileno())
            self._log.error(f"generation {number} sent {error} and is killed")
            self._kill(number)

    def _take(self, number: int, record: Record) -> None:
        generation = self._generations[number]
        if record.kind is Kind.READY and generation.state is State.STARTING:
            self._generations[number] = generation.ready()
            self._became_ready(number)
        elif record.kind is Kind.FAILED and generation.state is State.STARTING:
            code = record.value if record.value in _EXIT_CODES else UdsrvError.exit_code
            self._failed(number, code)
        elif record.kind is Kind.RELOAD:
            self._reload(generation)

    def _reload(self, generation: Child) -> None:
        """Start the next generation; one that is still starting has loaded what was there before.

        Raises:
            ChannelError: nobody has allowed that.
        """
        if not self._plan.may_reload:
            raise ChannelError("a RELOAD record, which the settings don't allow,")
        if generation.state is not State.READY or self._stopping:
            return  # a newer one serves, or none will
        for one in list(self._generations.values()):
            if one.number > generation.number and one.state is State.STARTING:
                self._finish(one.number, Kind.STOP, 0.0)
        self._wanted = self._last_number + 1

    def _became_ready(self, number: int) -> None:
        if not self._published and not self._publish():
            return
        self._log.info(f"ready: {self._plan.ready}")
        self._notifier.send(
            "READY=1", f"STATUS=serving {self._path.spec.path}, generation {number}"
        )

    def _publish(self) -> bool:
        try:
            self._path.publish()
            self._watch = PathWatch(self._path.spec.parent_fd, self._path.name)
        except PrivilegeError as error:
            self._log.error(str(error))
            self._stop(Kind.STOP, 0.0, error.exit_code)
            return False
        self._loop.add(self._watch.fileno(), self._look_at_path)
        self._published = True
        return True

    def _failed(self, number: int, code: int) -> None:
        """Take note that a generation can't start: fatal for the first one only."""
        serving = [
            one.number
            for one in self._generations.values()
            if one.state is State.READY and one.number >= self._first_with_listener
        ]
        if not self._published:
            self._exit_code = code
            self._stopping = True
        elif serving:
            self._wanted = max(serving)
            self._log.error(
                f"generation {number} did not start (code {code});"
                f" generation {self._wanted} goes on serving"
            )
        else:
            wait = self._back_off(time.monotonic() - self._generations[number].started_s)
            self._log.error(
                f"generation {number} did not start (code {code}) and none serves;"
                f" another one starts{wait}"
            )
        self._finish(number, Kind.STOP, 0.0)

    def _finish(self, number: int, kind: Kind, within_s: float) -> None:
        generation = self._generations[number]
        self._channels[number].send(Record(kind, int(within_s * 1000)))
        self._generations[number] = generation.draining(time.monotonic() + within_s + MARGIN_S)

    def _kill_late(self, number: int) -> None:
        generation = self._generations[number]
        self._log.error(
            f"generation {number} (pid {generation.pid}) missed its deadline while"
            f" {generation.state.value} and is killed"
        )
        self._kill(number)

    def _kill(self, number: int) -> None:
        """Kill a supervisor, and its workers with it; it stays a zombie until it is reaped."""
        generation = self._generations[number]
        os.kill(generation.pid, signal.SIGKILL)
        self._generations[number] = generation.ending()

    # -- children -----------------------------------------------------------------------------

    def _reap(self) -> None:
        for pid, code in ended_children():
            for one in list(self._generations.values()):
                if one.pid == pid:
                    self._take_last_words(one.number)
                    self._ended(self._generations[one.number], code)

    def _take_last_words(self, number: int) -> None:
        """Read what the supervisor sent before it exited: its exit may be noticed first."""
        with contextlib.suppress(ChannelError):
            for record in self._channels[number].receive_up():
                self._take(number, record)

    def _ended(self, generation: Child, code: int) -> None:
        number = generation.number
        channel = self._channels.pop(number)
        self._loop.remove(channel.fileno())
        channel.close()
        del self._generations[number]
        kill_strays({one.pid for one in self._generations.values()})
        if generation.state is State.DRAINING or self._stopping:
            self._log.debug(f"generation {number} has ended")
            return
        lived_s = time.monotonic() - generation.started_s
        how = how_it_ended(code)
        if not self._published:
            self._log.error(f"the supervisor {how} before the application was ready")
            self._exit_code = code if code in _EXIT_CODES else UdsrvError.exit_code
            self._stopping = True
            return
        wait = self._back_off(lived_s)
        self._log.error(f"the supervisor of generation {number} {how}; a new one starts{wait}")

    def _back_off(self, lived_s: float) -> str:
        """Delay the next start after a life of ``lived_s``; return the wait in words, if any."""
        self._backoff = self._backoff.after_death(lived_s)
        self._may_start_s = time.monotonic() + self._backoff.delay_s
        return f" in {self._backoff.delay_s:g} s" if self._backoff.delay_s else ""

    # -- the socket ---------------------------------------------------------------------------

    def _watch_listener(self) -> None:
        # An empty mask: only the hang-up is reported, which nobody has to ask for.
        self._loop.add(self._listener.fileno(), self._hung_up, events=0)

    def _hung_up(self) -> None:
        """Heal what a process of the application has done: shut the listener down for everybody.

        Nothing tells which one it was, so the whole generation is replaced; at the third time in
        a minute only the new one gets the fresh listener.
        """
        if self._stopping:
            self._loop.remove(self._listener.fileno())
            return
        now_s = time.monotonic()
        self._hang_ups.append(now_s)
        often = len(self._hang_ups) == HANG_UPS_A_MINUTE and now_s - self._hang_ups[0] < 60
        if not self._replace_listener(hand_down=not often):
            return
        newest = max(self._generations.values(), key=lambda one: one.number, default=None)
        self._back_off(now_s - newest.started_s if newest else 0.0)
        self._wanted = self._last_number + 1
        if often:
            self._first_with_listener = self._wanted
        who_gets_it = "only a new generation gets it" if often else "the workers are replaced"
        self._log.error(
            f"a process of the application has shut the listener of {self._path.spec.path} down:"
            f" a fresh one is published, and {who_gets_it}"
        )

    def _replace_listener(self, *, hand_down: bool) -> bool:
        """Publish a fresh listener, for the running workers too when ``hand_down``."""
        try:
            fresh = self._path.stage()
            if self._published:
                self._path.publish()
        except PrivilegeError as error:
            # Not the code of a refused start, which systemd would not try again.
            self._log.error(f"the listener can't be replaced: {error}")
            self._stop(Kind.STOP, 0.0, UdsrvError.exit_code)
            return False
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        self._listener = fresh
        self._watch_listener()
        if hand_down:
            for channel in self._channels.values():
                channel.send(Record(Kind.LISTENER, 0, fresh.fileno()))
        return True

    def _look_at_path(self) -> None:
        assert self._watch is not None
        if not self._watch.changed() or self._stopping:
            return
        ours = self._path.is_ours()
        if ours is None:
            self._restore()
        elif not ours:
            self._log.error(
                f"{self._path.spec.path} has been replaced by something that is not ours, which is"
                " left alone: nobody can connect until it is removed"
            )

    def _restore(self) -> None:
        if self._path.restore():
            self._log.warning(
                f"{self._path.spec.path} was removed; it is back, nothing queued was lost"
            )
            return
        if self._replace_listener(hand_down=True):
            self._log.warning(
                f"{self._path.spec.path} was removed; a fresh listener takes its place"
            )

    # -- signals ------------------------------------------------------------------------------

    def _handle_signals(self, numbers: bytes) -> None:
        for number in numbers:
            name = signal.Signals(number).name
            match MEANINGS.get(signal.Signals(number)):
                case Meaning.STOP_GRACEFULLY:
                    self._stop_by(name, Kind.STOP, self._plan.graceful_timeout_s)
                case Meaning.STOP_QUICKLY:
                    self._stop_by(name, Kind.STOP, 0.0)
                case Meaning.IGNORE:
                    self._log.warning(f"{name} has no meaning yet and is ignored")
        if signal.SIGCHLD in numbers:
            self._reap()

    def _stop_by(self, name: str, kind: Kind, within_s: float) -> None:
        how = f"within {within_s:g} s" if within_s else "now"
        self._log.info(f"{name}: stopping {how}")
        self._stop(kind, within_s, self._exit_code)

    def _stop(self, kind: Kind, within_s: float, exit_code: int) -> None:
        """Take the path away, so that the queue is finite, then let every generation finish."""
        self._exit_code = exit_code
        if not self._stopping:
            self._stopping = True
            self._notifier.send("STOPPING=1", "STATUS=finishing the requests in progress")
            self._path.withdraw_path()
        for number in list(self._generations):
            self._finish(number, kind, within_s)
