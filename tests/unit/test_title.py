"""What ps shows."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
from udsrv.title import set_title
set_title(sys.argv[1])
print(Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode(errors="replace"))
print(Path("/proc/self/comm").read_text(), end="")
"""


def shown(title: str, room: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, title, room]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("title", ["udsrv: worker 0", "udsrv: master [/run/äpp.sock]"])
def test_the_title_replaces_the_whole_command_line(title):
    assert shown(title, "-" * 256) == [title, "udsrv"]


def test_a_title_that_is_too_long_is_cut():
    title, _ = shown("x" * 100_000, "-")
    assert set(title) == {"x"}


def test_a_title_keeps_within_the_argument_area():
    # The environment follows the arguments in memory: it must stay what it was.
    script = f"import os\n{SCRIPT}\nprint(sorted(os.environ.items()))"
    script += "\nprint(Path('/proc/self/environ').read_bytes())"
    output = subprocess.run(
        [sys.executable, "-c", script, "x" * 5000],
        env={"FIRST": "1", "SECOND": "2"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "('FIRST', '1'), " in output
    assert "('SECOND', '2')]\nb'FIRST=1\\x00SECOND=2\\x00" in output
