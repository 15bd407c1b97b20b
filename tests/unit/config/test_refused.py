"""What udsrv answers to flags that Gunicorn has and udsrv has not."""

from __future__ import annotations

import pytest

from udsrv.config.model import SETTINGS
from udsrv.config.refused import REFUSED, instead_of

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
