"""What is printed: a table that fits its width, and a document that fits its schema."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from support.audited import make_facts, with_worker
from udsrv.diagnose.audit.judge import judge
from udsrv.diagnose.audit.report import json_of, text_of

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "audit.schema.json").read_text())
GOOD = make_facts()
BAD = with_worker(GOOD, seccomp=0, ports=("tcp 80",))


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "facts",
    [GOOD, BAD, replace(GOOD, processes=(), unit=None, socket=None), replace(GOOD, attempts={})],
)
def test_the_document_fits_the_schema(facts):
    report = judge(facts)
    document = json.loads(json_of(report))
    jsonschema.validate(document, SCHEMA, jsonschema.Draft202012Validator)
    assert document["passed"] == report.passed


def test_the_document_has_every_finding_with_its_command():
    findings = json.loads(json_of(judge(BAD)))["findings"]
    assert [each["check"] for each in findings] == ["seccomp", "network"]
    assert findings[1]["remedy"] == "kill -TERM 13"


def test_a_line_that_fails_ends_with_the_command():
    lines = text_of(judge(BAD), width=100).splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert failed == [
        "FAIL    seccomp: worker 2: no filter stands between it and the kernel's system calls;"
        " fix: systemctl restart app.service",
        "FAIL    network: worker 2: listens on tcp 80, where anybody may connect;"
        " fix: kill -TERM 13",
    ]
    assert lines[-1] == "2 failed, 0 not checked, 0 warned of"


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_table_fits_its_width(width):
    table = text_of(judge(BAD), width=width).split("\n\n")[0].splitlines()
    narrowest = 16 + 4 * 16  # below that a column could not be read
    assert max(len(line) for line in table) <= max(width, narrowest)
    assert table[0].split() == ["master", "supervisor", "worker", "1", "worker", "2"]


def test_the_next_step_is_the_network_of_a_unit_that_has_one():
    step = "next step       --network none"
    assert step in text_of(judge(GOOD), width=100)
    without = replace(GOOD, processes=tuple(replace(p, network="lo") for p in GOOD.processes))
    for facts in (without, replace(GOOD, unit=None)):
        assert step not in text_of(judge(facts), width=100)


def test_that_landlock_may_forbid_more_is_said_where_there_is_a_domain():
    note = "Landlock allows less: no kernel shows what."
    assert note in text_of(judge(GOOD), width=100)
    outside = tuple(replace(each, landlocked=False) for each in GOOD.processes)
    assert note not in text_of(judge(replace(GOOD, processes=outside)), width=100)


def test_what_others_have_named_cannot_drive_a_terminal():
    named = "/run/\x1b[2J\n\u202edir"
    facts = replace(GOOD, directories=(replace(GOOD.directories[0], path=named, mode=0o40777),))
    text = text_of(judge(facts), width=100)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "/run/\\x1b[2J\\x0a\\u202edir" in text
    assert os.linesep.join(text.splitlines()) == text.rstrip("\n")
