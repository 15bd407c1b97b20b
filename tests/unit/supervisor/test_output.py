"""The application's output becomes lines of the log."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udsrv.log import INFO, Form, Log
from udsrv.supervisor.output import PIECE_BYTES, OutputRelay, split_lines


@pytest.mark.parametrize(
    ("data", "at_end", "lines", "rest"),
    [
        (b"", False, [], b""),
        (b"", True, [], b""),
        (b"one\ntwo\nthr", False, [b"one", b"two"], b"thr"),
        (b"one\ntwo", True, [b"one", b"two"], b""),
        (b"\n\n", False, [b"", b""], b""),
        (b"dos\r\n", False, [b"dos"], b""),
        (b"x" * PIECE_BYTES, False, [b"x" * PIECE_BYTES], b""),
        (b"x" * (PIECE_BYTES + 1) + b"\ny", False, [b"x" * PIECE_BYTES, b"x"], b"y"),
        (b"x" * (PIECE_BYTES - 1), False, [], b"x" * (PIECE_BYTES - 1)),
    ],
)
def test_lines_are_split(data, at_end, lines, rest):
    assert split_lines(data, at_end=at_end) == (lines, rest)


@given(st.lists(st.binary(max_size=9000), max_size=5))
def test_no_byte_is_lost_but_line_ends(chunks):
    partial = b""
    lines = []
    for data in [*chunks, b""]:
        found, partial = split_lines(partial + data, at_end=not data)
        lines += found
    assert partial == b""
    assert all(len(line) <= PIECE_BYTES for line in lines)
    ends = bytes.maketrans(b"", b"")
    assert b"".join(lines).translate(ends, b"\r\n") == b"".join(chunks).translate(ends, b"\r\n")


@pytest.fixture
def relay():
    log_read_fd, log_write_fd = os.pipe2(os.O_NONBLOCK)
    relay = OutputRelay(Log("worker 0", level=INFO, form=Form(), fd=log_write_fd))
    yield relay, log_read_fd
    relay.close()
    os.close(log_read_fd)
    os.close(log_write_fd)


def test_a_line_is_logged_when_it_is_complete(relay):
    relay, log_fd = relay
    os.write(relay.write_fd, b"half")
    assert relay.copy()
    with pytest.raises(BlockingIOError):
        os.read(log_fd, 4096)
    os.write(relay.write_fd, b" a line\n")
    assert relay.copy()
    assert os.read(log_fd, 4096) == b"[worker 0] half a line\n"
    assert relay.copy()  # nothing there, and not the end
    os.close(relay.write_fd)
    assert not relay.copy()


def test_the_last_line_needs_no_line_end(relay):
    relay, log_fd = relay
    os.write(relay.write_fd, b"Fatal: \xff\x1b")
    os.close(relay.write_fd)
    while relay.copy():
        pass
    assert os.read(log_fd, 4096) == b"[worker 0] Fatal: \\xff\\x1b\n"


def test_what_a_dead_worker_left_is_logged_even_if_its_child_holds_the_pipe(relay):
    relay, log_fd = relay
    os.write(relay.write_fd, b"one\ntwo")
    relay.drain()
    assert os.read(log_fd, 4096) == b"[worker 0] one\n[worker 0] two\n"
    os.close(relay.write_fd)
