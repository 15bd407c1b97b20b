"""nginx configuration as values."""

from __future__ import annotations

import pytest

from udsrv.errors import ConfigError
from udsrv.generate.directives import (
    Comment,
    Expression,
    block,
    directive,
    oldest_nginx,
    render,
)


def test_rendering_is_nginx_with_the_reasons_above():
    items = [
        Comment("A remark."),
        block(
            "server",
            children=[
                directive("listen", "80", why="For everybody."),
                block("location", "/a b", children=[directive("return", "204")]),
            ],
        ),
    ]
    assert render(items) == (
        "# A remark.\n"
        "\n"
        "server {\n"
        "    # For everybody.\n"
        "    listen 80;\n"
        "\n"
        '    location "/a b" {\n'
        "        return 204;\n"
        "    }\n"
        "}\n"
    )


def test_only_an_expression_may_name_a_variable():
    assert render([directive("proxy_set_header", "Host", Expression("$host"))]) == (
        "proxy_set_header Host $host;\n"
    )
    with pytest.raises(ConfigError):
        render([directive("proxy_set_header", "Host", "$host")])


def test_a_comment_can_not_become_a_directive():
    with pytest.raises(ConfigError):
        render([Comment("harmless\nload_module evil.so;")])


def test_long_comments_are_wrapped_into_comments():
    lines = render([directive("a", why="word " * 100)]).splitlines()
    assert len(lines) > 5
    assert all(line.startswith("# ") for line in lines[:-1])
    assert max(map(len, lines)) <= 96


def test_the_oldest_nginx_is_the_youngest_directives():
    items = [
        directive("a", since=(1, 9, 0)),
        block("b", children=[directive("c", since=(1, 15, 3)), directive("d")]),
        Comment("e"),
    ]
    assert oldest_nginx(items) == (1, 15, 3)
