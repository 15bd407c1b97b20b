"""How long something that died waits."""

import pytest

from udsrv.backoff import LONGEST_DELAY_S, STABLE_S, Backoff


def deaths(count: int) -> Backoff:
    state = Backoff()
    for _ in range(count):
        state = state.after_death(0.1)
    return state


@pytest.mark.parametrize(
    ("count", "delay_s"), [(0, 0), (1, 0), (2, 0.5), (3, 1), (4, 2), (5, 4), (6, 8), (7, 16)]
)
def test_the_first_death_costs_nothing_and_each_further_one_twice_as_much(count, delay_s):
    assert deaths(count).delay_s == delay_s


@pytest.mark.parametrize("count", [8, 9, 100, 10_000])
def test_the_wait_is_never_longer_than_half_a_minute(count):
    assert deaths(count).delay_s == LONGEST_DELAY_S == 30


def test_a_life_that_was_long_enough_forgets_what_was_before():
    assert deaths(9).after_death(STABLE_S) == Backoff(0)
    assert deaths(9).after_death(STABLE_S - 0.001).early_deaths == 10
