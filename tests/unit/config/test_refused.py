"""What udsrv answers to flags that Gunicorn has and udsrv has not."""

from __future__ import annotations

import pytest

from udsrv.cli.arguments import parse
from udsrv.config.model import BY_NAME, SETTINGS
from udsrv.config.refused import REFUSED, instead_of
from udsrv.errors import UsageError

# Flags that are no settings; as variables and in the file they are refused.
ON_THE_COMMAND_LINE = {"-b", "--bind", "-c", "--config"}
KNOWN = {flag for s in SETTINGS for flag in (*s.short, s.flag, *s.hidden)}


def test_no_flag_is_both_accepted_and_refused():
    assert not KNOWN & set(REFUSED)


@pytest.mark.parametrize("sentence", sorted(set(REFUSED.values())))
def test_a_refusal_is_one_sentence(sentence):
    assert sentence.isprintable()
    assert "|" not in sentence
    assert not sentence.endswith(".")
    assert len(sentence) < 160


@pytest.mark.parametrize("flag", ["--ssl-version", "--ssl-context", "--certfile", "--ca-certs"])
def test_tls_belongs_to_nginx(flag):
    assert instead_of(flag, flag, KNOWN, what="flag").startswith(
        f"{flag}: udsrv opens no network port, so TLS belongs to Nginx"
    )


def test_an_unknown_name_gets_the_nearest_one():
    assert instead_of("--thread", "--thread", KNOWN, what="flag") == (
        "--thread: no such flag; did you mean --threads?"
    )


def test_an_unknown_name_without_neighbours_gets_the_list():
    assert instead_of("--zzz", "--zzz", KNOWN, what="flag") == (
        "--zzz: no such flag; udsrv --help lists what there is"
    )


def names_of_gunicorn() -> list[tuple[str, str]]:
    """Return every flag and every name of a setting that Gunicorn has, with what asks for it."""
    from gunicorn.config import KNOWN_SETTINGS

    flags = [(flag, "flag") for setting in KNOWN_SETTINGS for flag in setting.cli or ()]
    return flags + [(setting.name, "setting") for setting in KNOWN_SETTINGS]


@pytest.mark.parametrize(("name", "what"), names_of_gunicorn())
def test_no_name_of_gunicorns_is_unknown(name, what):
    """Each is a name of ours, or is refused with a sentence of its own."""
    accepted = KNOWN | ON_THE_COMMAND_LINE if what == "flag" else set(BY_NAME)
    if name not in accepted:
        flag = name if what == "flag" else "--" + name.replace("_", "-")
        sentence = instead_of(flag, name, accepted, what=what)
        assert sentence.startswith(f"{name}: ")
        assert "no such" not in sentence


def test_gunicorn_has_all_the_settings_that_the_test_above_is_about():
    assert len(names_of_gunicorn()) > 200


@pytest.mark.parametrize("flag", sorted(set(REFUSED) - ON_THE_COMMAND_LINE))
def test_a_refused_flag_ends_the_start_with_its_sentence(flag):
    with pytest.raises(UsageError) as refused:
        parse([flag, "app:app"])
    assert str(refused.value) == f"{flag}: {REFUSED[flag]}"
