"""What the signals mean."""

import signal

import pytest

from udsrv.master.signals import MEANINGS, Meaning


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (signal.SIGTERM, Meaning.STOP_GRACEFULLY),
        (signal.SIGINT, Meaning.STOP_QUICKLY),
        (signal.SIGQUIT, Meaning.STOP_QUICKLY),
        (signal.SIGCHLD, Meaning.REAP),
    ],
)
def test_the_signals_of_gunicorns_users_keep_their_meaning(number, meaning):
    assert MEANINGS[number] is meaning


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"])
def test_a_signal_without_a_meaning_yet_ends_nothing(name):
    assert MEANINGS[signal.Signals[name]] is Meaning.IGNORE
