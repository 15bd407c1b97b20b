"""The help fits a terminal and is what the golden files hold.

After a change: ``udsrv --help > tests/golden/help.txt``, and so on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from udsrv.cli.arguments import COMMANDS
from udsrv.cli.help import SHORT_USAGE, help_text
from udsrv.config.model import SETTINGS

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize(
    ("command", "golden"),
    [
        ("run", "help.txt"),
        ("gen-nginx", "help-gen-nginx.txt"),
        ("print-config", "help-print-config.txt"),
        ("audit", "help-audit.txt"),
    ],
)
def test_help_is_the_golden_file(command, golden):
    assert help_text(COMMANDS[command]) == (GOLDEN / golden).read_text()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda c: c.name)
def test_help_fits_eighty_columns(command):
    lines = (help_text(command) + SHORT_USAGE).splitlines()
    assert [line for line in lines if len(line) > 79 or line != line.rstrip()] == []


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_help_lists_every_setting_and_what_holds_without_it(setting):
    text = " ".join(help_text(COMMANDS["run"]).split())
    assert f"{setting.flag} " in text
    assert f"{setting.help}" in text
    assert setting.default == () or f"[{setting.default_text}]" in text
