"""The four ways to name an application."""

from __future__ import annotations

import pytest

from udsrv.config.target import Call, Target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("app", Target("app", ("application",))),
        ("site.wsgi", Target("site.wsgi", ("application",))),
        ("app:app", Target("app", ("app",))),
        ("pkg.mod:site.app", Target("pkg.mod", ("site", "app"))),
        ("app:create_app()", Target("app", ("create_app",), Call((), ()))),
        (
            "app:make.app('x', 1, [None], debug=False)",
            Target("app", ("make", "app"), Call(("x", 1, [None]), (("debug", False),))),
        ),
        ("app:make(':', ')')", Target("app", ("make",), Call((":", ")"), ()))),
    ],
)
def test_a_target_is_read(text, target):
    assert Target.parse(text) == target


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not begin with a module's name"),
        (":app", "does not begin with a module's name"),
        ("my-app:app", "does not begin with a module's name"),
        (".app:app", "does not begin with a module's name"),
        ("app:", "names no attribute after the colon"),
        ("app:a-b", "names no attribute after the colon"),
        ("app:a..b", "names no attribute after the colon"),
        ("app:app:app", "names no attribute after the colon"),
        ("app:(1)", "names no attribute after the colon"),
        ("app:create_app(", "is not one call with literal arguments"),
        ("app:create_app(x)", "is not one call with literal arguments"),
        ("app:create_app(f())", "is not one call with literal arguments"),
        ("app:create_app(*[1])", "is not one call with literal arguments"),
        ("app:create_app(**{'a': 1})", "is not one call with literal arguments"),
        ("app:create_app(a=1, a=2)", "is not one call with literal arguments"),
        ("app:create_app()()", "is not one call with literal arguments"),
        ("app:create_app().wsgi", "is not one call with literal arguments"),
        ("app:create_app(), 1", "is not one call with literal arguments"),
        ("app:f(" + "(" * 5000 + ")", "is not one call with literal arguments"),
        ("app.py", "names a file; name the module, like 'app:app', and its directory with --chdir"),
        ("/srv/shop.py:app", "names a file; name the module, like 'shop:app'"),
        ("./app:app", "names a file; name the module, like 'app:app'"),
    ],
)
def test_what_is_no_target_gets_an_example(text, sentence):
    with pytest.raises(ValueError, match=r".") as refused:
        Target.parse(text)
    assert sentence in str(refused.value)
    assert repr(text) in str(refused.value)
