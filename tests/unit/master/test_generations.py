"""Which generation is started, drained or killed."""

import pytest

from udsrv.master.generations import (
    Drain,
    Kill,
    Start,
    next_actions,
    next_wake_s,
)
from udsrv.processes import Child, State

STARTING = Child(1, 100, 0.0, 60.0)
READY = STARTING.ready()


def second(one: Child) -> Child:
    return Child(2, 200, one.started_s, one.deadline_s, one.state)


CASES = {
    "nothing runs": ([], 1, 0, 0, [Start()]),
    "nothing runs, and it is too early": ([], 1, 5, 4.9, []),
    "nothing runs, and the wait is over": ([], 1, 5, 5, [Start()]),
    "the first is starting": ([STARTING], 1, 0, 1, []),
    "the first serves": ([READY], 1, 0, 1e9, []),
    "the first misses its deadline": ([STARTING], 1, 0, 60, [Kill(1)]),
    "another is wanted": ([READY], 2, 0, 1, [Start()]),
    "another is wanted later": ([READY], 2, 5, 1, []),
    "the next is starting": ([READY, second(STARTING)], 2, 0, 1, []),
    "the next serves": ([READY, second(READY)], 2, 0, 1, [Drain(1)]),
    "the old one drains": ([READY.draining(30), second(READY)], 2, 0, 1, []),
    "the old one doesn't finish": ([READY.draining(30), second(READY)], 2, 0, 30, [Kill(1)]),
    "the next fails to start in time": (
        [READY, second(STARTING)], 2, 0, 60, [Kill(2)],
    ),
    "all drain": ([READY.draining(30)], 1, 0, 1, [Start()]),
    "the old one's supervisor is ending": ([READY.ending(5), second(READY)], 2, 0, 1, [Drain(1)]),
    "a third one serves before the second": (
        [READY, second(STARTING), Child(3, 300, 0, None, State.READY)],
        2, 0, 1, [Drain(1), Drain(2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("alive", "wanted", "may_start_s", "now_s", "actions"), CASES.values(), ids=CASES.keys()
)
def test_next_actions(alive, wanted, may_start_s, now_s, actions):
    assert next_actions(alive, wanted=wanted, may_start_s=may_start_s, now_s=now_s) == actions


WAKES = {
    "nothing runs": ([], 1, 5, 5),
    "starting": ([STARTING], 1, 5, 60),
    "serving": ([READY], 1, 5, None),
    "another wanted": ([READY], 2, 5, 5),
    "draining, the next serving": ([READY.draining(30), second(READY)], 2, 5, 30),
    "ending": ([READY.ending(7)], 1, 5, 7),
}


@pytest.mark.parametrize(("alive", "wanted", "may_start_s", "wake_s"), WAKES.values(), ids=WAKES)
def test_next_wake(alive, wanted, may_start_s, wake_s):
    assert next_wake_s(alive, wanted=wanted, may_start_s=may_start_s) == wake_s


@pytest.mark.parametrize(
    ("alive", "wanted", "may_start_s", "now_s", "actions"), CASES.values(), ids=CASES.keys()
)
def test_what_is_decided_by_time_alone_has_a_wake_up(alive, wanted, may_start_s, now_s, actions):
    wake_s = next_wake_s(alive, wanted=wanted, may_start_s=may_start_s)
    if {type(action) for action in actions} & {Kill, Start}:
        assert wake_s is not None
        assert wake_s <= now_s
