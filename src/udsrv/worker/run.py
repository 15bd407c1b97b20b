"""The life of a worker: seal, load, serve, drain.

Runs as: the application's user, in a fork of the supervisor.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import sys
import traceback
from types import FrameType

from udsrv import _native
from udsrv.config import access
from udsrv.config.model import Settings
from udsrv.errors import AppLoadError, UdsrvError
from udsrv.ipc import Channel, ChannelError, Kind, Record
from udsrv.log import ERROR, INFO, WARNING, marked
from udsrv.sandbox.apply import seal_worker
from udsrv.sandbox.place import Place
from udsrv.sandbox.proof import prove, wanted
from udsrv.sandbox.remedy import remedy
from udsrv.title import set_title
from udsrv.worker import signals
from udsrv.worker.spec import WorkerSpec
from udsrv.worker.target import Application, extend_path, load


def run_worker(
    spec: WorkerSpec,
    slot: int,
    channel: Channel,
    listener: socket.socket,
    access_fd: int | None,
    place: Place,
    supervisor_pid: int,
    *,
    application: Application | None = None,
) -> int:
    """Serve ``application``, or load it first, until told to stop; return the exit code."""
    set_title(f"udsrv: worker {slot}")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        seal_worker(spec.settings, place, supervisor_pid)
        fds = {0, 1, 2, channel.fileno(), listener.fileno()} | ({access_fd} if access_fd else set())
        demanded = wanted(spec.identity, session=supervisor_pid, fds=fds)
        if application is not None:
            # What was proven before it ran it may have changed, but for what a fork forgets.
            demanded = {"death signal": demanded["death signal"]}
        prove(demanded)
        if application is None:
            application = _load(spec.settings, place)
        _serve(spec, place, channel, listener, access_fd, application)
    except UdsrvError as error:
        with contextlib.suppress(OSError, ValueError):  # the application may have closed it
            _print(ERROR, f"error: {error}")
        return error.exit_code
    atexit._run_exitfuncs()
    return 0


def _load(settings: Settings, place: Place) -> Application:
    extend_path(settings.chdir, settings.pythonpath)
    assert settings.app is not None
    try:
        return load(settings.app)
    except AppLoadError as error:
        _advise(settings, place, error)
        raise


def _serve(
    spec: WorkerSpec,
    place: Place,
    channel: Channel,
    listener: socket.socket,
    access_fd: int | None,
    application: Application,
) -> None:
    settings = spec.settings
    most = settings.max_requests
    if most:
        most += random.randint(0, settings.max_requests_jitter)  # noqa: S311  # no secret
    server = _native.Server(
        application,
        listener_fd=listener.fileno(),
        control_fd=channel.fileno(),
        on_control=lambda: _obey(server, channel),
        on_exception=lambda where, error: _report(settings, place, where, error),
        log=lambda level, text: _log(spec.log.level, level, text),
        threads=settings.threads,
        # One that is replaced serves for a while beside its successor.
        multiprocess=settings.workers > 1 or most > 0,
        keep_alive_s=settings.keep_alive,
        head_timeout_s=settings.head_timeout,
        body_timeout_s=settings.body_timeout,
        send_timeout_s=settings.send_timeout,
        limit_request_line=settings.limit_request_line,
        limit_request_fields=settings.limit_request_fields,
        limit_request_field_size=settings.limit_request_field_size,
        limit_request_head=settings.limit_request_head,
        limit_request_body=settings.limit_request_body,
        body_buffer=settings.body_buffer,
        trusted_uids=spec.trusted_uids,
        trusted_gids=spec.trusted_gids,
        early_hints=settings.early_hints,
        max_requests=most,
        on_spent=lambda: retire(most),
        errors=sys.stderr,
        access_fd=access_fd,
        access_format=access.pieces(settings.access_logformat),
        access_json=access.is_json(settings.access_logformat),
    )
    if access_fd is not None:
        os.close(access_fd)  # the engine has its own
    # Of this one too. A second descriptor would keep a listener that was replaced alive, and
    # with it the connections in its queue waiting.
    listener.close()

    def retire(served: int) -> None:
        """Serve on until there is a successor; the supervisor says when that is."""
        if not channel.send(Record(Kind.RETIRE, served)):
            server.drain(settings.graceful_timeout, True)

    def finish(_number: int, _frame: FrameType | None) -> None:
        # From the moment that this is caught it may come before the READY below, and who isn't
        # ready has nothing to give up: the order would be lost. A second READY means nothing.
        channel.send(Record(Kind.READY))
        retire(0)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    signals.catch({signal.SIGTERM: finish, signal.SIGINT: stop, signal.SIGQUIT: stop})
    channel.send(Record(Kind.READY))
    server.run()


def _obey(server: _native.Server, channel: Channel) -> None:
    try:
        for record in channel.receive_down():
            if record.kind is Kind.LISTENER:
                assert record.fd is not None
                server.replace_listener(record.fd)
                os.close(record.fd)  # the engine has its own
            elif record.value == 0:
                server.stop()
            else:
                server.drain(record.value / 1000, record.kind is Kind.STOP)
    except ChannelError:
        server.stop()


def _report(settings: Settings, place: Place, where: str, error: BaseException) -> None:
    """Log an exception of the application's, with its whole traceback, as one write."""
    text = "".join(traceback.format_exception(error))
    _print(ERROR, f"error: {where}\n{text}")
    _advise(settings, place, error)


def _advise(settings: Settings, place: Place, error: BaseException) -> None:
    """Say what would have allowed it, when the sandbox was the cause."""
    if (sentence := remedy(error, settings, place)) is not None:
        _print(ERROR, f"error: {sentence}")


def _log(wanted: int, level: int, text: str) -> None:
    if level >= wanted:
        word = {INFO: "", WARNING: "warning: ", ERROR: "error: "}.get(level, "debug: ")
        _print(level, f"{word}{text}")


def _print(level: int, text: str) -> None:
    """Write lines of ours among the application's; their marks tell the supervisor the level."""
    print(marked(level, text), end="", file=sys.stderr, flush=True)
