"""Turn slices into figures, and figures into a table.

Runs as: whoever runs the benchmark. Pure: no file, no clock, no process.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """One server's turn in one round."""

    server: str
    round: int
    count: int
    cpu_ns: int
    elapsed_ns: int
    p50_us: float
    p99_us: float

    @property
    def cpu_us_per_request(self) -> float:
        """Server CPU time, user and system, that one request took."""
        return self.cpu_ns / self.count / 1000


@dataclass(frozen=True)
class Figures:
    """What all slices of one server come to."""

    server: str
    slices: int
    cpu_us: float
    requests_per_s: float
    p50_us: float
    p99_us: float
    busy: float


@dataclass(frozen=True)
class Ratio:
    """One server's CPU time per request over another's, with the quartiles over the rounds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Target:
    """The most that ``server`` may cost, as a multiple of ``base``."""

    server: str
    base: str
    at_most: float


TARGETS = (
    Target("udsrv-1", "bjoern", 0.70),
    Target("udsrv-1", "granian", 0.45),
    Target("udsrv-1", "floor", 2.0),
    Target("udsrv-4", "udsrv-1", 1.3),
)
BASES = ("bjoern", "granian", "floor")


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the three quartiles, also of a single value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def figures(slices: Sequence[Slice], server: str) -> Figures | None:
    """Sum ``server`` up, or return None when it has no slice.

    The CPU time is the lower quartile, since whatever else runs on the machine only ever adds to
    it. Everything else is a median.
    """
    own = [s for s in slices if s.server == server]
    if not own:
        return None
    return Figures(
        server=server,
        slices=len(own),
        cpu_us=quartiles([s.cpu_us_per_request for s in own])[0],
        requests_per_s=statistics.median(s.count / s.elapsed_ns * 1e9 for s in own),
        p50_us=statistics.median(s.p50_us for s in own),
        p99_us=statistics.median(s.p99_us for s in own),
        busy=statistics.median(s.cpu_ns / s.elapsed_ns for s in own),
    )


def ratio(slices: Sequence[Slice], server: str, base: str) -> Ratio | None:
    """Compare two servers, or return None when they have no round in common.

    The value is the ratio of the two lower quartiles. The spread comes from the ratios within
    each round, where both ran a few seconds apart.
    """
    by_round = {(s.server, s.round): s.cpu_us_per_request for s in slices}
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


def table(slices: Sequence[Slice], servers: Sequence[str]) -> str:
    """Lay the figures of ``servers`` out, then the targets."""
    head = ["server", "µs CPU/request", *(f"/ {base}" for base in BASES)]
    head += ["req/s", "p50 µs", "p99 µs", "core busy"]
    rows = [head]
    for server in servers:
        own = figures(slices, server)
        if own is None:
            rows.append([server, "failed", *[""] * (len(head) - 2)])
            continue
        rows.append(
            [
                server,
                f"{own.cpu_us:.2f}",
                *(ratio_text(ratio(slices, server, base), server == base) for base in BASES),
                f"{own.requests_per_s:,.0f}",
                f"{own.p50_us:.0f}",
                f"{own.p99_us:.0f}",
                f"{own.busy:.0%}",
            ]
        )
    goals = [["target", "at most", "measured", ""]]
    for target in TARGETS:
        measured = ratio(slices, target.server, target.base)
        if measured is not None:
            verdict = "met" if measured.value <= target.at_most else "missed"
            name = f"{target.server} / {target.base}"
            goals.append([name, f"{target.at_most:.2f}", ratio_text(measured, False), verdict])
    parts = [aligned(rows)]
    if len(goals) > 1:
        parts.append(aligned(goals))
    return "\n\n".join(parts)


def ratio_text(value: Ratio | None, is_itself: bool) -> str:
    """Write a ratio with its spread; a server's ratio to itself is just 1."""
    if value is None:
        return "-"
    if is_itself:
        return "1"
    return f"{value.value:.2f} ({value.low:.2f}-{value.high:.2f})"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Pad the columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
