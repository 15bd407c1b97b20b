"""Print a report for people and for programs. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from udsrv import __version__
from udsrv.diagnose.audit.facts import Facts, File, Process
from udsrv.diagnose.audit.judge import Report
from udsrv.diagnose.audit.rules_process import ROWS

SCHEMA_VERSION = 1
#: Of the generated unit, the greatest difference that a setting makes.
EXPOSURE_WITHOUT_NETWORK = 1.2
_LABEL = 16
_NARROWEST = 14


def text_of(report: Report, *, width: int) -> str:
    """Return the table, what is around it, and a line for everything that isn't right."""
    facts = report.facts
    lines = [*_table(report, width), "", *_notes(facts), *_surroundings(facts), ""]
    for each in report.findings:
        mark = each.verdict.upper() if each.verdict == "fail" else each.verdict
        fix = f"; fix: {each.remedy}" if each.remedy else ""
        lines.append(escaped(f"{mark:<8}{each.check}: {each.subject}: {each.fact}{fix}"))
    counts = {
        word: sum(each.verdict == verdict for each in report.findings)
        for verdict, word in (("fail", "failed"), ("unknown", "not checked"), ("warn", "warned of"))
    }
    lines.append(", ".join(f"{number} {word}" for word, number in counts.items()))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _table(report: Report, width: int) -> Iterator[str]:
    if not report.columns:
        return
    each_width = max(_NARROWEST, (width - _LABEL) // len(report.columns) - 2)
    # No column is wider than what is in it, so that a wide terminal doesn't pull them apart.
    widths = [
        min(each_width, max(len(text) for text in (column.title, *column.cells)))
        for column in report.columns
    ]
    rows = [("", [column.title for column in report.columns])]
    for number, name in enumerate(ROWS):
        rows.append((name, [column.cells[number] for column in report.columns]))
    for name, cells in rows:
        wrapped = [
            textwrap.wrap(escaped(cell), size, break_on_hyphens=False) or [""]
            for cell, size in zip(cells, widths, strict=True)
        ]
        for line in range(max(len(each) for each in wrapped)):
            parts = [each[line] if line < len(each) else "" for each in wrapped]
            columns = "  ".join(f"{part:<{size}}" for part, size in zip(parts, widths, strict=True))
            yield f"{name if line == 0 else '':<{_LABEL}}{columns}"


def _notes(facts: Facts) -> Iterator[str]:
    if any(each.landlocked for each in facts.processes):
        yield (
            "What can be written and connected to is what ids and mounts allow. Landlock allows"
            " less: no kernel shows what."
        )
        yield ""


def _surroundings(facts: Facts) -> Iterator[str]:
    live = facts.socket
    owner = ""
    if live is not None:
        owner = f" {facts.user(live.uid)}:{facts.group(live.gid)} {live.permissions}"
    yield f"{'socket':<{_LABEL}}{escaped(facts.wanted.socket)}{owner or ' (not there)'}"
    above = " ".join(f"{each.path} {each.permissions}" for each in facts.directories)
    yield f"{'directories':<{_LABEL}}{escaped(above)}"
    yield f"{'kernel':<{_LABEL}}Linux {facts.kernel}, Landlock version {facts.landlock_abi}"
    unit = "none"
    if facts.unit is not None:
        exposure = "not known" if facts.unit.exposure is None else f"{facts.unit.exposure}"
        unit = f"{facts.unit.name}, exposure {exposure} {facts.unit.word}".rstrip()
    yield f"{'unit':<{_LABEL}}{escaped(unit)}"
    if facts.unit is not None and facts.master is not None and facts.master.network is None:
        step = "--network none, when it connects to Unix sockets alone:"
        yield f"{'next step':<{_LABEL}}{step} exposure {EXPOSURE_WITHOUT_NETWORK}"


def escaped(text: str) -> str:
    """Return ``text`` on one line without control characters: paths can hold anything."""
    return "".join(
        c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}"
        for c in text
    )


def json_of(report: Report) -> str:
    """Return what ``docs/audit.schema.json`` describes."""
    facts = report.facts
    document = {
        "version": SCHEMA_VERSION,
        "udsrv": __version__,
        "passed": report.passed,
        "socket": {"path": facts.wanted.socket, "file": _file(facts.socket)},
        "directories": [_file(each) for each in facts.directories],
        "kernel": {"release": facts.kernel, "landlock_abi": facts.landlock_abi},
        "unit": None
        if facts.unit is None
        else {
            "name": facts.unit.name,
            "exposure": facts.unit.exposure,
            "threshold": facts.threshold,
        },
        "processes": [_process(each, facts) for each in facts.processes],
        "findings": [asdict(each) for each in report.findings],
    }
    return json.dumps(document, indent=2) + "\n"


def _file(file: File | None) -> dict[str, Any] | None:
    if file is None:
        return None
    return {"path": file.path, "uid": file.uid, "gid": file.gid, "mode": file.permissions}


def _process(process: Process, facts: Facts) -> dict[str, Any]:
    attempts = facts.attempts.get(process.pid)
    tried = attempts is not None and not attempts.refused
    fds = process.descriptors
    return {
        "pid": process.pid,
        "parent": process.parent,
        "role": process.role,
        "uids": process.uids,
        "gids": process.gids,
        "groups": sorted(process.groups),
        "capabilities": {name: f"{mask:016x}" for name, mask in process.capabilities.items()},
        "no_new_privs": process.no_new_privs,
        "seccomp": process.seccomp,
        "landlock": process.landlocked,
        "dumpable": process.dumpable,
        "descriptors": None if fds is None else [[each.number, each.target] for each in fds],
        "network": process.network,
        "ports": process.ports,
        "executable": process.executable,
        "writable": [each.file.path for each in attempts.writable] if attempts and tried else None,
        "sockets": attempts.sockets if attempts and tried else None,
        "attempts": dict(attempts.outcomes) if attempts and tried else None,
        "control_socket": None,
    }
