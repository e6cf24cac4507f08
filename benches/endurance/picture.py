"""The plot: memory, descriptors, latency and processor time over the run, one below the other, as SVG."""

from html import escape
from statistics import median

from peers.plot import COLOURS, STYLE, Axis, short, text

from .probes import APP, ECHO, REQUEST, STREAM
from .verdict import percentile

WIDTH, LEFT, RIGHT, TOP = 900, 70, 170, 76
PANEL, GAP = 150, 46
# How many points a line has at most: each stands for the samples of so long a piece of the run.
POINTS = 200


def svg(taken: list[dict], title: str, note: str) -> str:
    """The whole picture."""
    pieces = split(taken)
    panels = [
        ("MiB", False, {
            "PSS": [middle(piece, "pss_kib") / 1024 for piece in pieces],
            "anonymous": [middle(piece, "anon_kib") / 1024 for piece in pieces],
        }),
        ("count", False, {
            "descriptors": [middle(piece, "fds") for piece in pieces],
            "streams": [middle(piece, "streams") for piece in pieces],
            "threads": [middle(piece, "threads") for piece in pieces],
        }),
        ("ms, p50", True, latencies(pieces, 50)),
        ("ms, p99", True, latencies(pieces, 99)),
        ("% of a core", False, {"Sidestream": shares(pieces, "cpu_s"), "the load": shares(pieces, "load_cpu_s")}),
    ]
    height = TOP + len(panels) * (PANEL + GAP) + 12
    times = [piece[-1]["at_s"] / 60 for piece in pieces]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE} .line {{ stroke-width: 1.6 }} .mark {{ stroke: #d9b38c }}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fff"/>',
        text(LEFT, 24, title, "title"),
        text(LEFT, 42, note, "note"),
    ]
    for number, (unit, log, lines) in enumerate(panels):
        top = TOP + number * (PANEL + GAP)
        parts += panel(top, unit, log, lines, times, restarts(taken))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, height - 8, "minutes; marks are restarts of the app", "note", "middle"))
    return "\n".join([*parts, "</svg>", ""])


def panel(top: float, unit: str, log: bool, lines: dict, times: list[float], marks: list[float]) -> list[str]:
    bottom, right = top + PANEL, WIDTH - RIGHT
    ys = Axis([y for line in lines.values() for y in line if y == y], log, bottom, top)
    over = max(times)

    def place(minutes: float) -> float:
        return LEFT + minutes / over * (right - LEFT)

    parts = [text(LEFT, top - 6, unit, "note")]
    parts += [f'<line class="mark" x1="{place(x):.1f}" x2="{place(x):.1f}" y1="{top}" y2="{bottom}"/>' for x in marks]
    for value in ys.ticks():
        at = ys.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(text(LEFT - 8, at + 4, short(value), anchor="end"))
    step = next(size for size in (1, 2, 5, 10, 15, 30, 60, 120, 600) if over / size <= 12 or size == 600)
    parts += [text(place(x), bottom + 16, f"{x}", anchor="middle") for x in range(0, int(over) + 1, step)]
    below = 0.0
    named = sorted(((ys.place(last(line)), name) for name, line in lines.items()))
    for at, name in named:
        at = below = max(at, below)
        below += 15
        colour = COLOURS[list(lines).index(name)]
        parts.append(f'<text x="{right + 10}" y="{at + 4:.1f}" style="fill:{colour}">{escape(name)}</text>')
    for (_, line), colour in zip(lines.items(), COLOURS, strict=False):
        points = " ".join(f"{place(x):.1f},{ys.place(y):.1f}" for x, y in zip(times, line, strict=True) if y == y)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{points}"/>')
    return parts


def latencies(pieces: list[list[dict]], percent: int) -> dict[str, list[float]]:
    names = {"stream": STREAM, "echo": ECHO, "request": REQUEST, "the app itself": APP}
    return {name: [percentile(piece, key, percent) / 1000 for piece in pieces] for name, key in names.items()}


def shares(pieces: list[list[dict]], key: str) -> list[float]:
    """How much of a core was used in each piece."""
    ends = [pieces[0][0], *(piece[-1] for piece in pieces)]
    pairs = zip(ends, ends[1:], strict=False)
    return [max(0.0, 100 * (b[key] - a[key]) / max(b["at_s"] - a["at_s"], 1)) for a, b in pairs]


def restarts(taken: list[dict]) -> list[float]:
    return [b["at_s"] / 60 for a, b in zip(taken, taken[1:], strict=False) if b["restarts"] > a["restarts"]]


def split(taken: list[dict]) -> list[list[dict]]:
    size = max(1, -(-len(taken) // POINTS))
    return [taken[start : start + size] for start in range(0, len(taken), size)]


def middle(piece: list[dict], key: str) -> float:
    return median(sample[key] for sample in piece)


def last(line: list[float]) -> float:
    return next(y for y in reversed(line) if y == y)
