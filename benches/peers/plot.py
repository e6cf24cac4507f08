"""Line plots as SVG: both axes logarithmic or from zero, few enough lines to name each at its end."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 78, 150, 56, 54
COLOURS = ["#0a7f6f", "#c2571a", "#4a5bc7", "#8a3b8f", "#6b7280"]
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #30363d }
  .title { font-size: 16px; font-weight: 600 }
  .note { fill: #6b7280 }
  .grid { stroke: #e5e7eb }
  .line { fill: none; stroke-width: 2.2; stroke-linejoin: round }
"""


@dataclass
class Plot:
    """What is shown: points (x, y) under the name of each line."""

    title: str
    note: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    log_y: bool = False
    log_x: bool = True

    def svg(self) -> str:
        xs = Axis([x for line in self.lines.values() for x, _ in line], self.log_x, LEFT, WIDTH - RIGHT, exact=True)
        ys = Axis([y for line in self.lines.values() for _, y in line], self.log_y, HEIGHT - BOTTOM, TOP)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{escape(self.title)}</title><style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>',
            text(LEFT, 24, self.title, "title"),
            text(LEFT, 42, self.note, "note"),
        ]
        for value in ys.ticks():
            at = ys.place(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(text(LEFT - 8, at + 4, short(value), anchor="end"))
        for value in xs.ticks():
            parts.append(text(xs.place(value), HEIGHT - BOTTOM + 20, short(value), anchor="middle"))
        parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.x, "note", "middle"))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(f'<g transform="rotate(-90 18 {middle})">{text(18, middle, self.y, "note", "middle")}</g>')
        for (name, line), colour in zip(self.lines.items(), COLOURS, strict=False):
            places = [(xs.place(x), ys.place(y)) for x, y in line]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="line" stroke="{colour}" points="{points}"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>' for x, y in places]
        parts += self.names(ys)
        return "\n".join([*parts, "</svg>", ""])

    def names(self, ys: "Axis") -> list[str]:
        """The lines' names at their ends, pushed apart where they would touch."""
        ends = sorted((ys.place(line[-1][1]), name) for name, line in self.lines.items())
        below = 0.0
        parts = []
        for at, name in ends:
            at = max(at, below)
            below = at + 15
            colour = COLOURS[list(self.lines).index(name) % len(COLOURS)]
            parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{at + 4:.1f}" style="fill:{colour}">{escape(name)}</text>')
        return parts


class Axis:
    """Maps values to places between two ends of the picture."""

    def __init__(self, values: list[float], log: bool, start: float, end: float, exact: bool = False):
        self.log, self.start, self.end = log, start, end
        self.values = sorted(set(values)) if exact else None
        positive = [value for value in values if value > 0] or [1]
        if exact:
            self.low, self.high = min(values), max(values)
        elif log:
            self.low = 10 ** math.floor(math.log10(min(positive)))
            self.high = 10 ** math.ceil(math.log10(max(positive) * 1.001))
        else:
            self.low, self.high = 0, max(positive) * 1.1
        if self.low == self.high:
            self.high = self.low + 1

    def place(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(number, self.low)) for number in (value, low, high))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.values:
            return self.values
        if self.log:
            return [10**power for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]
        raw = self.high / 5
        unit = 10 ** math.floor(math.log10(raw))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
        return [step * count for count in range(int(self.high / step) + 1)]


def text(x: float, y: float, what: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(what)}</text>'


def short(value: float) -> str:
    if value >= 1024 and value % 1024 == 0:
        return f"{value / 1024:g} Ki"  # sizes, which are powers of two
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"
