"""Counting lines of code."""

import pytest

from support.code_lines import code_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", 0),
        ("\n# a comment\n\n", 0),
        ('"""A module\n\nof three lines."""\n', 0),
        ("x = 1  # a comment\n", 1),
        ("x = (\n    1,\n    # a comment\n    2,\n)\n", 4),
        ('x = """a text\n\nof three lines"""\n', 3),
        ('class A:\n    """Its docstring."""\n\n    def b(self):\n        """Its own."""\n', 2),
        ('def a():\n    x = 1\n    """no docstring"""\n', 3),
    ],
)
def test_code_lines(text, lines):
    assert code_lines(text) == lines
