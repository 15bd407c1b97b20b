"""What crosses between the tiers, and what the reader refuses."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udsrv.ipc import (
    DOWNWARDS,
    FROM_WORKERS,
    RECORD,
    RECORDS_PER_READ,
    UPWARDS,
    Channel,
    ChannelClosedError,
    ChannelError,
    Kind,
    Record,
    decode,
    encode,
)

READY = encode(Record(Kind.READY))


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    upper, lower = Channel.pair()
    with contextlib.closing(upper), contextlib.closing(lower):
        yield upper, lower


def raw(channel: Channel) -> socket.socket:
    """Return a socket on the same end, for what a channel would never send."""
    return socket.socket(fileno=os.dup(channel.fileno()))


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@given(st.sampled_from(Kind), st.integers(0, 2**64 - 1))
def test_a_record_survives_its_encoding(kind, value):
    assert decode(encode(Record(kind, value)), frozenset({kind})) == Record(kind, value)


def test_every_kind_goes_in_exactly_one_direction():
    assert set(Kind) == UPWARDS | FROM_WORKERS | DOWNWARDS
    assert not (UPWARDS | FROM_WORKERS) & DOWNWARDS


def test_a_record_for_the_supervisor_is_not_for_the_master():
    with pytest.raises(ChannelError, match="RETIRE record in the wrong direction"):
        decode(encode(Record(Kind.RETIRE, 7)), UPWARDS)
    assert decode(encode(Record(Kind.RETIRE, 7)), FROM_WORKERS) == Record(Kind.RETIRE, 7)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (READY[:-1], "a record of 15 bytes"),
        (READY + b"\0", "a record of 17 bytes"),
        (b"x", "a record of 1 bytes"),
        (RECORD.pack(0, 0), "unknown kind 0"),
        (RECORD.pack(99, 0), "unknown kind 99"),
        (encode(Record(Kind.DRAIN)), "DRAIN record in the wrong direction"),
    ],
)
def test_a_malformed_record_is_refused(data, text):
    with pytest.raises(ChannelError, match=text):
        decode(data, UPWARDS)


def test_an_empty_record_is_the_end():
    with pytest.raises(ChannelClosedError):
        decode(b"", UPWARDS)


@given(st.binary(max_size=64))
def test_no_bytes_make_anything_but_an_allowed_record_or_a_refusal(data):
    try:
        record = decode(data, UPWARDS)
    except ChannelError:
        return
    assert record.kind in UPWARDS
    assert record.fd is None


def test_records_arrive_in_order(pair):
    upper, lower = pair
    assert lower.send(Record(Kind.READY))
    assert lower.send(Record(Kind.FAILED, 69))
    assert list(upper.receive_up()) == [Record(Kind.READY), Record(Kind.FAILED, 69)]
    assert list(upper.receive_up()) == []


def test_a_flood_is_read_a_bounded_number_of_records_at_a_time(pair):
    upper, lower = pair
    while lower.send(Record(Kind.READY)):
        pass  # until the queue is full: sending never waits
    assert len(list(upper.receive_up())) == RECORDS_PER_READ


def test_the_other_end_gone_is_said(pair):
    upper, lower = pair
    lower.close()
    assert not upper.send(Record(Kind.STOP))
    with pytest.raises(ChannelClosedError):
        list(upper.receive_up())


def test_descriptors_sent_upwards_are_discarded(pair):
    upper, lower = pair
    with raw(lower) as sock:
        before = open_descriptors()
        for _ in range(20):
            socket.send_fds(sock, [READY], [sock.fileno()] * 10)
        assert list(upper.receive_up()) == [Record(Kind.READY)] * 20
        assert open_descriptors() == before


def test_an_overlong_record_is_not_taken_for_two(pair):
    upper, lower = pair
    with raw(lower) as sock:
        sock.send(READY * 2)
    with pytest.raises(ChannelError, match="17 bytes"):
        list(upper.receive_up())


def test_a_listener_arrives_with_its_descriptor_closed_on_exec(pair):
    upper, lower = pair
    with socket.socket(socket.AF_UNIX) as listener:
        upper.send(Record(Kind.LISTENER, 0, listener.fileno()))
        (record,) = lower.receive_down()
        assert record.kind is Kind.LISTENER
        assert os.path.sameopenfile(record.fd, listener.fileno())
        assert not os.get_inheritable(record.fd)
        os.close(record.fd)


def test_a_descriptor_with_another_record_is_refused_and_closed(pair):
    upper, lower = pair
    with raw(upper) as sock:
        before = open_descriptors()
        socket.send_fds(sock, [encode(Record(Kind.STOP))], [sock.fileno()])
        with pytest.raises(ChannelError, match="STOP record with 1 descriptors"):
            list(lower.receive_down())
        assert open_descriptors() == before


def test_a_descriptor_with_a_malformed_record_is_closed(pair):
    upper, lower = pair
    with raw(upper) as sock:
        before = open_descriptors()
        socket.send_fds(sock, [b"short"], [sock.fileno()])
        with pytest.raises(ChannelError, match="5 bytes"):
            list(lower.receive_down())
        assert open_descriptors() == before


def test_a_listener_without_its_descriptor_is_refused(pair):
    upper, lower = pair
    upper.send(Record(Kind.LISTENER))
    with pytest.raises(ChannelError, match="LISTENER record with 0 descriptors"):
        list(lower.receive_down())


def test_an_upward_record_is_refused_below(pair):
    upper, lower = pair
    upper.send(Record(Kind.READY))
    with pytest.raises(ChannelError, match="wrong direction"):
        list(lower.receive_down())


def test_both_ends_are_closed_on_exec(pair):
    assert not any(os.get_inheritable(end.fileno()) for end in pair)
