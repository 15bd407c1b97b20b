"""The table is complete and consistent, and settings survive the way to the supervisor."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from support.settings import make_settings
from udsrv.config.model import SETTINGS, Settings
from udsrv.errors import UdsrvError


def test_the_value_has_a_field_for_each_row_and_nothing_else():
    assert [f.name for f in fields(Settings)] == [s.name for s in SETTINGS] + ["origins"]


def test_no_flag_is_given_twice():
    flags = [flag for s in SETTINGS for flag in (*s.short, s.flag, *s.hidden)]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_each_default_is_a_value_that_could_be_given(setting):
    if setting.default is not None:
        assert setting.read(setting.show(setting.default), "/") == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_help_is_one_sentence_and_says_what_holds_when_nothing_is_given(setting):
    assert setting.help.endswith(".")
    assert setting.default is not None or setting.unset


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_numbers_have_a_unit_and_a_range(setting):
    is_number = setting.kind.parse.__name__ in ("whole", "seconds", "size")
    assert is_number == (setting.low is not None) == (setting.high is not None)
    assert is_number == bool(setting.unit)


def test_settings_never_change():
    with pytest.raises(FrozenInstanceError):
        make_settings().workers = 2


def test_settings_come_back_from_json_as_they_were():
    settings = make_settings(socket="/run/ä.sock", name="x", app="a:b", env=["A=1\n2"], workers="3")
    read = Settings.from_json(settings.to_json())
    assert read == settings
    assert read.origins == settings.origins
    assert {type(getattr(read, f.name)) for f in fields(read)} == {
        type(getattr(settings, f.name)) for f in fields(settings)
    }
    assert type(read.env) is tuple


def test_settings_of_another_version_are_refused():
    with pytest.raises(UdsrvError, match="another version"):
        Settings.from_json(b'{"app": "a:b"}')
