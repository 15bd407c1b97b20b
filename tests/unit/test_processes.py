"""Where a child is in its life, how it ended, and those that nobody has started."""

import subprocess
import sys

import pytest

from udsrv.processes import Child, State, deadlines, how_it_ended, late

STARTING = Child(1, 100, 0.0, 60.0)


def test_a_ready_child_may_stay():
    assert STARTING.ready() == Child(1, 100, 0.0, None, State.READY)
    assert STARTING.ready().draining(30) == Child(1, 100, 0.0, 30, State.DRAINING)


def test_an_ending_child_keeps_its_state():
    assert STARTING.ready().ending(7) == Child(1, 100, 0.0, 7, State.READY)
    assert STARTING.ending() == Child(1, 100, 0.0, None, State.STARTING)


@pytest.mark.parametrize(("now_s", "numbers"), [(59.9, []), (60, [1]), (1e9, [1, 2])])
def test_who_is_late(now_s, numbers):
    alive = [STARTING, Child(2, 200, 0.0, 100.0), Child(3, 300, 0.0, None)]
    assert [one.number for one in late(alive, now_s)] == numbers
    assert deadlines(alive) == [60, 100]


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exited with code 0"), (-9, "was killed by signal 9")]
)
def test_how_it_ended(code, text):
    assert how_it_ended(code) == text


REAP = """
import os, signal
from udsrv.processes import ended_children
assert list(ended_children()) == []
sleeper = os.fork()
if not sleeper:
    signal.pause()
assert list(ended_children()) == []
quitter = os.fork()
if not quitter:
    os._exit(5)
os.waitid(os.P_PID, quitter, os.WEXITED | os.WNOWAIT)
assert list(ended_children()) == [(quitter, 5)]
os.kill(sleeper, signal.SIGKILL)
os.waitid(os.P_PID, sleeper, os.WEXITED | os.WNOWAIT)
assert list(ended_children()) == [(sleeper, -9)]
"""

# The known child has a child that is no child of ours; the stray has two generations, of which the
# second is adopted by us when the first is killed.
STRAYS = """
import ctypes, os, signal
from udsrv.processes import kill_strays
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
def forks(depth):
    ready, started = os.pipe()
    pid = os.fork()
    if not pid:
        if depth:
            forks(depth - 1)
        os.write(started, b"x")
        signal.pause()
    assert os.read(ready, 1) == b"x"
    return pid
def children():
    return {int(pid) for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split()}
known, stray = forks(1), forks(1)
assert children() == {known, stray}
kill_strays({known})
assert children() == {known}
kill_strays(())
assert children() == set()
"""

# Families whose members end, wait, or leave their children to us, while others are killed.
BURST = """
import ctypes, os, signal
from udsrv.processes import kill_strays
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
def burst(depth):
    for number in range(6):
        if not os.fork():
            if depth and number % 2:
                burst(depth - 1)
            if number % 3:
                os._exit(0)
            signal.pause()
known = os.fork()
if not known:
    signal.pause()
for _ in range(5):
    burst(2)
    kill_strays({known})
    assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
os.kill(known, signal.SIGKILL)
os.waitpid(known, 0)
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    pass
else:
    raise SystemExit(1)
"""


@pytest.mark.parametrize("script", [REAP, STRAYS, BURST], ids=["reap", "strays", "burst"])
def test_children_are_taken_note_of(script):
    # In a process of its own, which has no other children.
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
