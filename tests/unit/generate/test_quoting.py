"""One word stays one word, and what can't be written is refused."""

from __future__ import annotations

import pytest

from udsrv.errors import ConfigError
from udsrv.generate.quoting import (
    nginx_literal,
    nginx_word,
    one_line,
    systemd_argument,
    systemd_text,
    systemd_word,
)

# That nginx and systemd read these back as they were is tested with the real programs, in
# tests/golden.


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/run/app.sock", "/run/app.sock"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a;b", '"a;b"'),
        ("{16,64}", '"{16,64}"'),
        ("it's", '"it\'s"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("# no comment", '"# no comment"'),
        ("~*^websocket$", '"~*^websocket$"'),
        ("no\N{NO-BREAK SPACE}break", '"no\N{NO-BREAK SPACE}break"'),
    ],
)
def test_nginx_words_are_quoted_where_they_must_be(text, word):
    assert nginx_word(text) == word


def test_a_dollar_in_a_literal_is_refused_since_nginx_has_no_escape_for_it():
    with pytest.raises(ConfigError, match=r"'/run/\$host\.sock' holds a '\$'"):
        nginx_literal("/run/$host.sock")


@pytest.mark.parametrize("character", list("\0\t\n\r\x1b\x7f\x85\u2028\udcff"))
@pytest.mark.parametrize(
    "function", [one_line, nginx_word, nginx_literal, systemd_text, systemd_word, systemd_argument]
)
def test_nothing_that_could_end_the_line_is_written(function, character):
    with pytest.raises(ConfigError, match="which a generated file can't carry"):
        function(f"a{character}b")


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("--socket", "--socket"),
        ("", '""'),
        (";", '";"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ("%t and ${X}", '"%%t and $${X}"'),
        ("it's", '"it\'s"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("-@+!:", '"-@+!:"'),
    ],
)
def test_systemd_arguments_keep_their_percent_dollar_and_quotes(text, argument):
    assert systemd_argument(text) == argument


def test_only_a_command_line_replaces_variables():
    assert systemd_word("/srv/$x") == "/srv/$x"
    assert systemd_text('a "b" 5 %') == 'a "b" 5 %%'
