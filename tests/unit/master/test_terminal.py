"""What stands between the application and the operator's terminal."""

import os
import pty
import subprocess
import sys

SCRIPT = """
import os, sys
from udsrv.master.terminal import TerminalRelay
relay = TerminalRelay(2)
for chunk in sys.argv[1:]:
    os.write(relay.write_fd, os.fsencode(chunk))
    relay.copy()
relay.copy()
print("alive")
"""


def relayed(*chunks: str) -> bytes:
    command = [sys.executable, "-c", SCRIPT, *chunks]
    return subprocess.run(command, capture_output=True, check=True).stderr


def test_lines_are_escaped_again():
    assert relayed("\x1b]0;evil\x07\n") == b"\\x1b]0;evil\\x07\n"


def test_a_line_is_written_when_it_is_complete():
    assert relayed("half") == b""
    assert relayed("half", " a line\nmore") == b"half a line\n"


def test_a_line_that_never_ends_is_written_in_pieces():
    assert relayed(*["x" * 30_000] * 3) == b"x" * 90_000 + b"\n"


def test_a_terminal_that_is_gone_ends_nobody():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", f"input()\n{SCRIPT}", "line\n"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    os.close(ours)
    assert process.communicate(b"\n")[0] == b"alive\n"
