"""Which worker is started or killed."""

import pytest

from udsrv.processes import Child
from udsrv.supervisor.children import Drain, Kill, Spawn, next_actions, next_wake_s


def child(slot: int) -> Child:
    return Child(slot, 100 + slot, 0.0, 60.0)


def successor(slot: int) -> Child:
    return Child(slot, 200 + slot, 0.0, 60.0)


def ready(slot: int) -> Child:
    return child(slot).ready()


def retiring(slot: int) -> Child:
    return ready(slot).retiring()


CASES = {
    "nothing runs": ([], 2, {}, 0, [Spawn(0), Spawn(1)]),
    "nothing is wanted": ([], 0, {}, 0, []),
    "all run": ([ready(0), ready(1)], 2, {}, 1e9, []),
    "one is starting": ([child(0)], 1, {}, 59, []),
    "one doesn't start in time": ([child(0)], 1, {}, 60, [Kill(100)]),
    "one is missing": ([ready(1)], 2, {}, 1, [Spawn(0)]),
    "one waits": ([ready(1)], 2, {0: 5}, 4.9, []),
    "its wait is over": ([ready(1)], 2, {0: 5}, 5, [Spawn(0)]),
    "only its own slot waits": ([], 2, {0: 5}, 1, [Spawn(1)]),
    "one drains": ([ready(0).draining(30)], 0, {}, 29, []),
    "one doesn't finish": ([ready(0).draining(30), ready(1)], 0, {}, 30, [Kill(100)]),
    "one retires": ([retiring(0), ready(1)], 2, {}, 1, [Spawn(0)]),
    "its successor starts": ([retiring(0), successor(0), ready(1)], 2, {}, 1, []),
    "its successor is ready": ([retiring(0), successor(0).ready()], 1, {}, 1, [Drain(100)]),
    "it drains": ([ready(0).draining(30), successor(0).ready()], 1, {}, 1, []),
    "its successor died and another one waits": ([retiring(0)], 1, {0: 5}, 4.9, []),
    "its successor retires while it drains": (
        [ready(0).draining(30), successor(0).ready().retiring()],
        1,
        {},
        1,
        [Spawn(0)],
    ),
    "it died before its successor was there": ([successor(0)], 1, {}, 1, []),
    "all retire": ([retiring(0), retiring(1), ready(2)], 3, {}, 1, [Spawn(0)]),
    "all retire, and one successor starts": (
        [retiring(0), successor(0), retiring(1)],
        2,
        {},
        1,
        [],
    ),
    "all retire, and one successor is ready": (
        [retiring(0), successor(0).ready(), retiring(1)],
        2,
        {},
        1,
        [Drain(100)],
    ),
    "all retire, and one drains": (
        [ready(0).draining(30), successor(0).ready(), retiring(1)],
        2,
        {},
        1,
        [Spawn(1)],
    ),
    "one retires and one is missing": ([retiring(0)], 2, {}, 1, [Spawn(1), Spawn(0)]),
    "none is wanted any more and one retires": ([retiring(0)], 0, {}, 1, []),
    "more run than are wanted": ([ready(0), ready(1)], 1, {}, 1, []),
}


@pytest.mark.parametrize(
    ("alive", "wanted", "not_before_s", "now_s", "actions"), CASES.values(), ids=CASES
)
def test_next_actions(alive, wanted, not_before_s, now_s, actions):
    assert next_actions(alive, wanted=wanted, not_before_s=not_before_s, now_s=now_s) == actions


def test_a_later_order_to_finish_gives_no_more_time():
    assert ready(0).draining(30).draining(60) == ready(0).draining(30)
    assert ready(0).draining(30).draining(10) == ready(0).draining(10)


WAKES = {
    "starting": ([child(0)], 1, {}, 60),
    "serving": ([ready(0)], 1, {}, None),
    "waiting": ([ready(1)], 2, {0: 5}, 5),
    "waiting for a slot that is no longer wanted": ([], 0, {0: 5}, None),
    "draining": ([ready(0).draining(30)], 0, {}, 30),
}


@pytest.mark.parametrize(("alive", "wanted", "not_before_s", "wake_s"), WAKES.values(), ids=WAKES)
def test_next_wake(alive, wanted, not_before_s, wake_s):
    assert next_wake_s(alive, wanted=wanted, not_before_s=not_before_s) == wake_s
