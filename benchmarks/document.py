"""Write docs/benchmarks.md and its plots from what run.py measured last.

Runs as: whoever runs the benchmark. Measures nothing: it reads ``.cache/bench/results.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import plots
import prepare
import report
from scenarios import BY_NAME, KEEP_ALIVE, Scenario

DOCS = prepare.HERE.parent / "docs"

INTRODUCTION = """\
# Benchmarks

How much CPU time one request costs, for udsrv and for others, on one machine on one day. Written by
`make bench-all`, which measures and then writes this page; [benchmarks/](../benchmarks/README.md)
says how. What the time goes into, and what saved some, is in [performance.md](performance.md).

**Trust the ratios, not the microseconds.** A ratio compares what ran in the same seconds; in its
bracket are the quartiles over the rounds. *floor* is a C program that only calls `epoll_wait`,
`recv` and `send`. Each server is one process on one core with one thread unless its name ends in a
number; the client has the other core. Lower is better, apart from *req/s*.

"""

REMARKS = """\
## What to know when reading

- uWSGI and pyruvate get a new connection for each request and pay for accepting it. With
  keep-alive, uWSGI gives each connection a thread of its own for as long as it is open; pyruvate
  1.6.1 did not answer the second request on a Unix socket.
- *PSS* is the resident memory of all processes of the server, shared pages by their share, right
  after the load. udsrv's includes a master and a supervisor that serve nothing.
- *Core busy* well below 100 % means that the client could not keep the server busy, or that
  something else had the core. CPU time per request suffers little from that, *req/s* and the
  percentiles much.
- The access logs are compared in each server's own format, which differ in what they hold.
- *max* is the median over the rounds of each round's longest wait.
"""


def read_results(path: Path) -> report.Results:
    """Read what run.py left.

    Raises:
        FileNotFoundError: nothing was measured yet.
    """
    raw = json.loads(path.read_text())
    raw["slices"] = [report.Slice(**one) for one in raw["slices"]]
    return report.Results(**raw)


def page(results: report.Results) -> str:
    """Return the whole page; pure."""
    about = results.machine
    parts = [INTRODUCTION + machine_table(results, about)]
    goals = report.verdicts(results)
    if len(goals) > 1:
        parts.append(f"## Targets\n\n{report.markdown(goals)}\n")
    if overview_rows(results):
        parts.append("![Ratios to udsrv](benchmarks/overview.svg)\n")
    for name in results.scenarios:
        scenario = BY_NAME[name]
        parts.append(
            f"## {scenario.title}\n\n{scenario.what}\n\n"
            f"![{scenario.title}](benchmarks/{name}.svg)\n\n"
            f"{report.markdown(report.rows(results, scenario))}\n"
        )
    parts.append(REMARKS)
    return "\n".join(parts)


def machine_table(results: report.Results, about: dict[str, str]) -> str:
    """Say where, when, with what and how."""
    rows = [["", ""], *([key, value] for key, value in about.items())]
    rows.append(["rounds", f"{results.rounds} of {results.seconds:g} s for each server"])
    rows.append(["client", "16 connections, one request at a time on each"])
    rows.append(["command", f"`make bench-all`, that is `{results.command}`"])
    return "\n".join(["| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows[1:])]) + "\n"


def plot(results: report.Results, scenario: Scenario) -> str:
    """Draw one scenario."""
    slices = results.of(scenario.name)
    bars = []
    for server in scenario.servers:
        own = report.figures(slices, server)
        if own is None:
            continue
        if scenario.idle_connections:
            spread = [s.growth_bytes / report.MIB for s in slices if s.server == server]
            value, title = own.growth_mib, "growth for 10,000 connections, MiB"
        elif scenario.has_sleeper:
            spread = [s.max_us / 1000 for s in slices if s.server == server]
            value, title = own.max_us / 1000, "longest wait of the others, ms"
        else:
            spread = report.costs_us([s for s in slices if s.server == server])
            value, title = own.cpu_us, "CPU µs per request"
        low, _, high = report.quartiles(spread)
        bars.append(plots.Bar(server, value, low, high))
    heading = f"{scenario.title}: {title}" if bars else f"{scenario.title}: nothing measured"
    return plots.bars(heading, bars)


def overview_rows(results: report.Results) -> list[plots.Marks]:
    """What the peers cost, as multiples of udsrv with one thread, where both were measured."""
    rows = []
    for name in results.scenarios:
        slices = results.of(name)
        marks = [
            (server, found.value)
            for server in ("floor", *KEEP_ALIVE)
            if (found := report.ratio(slices, server, "udsrv-1")) is not None
        ]
        if len(marks) > 2 and not BY_NAME[name].idle_connections:
            rows.append(plots.Marks(name, tuple(marks)))
    return rows


def main() -> int:
    """Write the page and the plots."""
    parser = argparse.ArgumentParser(prog="benchmarks/document.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=prepare.RESULTS, metavar="FILE")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR")
    chosen = parser.parse_args()
    if not chosen.results.exists():
        print(
            f"benchmark: {chosen.results} does not exist: run `make bench` first", file=sys.stderr
        )
        return 2
    results = read_results(chosen.results)
    pictures = chosen.docs / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    for name in results.scenarios:
        (pictures / f"{name}.svg").write_text(plot(results, BY_NAME[name]))
    if rows := overview_rows(results):
        title = "CPU per request as a multiple of udsrv's (logarithmic; right is dearer)"
        names = ("floor", *KEEP_ALIVE)
        (pictures / "overview.svg").write_text(plots.ratios(title, rows, names))
    (chosen.docs / "benchmarks.md").write_text(page(results))
    print(f"wrote {chosen.docs / 'benchmarks.md'} and {pictures}/*.svg", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
