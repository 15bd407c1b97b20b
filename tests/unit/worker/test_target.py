"""Loading the application."""

import re
import sys

import pytest

from udsrv.errors import AppLoadError
from udsrv.worker.target import extend_path, load

MODULE = """
def app(environ, start_response): ...
class Site:
    def __call__(self, environ, start_response): ...
class Space: inner = Site()
space = Space()
application = Site()
number, name = 5, "x"
def make(*args, **words):
    made = lambda environ, start_response: None
    made.given = args, words
    return made
def make_nothing(): return None
async def asgi(scope, receive, send): ...
class Asgi:
    async def __call__(self, scope, receive, send): ...
asgi_object = Asgi()
def broken(): raise ValueError("no database")
def leaves(): raise SystemExit(3)
"""


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    (tmp_path / "loaded.py").write_text(MODULE)
    (tmp_path / "raises.py").write_text("import os\n1 / 0\n")
    (tmp_path / "wrong_syntax.py").write_text("def x(:\n")
    (tmp_path / "exits.py").write_text("raise SystemExit('bye')\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    extend_path(str(tmp_path), ())
    yield
    for name in ("loaded", "raises", "wrong_syntax", "exits"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "app",
    ["loaded:app", "loaded", "loaded:application", "loaded:space.inner", "loaded:Space.inner"],
)
def test_every_form_loads(app):
    assert callable(load(app))


def test_a_factory_gets_its_literal_arguments():
    assert load("loaded:make('a', 1, debug=None)").given == (("a", 1), {"debug": None})


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("missing:app", "'missing:app' doesn't load: ModuleNotFoundError: No module named"),
        ("loaded:nope", "doesn't load: AttributeError: module 'loaded' has no attribute 'nope'"),
        ("raises:app", "'raises:app' doesn't load: ZeroDivisionError: division by zero"),
        ("wrong_syntax:app", "doesn't load: SyntaxError"),
        ("exits:app", "doesn't load: SystemExit: bye"),
        ("loaded:leaves()", "doesn't load: SystemExit: 3"),
        ("loaded:broken()", "doesn't load: ValueError: no database"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(app, sentence):
    with pytest.raises(AppLoadError, match=re.escape(sentence)) as caught:
        load(app)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("loaded:number", "'loaded:number' is an 'int', which is not callable"),
        ("loaded:name", "is a 'str', which is not callable"),
        ("loaded:make_nothing()", "is a 'NoneType', which is not callable"),
        ("loaded:asgi", "is an ASGI application"),
        ("loaded:asgi_object", "is an ASGI application"),
    ],
)
def test_what_is_no_wsgi_application_is_refused(app, sentence):
    with pytest.raises(AppLoadError, match=sentence):
        load(app)


def test_the_traceback_is_printed_once_and_begins_outside_of_udsrv(capsys):
    with pytest.raises(AppLoadError):
        load("raises:app")
    printed = capsys.readouterr().err
    assert printed.count("Traceback") == 1
    assert 'raises.py", line 2' in printed
    assert "worker/target.py" not in printed


def test_an_attribute_that_is_missing_needs_no_traceback(capsys):
    with pytest.raises(AppLoadError):
        load("loaded:nope")
    assert capsys.readouterr().err == ""


def test_the_applications_directories_come_first(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3"])
    extend_path("/srv/app", ("/srv/lib", "/srv/more"))
    assert sys.path == ["/srv/lib", "/srv/more", "/srv/app", "/usr/lib/python3"]
