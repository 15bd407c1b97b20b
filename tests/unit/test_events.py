"""One thread waiting for descriptors, signals and a point in time."""

import os
import signal
import socket
import time

import pytest

from udsrv.events import EventLoop


@pytest.fixture
def pipe():
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)
    os.close(write_fd)


def test_a_handler_is_called_when_there_is_something_to_read(pipe):
    read_fd, write_fd = pipe
    loop = EventLoop()
    read = []
    loop.add(read_fd, lambda: read.append(os.read(read_fd, 100)))
    os.write(write_fd, b"one")
    loop.wait(None)
    assert read == [b"one"]


def test_what_was_removed_is_not_called(pipe):
    read_fd, write_fd = pipe
    loop = EventLoop()
    loop.add(read_fd, lambda: pytest.fail("called"))
    os.write(write_fd, b"one")
    loop.remove(read_fd)
    loop.remove(read_fd)
    loop.wait(time.monotonic())


def test_a_handler_may_remove_another_one_that_is_due(pipe):
    read_fd, write_fd = pipe
    other_fd = os.dup(read_fd)
    loop = EventLoop()
    called = []

    def end(one, other):
        called.append(one)
        loop.remove(other)

    loop.add(read_fd, lambda: end(read_fd, other_fd))
    loop.add(other_fd, lambda: end(other_fd, read_fd))
    os.write(write_fd, b"one")
    loop.wait(None)
    assert len(called) == 1
    os.close(other_fd)


def test_a_hang_up_needs_no_event_that_is_asked_for():
    loop = EventLoop()
    called = []
    upper, lower = socket.socketpair()
    with upper, lower:
        loop.add(upper.fileno(), lambda: called.append("hung up"), events=0)
        lower.send(b"nothing that is waited for")
        loop.wait(time.monotonic())
        assert called == []
        upper.shutdown(socket.SHUT_RDWR)
        loop.wait(None)
    assert called == ["hung up"]


def test_the_numbers_of_signals_arrive_also_when_they_came_before_the_wait():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    loop = EventLoop()
    came = []
    try:
        loop.on_signals(before, came.append)
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
        loop.wait(None)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert came == [bytes([signal.SIGUSR1, signal.SIGUSR2])]


def test_its_descriptors_are_known(pipe):
    read_fd, _ = pipe
    loop = EventLoop()
    loop.add(read_fd, lambda: None)
    assert read_fd in loop.fds()
    epolls = {
        fd
        for fd in loop.fds() - {read_fd, -1}
        if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    }
    assert len(epolls) == 1
