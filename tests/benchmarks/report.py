"""The results as Markdown, as JSON, and, where there is matplotlib, as charts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from peers import SYSTEMS
from results import Results
from workloads import WORKLOADS, Row, Workload

NONE = "–"


def write(results: Results, folder: Path) -> list[Path]:
    """Write everything into `folder`; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    table, raw = folder / "results.md", folder / "results.json"
    drawn: list[Path] = []
    try:
        import charts
    except ImportError as error:
        results.notes.append(f"no charts: {error}")
    else:
        drawn = charts.draw(results, folder)
    # Last, so that the notes are all in them.
    table.write_text(markdown(results) + "\n")
    raw.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return [table, raw, *drawn]


def rows(results: Results, keys: int) -> Iterator[tuple[Workload, Row]]:
    """Return the measured rows, in the order of the tables."""
    for workload in WORKLOADS.values():
        for row in workload.rows:
            if row.name in results.samples[keys]:
                yield workload, row


def markdown(results: Results) -> str:
    """Return all tables."""
    parts = ["# Benchmark results", _conditions(results)]
    if len(results.samples) > 1:
        parts.append(_growth(results))
    else:
        (keys,) = results.samples
        parts += [_ratios(results, keys), _medians(results, keys), _systems(results)]
    return "\n\n".join(parts)


def _conditions(results: Results) -> str:
    about = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    keys = " to ".join(f"{keys:,}" for keys in sorted({min(results.samples), max(results.samples)}))
    lines = [
        f"{keys} random keys of 16 bytes, small dicts as values unless said otherwise; {results.rounds} rounds.",
        f"Machine: {about}.",
        f"A system whose run would take more than {results.seconds:g} s does fewer operations.",
        *results.notes,
    ]
    return "  \n".join(lines)


def _ratios(results: Results, keys: int) -> str:
    """Return each system's time as a multiple of raw's time, and raw's time."""
    systems = [name for name in results.versions if name not in ("raw", "raw1k")]
    lines = []
    for workload, row in rows(results, keys):
        if workload.baseline is None:
            continue
        cells = [_ratio(results.ratio(keys, row.name, name, workload.baseline)) for name in systems]
        raw = _amount(results.median(keys, row.name, workload.baseline), row.unit)
        lines.append([row.label, workload.baseline, raw, *cells])
    heads = ["workload", "raw", "raw's", *(SYSTEMS[name].label for name in systems)]
    title = "**Time as a multiple of raw py-lmdb's, 1.00 being as fast** (rates too: raw's rate through the system's)"
    return f"{title}\n\n{_table(heads, lines)}"


def _medians(results: Results, keys: int) -> str:
    systems = list(results.versions)
    lines = [
        [row.label, *(_amount(results.median(keys, row.name, name), row.unit) for name in systems)]
        for _, row in rows(results, keys)
    ]
    return f"**Medians for one operation**\n\n{_table(['workload', *(SYSTEMS[name].label for name in systems)], lines)}"


def _systems(results: Results) -> str:
    lines = [[SYSTEMS[name].label, version, SYSTEMS[name].on_disk] for name, version in results.versions.items()]
    return _table(["system", "version", "on the disk once `close()` has returned"], lines, numbers=False)


def _growth(results: Results) -> str:
    """Return how the cost of an operation grows with the number of keys, beside raw's."""
    lines = []
    sizes = sorted(results.samples)
    for workload, row in rows(results, sizes[0]):
        baseline = workload.baseline or "raw"
        for name in results.versions:
            values = [results.median(keys, row.name, name) for keys in sizes]
            grown = values[-1] / values[0] if values[0] and values[-1] else None
            ratios = [_ratio(results.ratio(keys, row.name, name, baseline)) for keys in sizes]
            cells = [_amount(value, row.unit) for value in values]
            if name != baseline:
                cells = [f"{cell} ({ratio})" for cell, ratio in zip(cells, ratios)]
            lines.append([row.label, SYSTEMS[name].label, *cells, _ratio(grown)])
    heads = ["workload", "system", *(f"{keys:,} keys" for keys in sizes), "last ÷ first"]
    return f"**Medians for one operation, and in brackets the multiple of raw's**\n\n{_table(heads, lines)}"


def _table(heads: list[str], lines: Iterable[list[str]], numbers: bool = True) -> str:
    rule = ["---", *("--:" if numbers else "---" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, rule, *lines])


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return NONE
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return NONE
    if unit == "":
        return f"{value:.2f}"
    if unit == "B":
        return f"{value:.0f} B"
    if unit == "1/s":
        return f"{1 / value:,.0f}/s" if value else NONE
    factor, name = (1e9, "ns") if value < 1e-5 else (1e6, "µs") if value < 1e-2 else (1e3, "ms")
    number = value * factor
    return f"{number:,.0f} {name}" if number >= 100 else f"{number:.3g} {name}"
