"""Turn slices into figures, figures into tables, and tables into a verdict.

Runs as: whoever runs the benchmark. Pure: no file, no clock, no process.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from scenarios import BY_NAME, Scenario

Rows = list[list[str]]
MIB = 1024 * 1024


@dataclass(frozen=True)
class Slice:
    """One server's turn in one round of one scenario."""

    scenario: str
    server: str
    round: int
    count: int
    cpu_ns: int
    elapsed_ns: int
    p50_us: float
    p99_us: float
    max_us: float
    pss_bytes: int = 0
    # nginx's own CPU time, where the requests went through it.
    front_cpu_ns: int = 0
    # Where connections were left idle: what the process that held them grew by.
    growth_bytes: int = 0
    # What parts of the slice took: responses, and server CPU time in ns.
    windows: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """All that one run measured; ``failures`` is keyed by "scenario server"."""

    slices: list[Slice]
    scenarios: list[str]
    rounds: int
    seconds: float
    machine: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    command: str = ""

    def of(self, scenario: str) -> list[Slice]:
        """The slices of one scenario."""
        return [one for one in self.slices if one.scenario == scenario]


@dataclass(frozen=True)
class Figures:
    """What all slices of one server in one scenario come to."""

    server: str
    slices: int
    cpu_us: float
    requests_per_s: float
    p50_us: float
    p99_us: float
    max_us: float
    busy: float
    pss_mib: float
    front_cpu_us: float
    growth_mib: float


@dataclass(frozen=True)
class Ratio:
    """One server's CPU time per request over another's, with the quartiles over the rounds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Target:
    """The most that ``server`` may cost in a scenario, as a multiple of ``base``."""

    scenario: str
    server: str
    base: str
    at_most: float


TARGETS = (
    Target("quick", "udsrv-1", "bjoern", 0.52),
    Target("quick", "udsrv-1", "granian", 0.33),
    Target("quick", "udsrv-1", "floor", 1.45),
    Target("quick", "udsrv-4", "udsrv-1", 1.2),
    Target("hello", "udsrv-1", "bjoern", 0.52),
    Target("hello", "udsrv-1", "granian", 0.33),
    Target("hello", "udsrv-1", "floor", 1.45),
    Target("hello", "udsrv-4", "udsrv-1", 1.2),
    Target("access-log", "udsrv-1-log", "udsrv-1", 1.08),
    Target("download", "udsrv-1", "floor", 1.2),
    Target("file", "udsrv-1", "floor", 1.2),
)
SLEEP_MS = 100
IDLE_GROWTH_MIB_AT_MOST = 20.0


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the three quartiles, also of a single value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def costs_us(slices: Sequence[Slice]) -> list[float]:
    """Server CPU time, user and system, of one request: in each window, or in a slice without."""
    windows = [window for s in slices for window in s.windows or [(s.count, s.cpu_ns)]]
    return [cpu_ns / count / 1000 for count, cpu_ns in windows]


def cpu_us(slices: Sequence[Slice]) -> float:
    """Return what one request costs: the lower quartile of all windows.

    Whatever else runs on the machine only ever adds to it, for some tenths of a second or for
    minutes.
    """
    return quartiles(costs_us(slices))[0]


def figures(slices: Sequence[Slice], server: str) -> Figures | None:
    """Sum ``server`` up over the slices of one scenario, or return None when it has no slice.

    All but CPU time is a median.
    """
    own = [s for s in slices if s.server == server]
    if not own:
        return None
    return Figures(
        server=server,
        slices=len(own),
        cpu_us=cpu_us(own),
        requests_per_s=statistics.median(s.count / s.elapsed_ns * 1e9 for s in own),
        p50_us=statistics.median(s.p50_us for s in own),
        p99_us=statistics.median(s.p99_us for s in own),
        max_us=statistics.median(s.max_us for s in own),
        busy=statistics.median(s.cpu_ns / s.elapsed_ns for s in own),
        pss_mib=statistics.median(s.pss_bytes for s in own) / MIB,
        front_cpu_us=quartiles([s.front_cpu_ns / s.count / 1000 for s in own])[0],
        growth_mib=statistics.median(s.growth_bytes for s in own) / MIB,
    )


def ratio(slices: Sequence[Slice], server: str, base: str) -> Ratio | None:
    """Compare two servers in one scenario, or return None when they have no round in common.

    The value is the ratio of the two lower quartiles. The spread comes from the ratios within
    each round, where both ran a few seconds apart.
    """
    by_round = {(s.server, s.round): cpu_us([s]) for s in slices}
    within = [
        cost / by_round[base, number]
        for (name, number), cost in by_round.items()
        if name == server and (base, number) in by_round
    ]
    ours, theirs = figures(slices, server), figures(slices, base)
    if not within or ours is None or theirs is None:
        return None
    low, _, high = quartiles(within)
    return Ratio(ours.cpu_us / theirs.cpu_us, low, high)


def rows(results: Results, scenario: Scenario) -> Rows:
    """Lay one scenario's figures out, a row per server, the first row being the head."""
    slices = results.of(scenario.name)
    if scenario.idle_connections:
        return idle_rows(results, scenario)
    head = ["server", "µs CPU/request", *(f"/ {base}" for base in scenario.bases), "req/s"]
    head += ["p50 µs", "p99 µs", *(["max µs"] if scenario.has_sleeper else []), "PSS MiB"]
    head += ["core busy", *(["nginx µs"] if scenario.through_nginx else [])]
    table = [head]
    for server in scenario.servers:
        own = figures(slices, server)
        if own is None:
            reason = why_missing(results, scenario, server)
            table += [[server, reason, *[""] * (len(head) - 2)]] if reason else []
            continue
        row = [server, f"{own.cpu_us:.2f}"]
        row += [ratio_text(ratio(slices, server, base), server == base) for base in scenario.bases]
        row += [f"{own.requests_per_s:,.0f}", f"{own.p50_us:.0f}", f"{own.p99_us:.0f}"]
        row += [f"{own.max_us:.0f}"] if scenario.has_sleeper else []
        row += [f"{own.pss_mib:.1f}" if own.pss_mib else "-", f"{own.busy:.0%}"]
        row += [f"{own.front_cpu_us:.2f}"] if scenario.through_nginx else []
        table.append(row)
    return table


def idle_rows(results: Results, scenario: Scenario) -> Rows:
    """The memory table: before, growth, and what that is for one connection."""
    table = [["server", "growth MiB", "bytes/connection", "PSS of all processes MiB"]]
    for server in scenario.servers:
        own = figures(results.of(scenario.name), server)
        if own is None:
            reason = why_missing(results, scenario, server)
            table += [[server, reason, "", ""]] if reason else []
            continue
        each = own.growth_mib * MIB / scenario.idle_connections
        table.append([server, f"{own.growth_mib:.1f}", f"{each:.0f}", f"{own.pss_mib:.1f}"])
    return table


def why_missing(results: Results, scenario: Scenario, server: str) -> str:
    """Say in a few words why a server has no figure; nothing when it was not asked for."""
    reason = results.failures.get(f"{scenario.name} {server}", "")
    return reason if not reason or reason.startswith("not measured: ") else "failed"


def verdicts(results: Results) -> Rows:
    """Hold what was measured against the targets; only the head when no target was measured."""
    table = [["target", "at most", "measured", ""]]
    for target in TARGETS:
        found = ratio(results.of(target.scenario), target.server, target.base)
        if found is not None:
            name = f"{target.scenario}: {target.server} / {target.base}"
            table.append(
                [
                    name,
                    f"{target.at_most:.2f}",
                    ratio_text(found, False),
                    verdict(found.value <= target.at_most),
                ]
            )
    table += flask_verdict(results)
    sleep = figures(results.of("sleep"), "udsrv-4")
    if sleep is not None:
        table.append(
            [
                "sleep: the longest wait of the others, ms",
                f"{SLEEP_MS}",
                f"{sleep.max_us / 1000:.1f}",
                verdict(sleep.max_us / 1000 < SLEEP_MS),
            ]
        )
    idle = figures(results.of("idle"), "udsrv-1")
    if idle is not None and idle.pss_mib:
        table.append(
            [
                "idle: growth of the worker's PSS, MiB",
                f"{IDLE_GROWTH_MIB_AT_MOST:.0f}",
                f"{idle.growth_mib:.1f}",
                verdict(idle.growth_mib < IDLE_GROWTH_MIB_AT_MOST),
            ]
        )
    return table


def flask_verdict(results: Results) -> Rows:
    """A Flask route may cost its own Python and what hello costs, in microseconds."""
    whole = figures(results.of("flask"), "udsrv-1")
    around = figures(results.of("flask"), "loop")
    with_flask = figures(results.of("flask"), "loop-flask")
    hello = figures(results.of("hello"), "udsrv-1")
    if whole is None or around is None or with_flask is None or hello is None:
        return []
    allowed = with_flask.cpu_us - around.cpu_us + hello.cpu_us
    name = "flask: udsrv-1, against (loop-flask - loop) + hello, µs"
    return [[name, f"{allowed:.2f}", f"{whole.cpu_us:.2f}", verdict(whole.cpu_us <= allowed)]]


def verdict(is_met: bool) -> str:
    """One word for the last column."""
    return "met" if is_met else "missed"


def text(results: Results) -> str:
    """Everything, for a terminal."""
    parts = []
    for name in results.scenarios:
        scenario = BY_NAME[name]
        parts.append(f"{scenario.title}\n{aligned(rows(results, scenario))}")
    goals = verdicts(results)
    if len(goals) > 1:
        parts.append(aligned(goals))
    return "\n\n".join(parts)


def ratio_text(value: Ratio | None, is_itself: bool) -> str:
    """Write a ratio with its spread; a server's ratio to itself is just 1."""
    if is_itself:
        return "1"
    if value is None:
        return "-"
    return f"{value.value:.2f} ({value.low:.2f}-{value.high:.2f})"


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Pad the columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """The same table for a document, our own rows in bold."""
    head, *rest = table
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for row in rest:
        cells = [f"**{cell}**" if cell and row[0].startswith("udsrv") else cell for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
