"""Formats of the access log become pieces, or a sentence that names what is wrong."""

from __future__ import annotations

import json

import pytest

from support.settings import make_settings
from udsrv.config.access import ATOMS, COMBINED, JSON, is_json, pieces
from udsrv.config.values import SettingError
from udsrv.errors import UsageError


def test_a_format_is_texts_and_atoms_in_their_order():
    assert pieces("%(h)s - %(r)s%%") == (
        ("h", ""),
        ("text", " - "),
        ("r", ""),
        ("text", "%"),
    )


def test_headers_have_lower_case_names_and_variables_keep_theirs():
    assert pieces("%({X-Cart}i)s%({Content-Type}o)s%({REMOTE_User}e)s") == (
        ("i", "x-cart"),
        ("o", "content-type"),
        ("e", "REMOTE_User"),
    )


@pytest.mark.parametrize("atom", ATOMS)
def test_each_of_gunicorns_atoms_is_known(atom):
    assert pieces(f"%({atom})s") == ((atom, ""),)


def test_names_of_formats_stand_for_them():
    assert pieces("combined") == pieces(COMBINED)
    assert pieces("json") == pieces(JSON)
    assert is_json("json")
    assert not is_json("combined")


def test_the_json_format_is_one_object_when_its_atoms_are_values():
    line = "".join("1" if kind != "text" else text for kind, text in pieces("json"))
    assert set(json.loads(line).values()) == {1}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("%(x)s", "'%(x)s'"),
        ("%(hh)s", "'%(hh)s'"),
        ("%(h)d", "'%(h)d'"),
        ("%(h)s %(T", "'%(T'"),
        ("%h %s", "'%h'"),
        ("100%", "'%'"),
        ("%({referer})s", "'%({referer})s'"),
        ("%({}i)s", "'%({}i)s'"),
        ("%({x}x)s", "'%({x}x)s'"),
        ("%(HTTP_HOST)s", "'%(HTTP_HOST)s'"),
    ],
)
def test_what_is_no_atom_is_named(text, named):
    with pytest.raises(SettingError) as caught:
        pieces(text)
    assert str(caught.value).startswith(f"{named} is no atom; there are %(X)s with X one of h l u")


@pytest.mark.parametrize("name", ["a b", "a:b", "ä", 'a"b'])
def test_a_name_that_no_header_can_have_is_refused(name):
    with pytest.raises(SettingError, match="can't be the name of a header"):
        pieces(f"%({{{name}}}i)s")


@pytest.mark.parametrize("text", ["", "combined ", "JSON", "common"])
def test_a_format_with_nothing_of_the_request_is_refused(text):
    with pytest.raises(SettingError, match="combined, json or a format like"):
        pieces(text)


def test_a_format_that_leaves_no_room_in_a_line_is_refused():
    with pytest.raises(SettingError, match="has 2005 characters"):
        pieces("%(h)s" + "x" * 2000)


def test_the_error_names_the_setting_and_the_flag():
    with pytest.raises(UsageError, match=r"^access_logformat: '%\(y\)s' is no atom.*logformat\)$"):
        make_settings(access_logformat="%(y)s")


def test_a_log_file_is_a_path_and_a_dash_is_none():
    assert make_settings(access_logfile="log/a").access_logfile == "/srv/app/log/a"
    assert make_settings(access_logfile="-").access_logfile == "-"
    assert make_settings(access_logfile="./-").access_logfile == "/srv/app/-"
    assert make_settings().access_logfile is None
