"""Decide from what was seen what is right, what isn't, and what mends it. Pure.

Runs as: whoever calls it. Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from udsrv.diagnose.audit.facts import ROLES, Facts, Process
from udsrv.diagnose.audit.remedies import restart
from udsrv.diagnose.audit.rules_machine import machine_findings
from udsrv.diagnose.audit.rules_process import ROWS
from udsrv.diagnose.audit.verdicts import Finding, Judgement

_ORDER = {"fail": 0, "unknown": 1, "warn": 2}


@dataclass(frozen=True, slots=True)
class Column:
    """Processes of one role that have the same judgements."""

    title: str
    pids: tuple[int, ...]
    cells: tuple[str, ...]  # one for each of `ROWS`


@dataclass(frozen=True, slots=True)
class Report:
    """What is printed."""

    columns: tuple[Column, ...]
    findings: tuple[Finding, ...]  # the worst first
    facts: Facts

    @property
    def passed(self) -> bool:
        """Nothing fails, and nothing had to be left unchecked."""
        return not any(each.verdict in ("fail", "unknown") for each in self.findings)


def judge(facts: Facts) -> Report:
    """Return the table and everything that isn't right, in an order that doesn't vary."""
    groups: dict[tuple[object, ...], list[Process]] = {}
    judged: dict[int, tuple[Judgement, ...]] = {}
    for process in facts.processes:
        judgements = tuple(rule(process, facts) for rule in ROWS.values())
        judged[process.pid] = judgements
        groups.setdefault((process.role, judgements), []).append(process)
    titles = _titles(facts.processes)
    columns, findings = [], list(machine_findings(facts))
    for members in groups.values():
        pids = tuple(each.pid for each in members)
        title = _title([titles[pid] for pid in pids])
        judgements = judged[pids[0]]
        columns.append(Column(title, pids, tuple(each.cell for each in judgements)))
        findings += _findings(title, pids, judgements, facts)
    findings = sorted(_merged(findings), key=lambda each: _ORDER[each.verdict])
    return Report(tuple(columns), tuple(findings), facts)


def _findings(
    title: str, pids: tuple[int, ...], judgements: Sequence[Judgement], facts: Facts
) -> Iterator[Finding]:
    for row, judgement in zip(ROWS, judgements, strict=True):
        if judgement.verdict != "ok":
            remedy = judgement.remedy or (restart(facts) if judgement.verdict == "fail" else "")
            yield Finding(row, title, judgement.verdict, judgement.fact, remedy, pids)


def _merged(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Make one line of what is wrong with several columns in the same way."""
    same: dict[tuple[str, ...], list[Finding]] = {}
    for each in findings:
        same.setdefault((each.check, each.verdict, each.fact, each.remedy), []).append(each)
    for members in same.values():
        subject = ", ".join(dict.fromkeys(each.subject for each in members))
        pids = tuple(sorted(pid for each in members for pid in each.pids))
        yield replace(members[0], subject=subject, pids=pids)


def _titles(processes: Sequence[Process]) -> dict[int, tuple[str, int]]:
    """Number the processes of each role by their start; one alone has the number 0."""
    titles = {}
    for role in ROLES:
        pids = [each.pid for each in processes if each.role == role]
        for number, pid in enumerate(pids, start=1):
            titles[pid] = (role, number if len(pids) > 1 else 0)
    return titles


def _title(members: Sequence[tuple[str, int]]) -> str:
    """Return a title like ``worker 1-3 5``."""
    role, first = members[0]
    if first == 0:
        return role
    runs: list[list[int]] = []
    for _, number in members:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{role} {' '.join(texts)}"
