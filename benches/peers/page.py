"""The table, for a terminal and for docs/benchmarks.md."""

import datetime
from pathlib import Path

from .machine import ROOT
from .rows import ROWS, Figure, Row

PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- figures: written by benches/compare -->", "<!-- end of figures -->"
TITLES = {"sidestream": "Sidestream", "nchan": "nginx + nchan", "haproxy": "HAProxy", "pushpin": "Pushpin"}


def table(figures: dict) -> str:
    """The figures side by side, each the median, with the targets and whether they are reached."""
    head = ["work", "figure", *TITLES.values(), "must", "aim", "reached"]
    lines = [head]
    for row in ROWS:
        if row.name not in figures:
            continue
        title = row.title
        for figure in row.figures:
            found = figures[row.name].get(figure.name, {})
            ours = found.get("sidestream", {}).get("median")
            cells = [cell(found.get(name), ours if name != "sidestream" else None) for name in TITLES]
            must, aim = target(figure, figure.must, figures), target(figure, figure.aim, figures)
            lines.append([title, f"{figure.name}, {figure.unit}", *cells, number(must), number(aim), verdict(figure, ours, must, aim)])
            title = ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [line_of(line, widths) for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def write(figures: dict, machine: list[str], command: str, runs: int) -> Path:
    """Puts the table into the page, between its marks; what people wrote around them stays."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    text = "\n".join(
        [
            BEGIN,
            f"Made on {today} by `{command}`, medians of {runs} interleaved runs. In parentheses: how many times ours it is.",
            "",
            *[f"- {line}" for line in machine],
            "",
            table(figures),
            END,
        ]
    )
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + text + rest.split(END)[1])
    return PAGE


def cell(found: dict | None, ours: float | None) -> str:
    if not found:
        return ""
    value = found["median"]
    ratio = f" ({value / ours:.2g})" if ours and value and ours > 0 else ""
    return number(value) + ratio


def number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def target(figure: Figure, factor: float | None, figures: dict) -> float | None:
    """A target as a number; none if what it is a multiple of was not measured."""
    if factor is None or figure.of is None:
        return factor
    row, name, server = figure.of
    other = figures.get(row, {}).get(name, {}).get(server)
    return other["median"] * factor if other else None


def verdict(figure: Figure, ours: float | None, must: float | None, aim: float | None) -> str:
    if ours is None or must is None and aim is None:
        return ""

    def reached(goal: float | None) -> bool:
        return goal is not None and (ours >= goal if figure.more_is_better else ours <= goal)

    if reached(aim):
        return "aim"
    return "must" if reached(must) else "**no**"


def line_of(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)) + " |"


def names(rows: list[Row]) -> str:
    return "\n".join(f"  {row.name:<18}{row.title}" for row in rows)
