"""Charts of the results, each for a light and a dark page.

Bars show the ratios. Lines show the growth with the number of keys, and durable writes by the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from peers import SYSTEMS
from results import Results
from systems import DURABLE, THREADS
from workloads import WORKLOADS

# By chart: the workloads that it shows, a panel each.
CHARTS = {
    "reads": ("get", "contains", "get_absent", "get_many", "items", "keys", "len", "threads", "open"),
    "writes": ("put", "put_as_one", "put_many", "update", "growth", "setdefault", "mix", "pop", "delete"),
    "large-values": ("put_arrays", "get_arrays", "get_large", "get_mapped"),
}
OURS = ("store", "tuned", "ordered")
COLUMNS = 3
MARKERS = "osD^vPX*<>"


@dataclass(frozen=True)
class Theme:
    name: str
    text: str
    line: str
    ours: str
    others: str


THEMES = (
    Theme("light", text="#1f2328", line="#d1d9e0", ours="#0969da", others="#9aa4af"),
    Theme("dark", text="#e6edf3", line="#3d444d", ours="#4493f8", others="#6e7681"),
)


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the charts of what was measured into `folder`; the files written."""
    # The same results give the same files: no random names, no date (see `_save`).
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
    written = []
    for theme in THEMES:
        if len(results.samples) > 1:
            written.append(_scale(results, folder, theme))
            continue
        (keys,) = results.samples
        for chart, names in CHARTS.items():
            shown = [name for name in names if name in results.samples[keys] and _ratios(results, keys, name)]
            if shown:
                written.append(_bars(results, keys, folder, chart, shown, theme))
        if any(f"durable_{number}" in results.samples[keys] for number in THREADS):
            written.append(_threads(results, keys, folder, theme))
    return written


def _ratios(results: Results, keys: int, name: str) -> dict[str, float]:
    baseline = WORKLOADS[name].baseline
    ratios = {system: results.ratio(keys, name, system, baseline) for system in results.versions}
    return {system: ratio for system, ratio in ratios.items() if ratio is not None and system not in ("raw", "raw1k")}


def _bars(results: Results, keys: int, folder: Path, chart: str, names: list[str], theme: Theme) -> Path:
    systems = [name for name in results.versions if name not in ("raw", "raw1k")]
    lines = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(11, 0.5 + lines * (0.7 + 0.19 * len(systems))), layout="constrained")
    grid = list(figure.subplots(lines, COLUMNS, sharey=True, squeeze=False).flat)
    for axes, name in zip(grid, names):
        _panel(axes, _ratios(results, keys, name), systems, theme)
        workload = WORKLOADS[name]
        title = fill(f"{workload.rows[0].label.replace('`', '')} [{workload.baseline}]", 42)
        axes.set_title(title, color=theme.text, fontsize=9, loc="left")
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    figure.suptitle(
        "time as a multiple of raw py-lmdb's (logarithmic; shorter is faster)", color=theme.text, fontsize=10
    )
    return _save(figure, folder / f"{chart}-{theme.name}.svg")


def _panel(axes: Axes, ratios: dict[str, float], systems: list[str], theme: Theme) -> None:
    axes.set_xscale("log")
    for place, system in enumerate(systems):
        if (ratio := ratios.get(system)) is None:
            axes.text(1, place, " –", va="center", color=theme.text, fontsize=8)
            continue
        axes.barh(place, ratio - 1, left=1, color=theme.ours if system in OURS else theme.others, height=0.7)
        shown = f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"
        axes.text(max(ratio, 1), place, f" {shown}", va="center", color=theme.text, fontsize=8)
    axes.axvline(1, color=theme.text, linewidth=0.8)
    axes.set_yticks(range(len(systems)), [SYSTEMS[name].label for name in systems])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="y", length=0)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_xlim(min(0.5, *ratios.values()) / 1.1, max(10, *ratios.values()) * 4)
    _paint(axes, theme)


def _scale(results: Results, folder: Path, theme: Theme) -> Path:
    sizes = sorted(results.samples)
    names = [name for name in WORKLOADS if name in results.samples[sizes[0]]]
    lines = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(11, 0.5 + 2.4 * lines), layout="constrained")
    grid = list(figure.subplots(lines, COLUMNS, squeeze=False).flat)
    for axes, name in zip(grid, names):
        for system in results.versions:
            values = [(results.median(keys, name, system) or 0) * 1e9 for keys in sizes]
            color = theme.ours if system in OURS else theme.others
            style = "--" if system == "tuned" else "-"
            axes.plot(sizes, values, style, marker="o", color=color, label=SYSTEMS[system].label)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(WORKLOADS[name].rows[0].label.replace("`", ""), color=theme.text, fontsize=9, loc="left")
        _paint(axes, theme)
        axes.legend(frameon=False, labelcolor=theme.text, fontsize=8)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    figure.suptitle("nanoseconds for an operation, by number of keys", color=theme.text, fontsize=10)
    return _save(figure, folder / f"scale-{theme.name}.svg")


def _threads(results: Results, keys: int, folder: Path, theme: Theme) -> Path:
    """Draw the durable writes a second, and the commits for a write where they are counted."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    measured = [system for system in results.versions if not DURABLE & SYSTEMS[system].lacks and system != "raw1k"]
    for system, marker in zip(measured, MARKERS):
        times = [results.median(keys, f"durable_{threads}", system) for threads in THREADS]
        commits = [results.median(keys, f"durable_{threads}_commits", system) for threads in THREADS]
        synced = SYSTEMS[system].each_on_disk == "all"
        label = SYSTEMS[system].label + ("" if synced else ", not synced")
        color = theme.ours if system in OURS else theme.others
        style = "--" if system == "tuned" else "-" if synced else ":"
        for axes, values in ((left, [1 / time if time else None for time in times]), (right, commits)):
            shown = [(threads, value) for threads, value in zip(THREADS, values) if value is not None]
            if shown:
                axes.plot(*zip(*shown), style, marker=marker, color=color, label=label)
    left.set_yscale("log")
    right.set_ylim(0, 1.05)
    for axes, title in ((left, "durable writes a second, by threads (logarithmic)"), (right, "commits for a write")):
        axes.set_xscale("log")
        axes.set_xticks(THREADS, [f"{threads} thread{'' if threads == 1 else 's'}" for threads in THREADS])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(title, color=theme.text, fontsize=9, loc="left")
        _paint(axes, theme)
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:,.0f}")
    left.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False, labelcolor=theme.text)
    return _save(figure, folder / f"threads-{theme.name}.svg")


def _paint(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=theme.text, which="both", labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(theme.line)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    return path
