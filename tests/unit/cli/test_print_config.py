"""What ``print-config`` prints can be read back, and explains itself.

The golden files come from the settings in ``EXAMPLE``.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.settings import make_settings
from udsrv.cli.main import main
from udsrv.cli.print_config import json_text, toml_text
from udsrv.config.model import SETTINGS

GOLDEN = Path(__file__).parents[2] / "golden"
EXAMPLE = {
    "from_file": {"workers": 4, "env": ['GREETING=say "hi"']},
    "socket": "/run/app/app.sock",
    "app": "app:create_app('x')",
    "user": "app",
}


def test_toml_is_the_golden_file():
    text = toml_text(make_settings(**EXAMPLE), explain=False)
    assert text == (GOLDEN / "print-config.toml").read_text()


def test_the_explanation_is_the_golden_file():
    text = toml_text(make_settings(**EXAMPLE), explain=True)
    assert text == (GOLDEN / "print-config-explain.toml").read_text()


@pytest.mark.parametrize("explain", [False, True])
def test_what_is_printed_can_be_read_back(explain):
    settings = make_settings(**EXAMPLE)
    table = tomllib.loads(toml_text(settings, explain=explain))
    assert make_settings(from_file=table, start_directory="/elsewhere") == settings


@given(
    st.dictionaries(st.from_regex(r"[A-Z]{1,8}", fullmatch=True), st.text(), max_size=3),
    st.integers(1, 1024),
    st.floats(0.1, 86400).map(lambda s: f"{s:.6f}"),
)
def test_any_value_can_be_read_back(env, workers, start_timeout):
    pairs = [
        f"X{name}={value}"
        for name, value in env.items()
        if all(c.isprintable() or c in "\n\r\t" for c in value)
    ]
    settings = make_settings(env=pairs, workers=workers, start_timeout=start_timeout)
    assert make_settings(from_file=tomllib.loads(toml_text(settings, explain=True))) == settings


def test_json_has_value_and_origin():
    table = json.loads(json_text(make_settings(**EXAMPLE)))
    assert list(table) == [setting.name for setting in SETTINGS]
    assert table["workers"] == {"value": 4, "origin": "/etc/udsrv/app.toml"}
    assert table["user"] == {"value": "app", "origin": "--user"}
    assert table["socket_mode"] == {"value": "0660", "origin": "default"}
    assert table["group"] == {"value": None, "origin": "default"}
    assert table["name"] == {"value": "app", "origin": "default"}


def test_nothing_is_required(monkeypatch, capsys):
    monkeypatch.setenv("UDSRV_THREADS", "3")
    assert main(["print-config"], start_directory="/srv") == 0
    table = tomllib.loads(capsys.readouterr().out)
    assert table["threads"] == 3
    assert table["chdir"] == "/srv"
    assert not {"app", "socket", "name", "user"} & set(table)


def test_the_subcommand_takes_both_forms(capsys):
    assert main(["print-config", "--json", "-w", "2"], start_directory="/") == 0
    assert json.loads(capsys.readouterr().out)["workers"]["origin"] == "--workers"
    assert main(["print-config", "--explain", "-w", "2"], start_directory="/") == 0
    assert "workers = 2  # from --workers; default: 1 (docs/defaults.md#workers)" in (
        capsys.readouterr().out
    )
