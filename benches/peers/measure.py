"""Runs the load tool against a fresh server, and gathers figures over interleaved runs."""

import json
import statistics
import subprocess

from .machine import LOAD, Failure, say
from .rows import Row
from .servers import OURS, SERVERS, Place

# No measurement takes a tenth of this, in seconds.
LIMIT = 300


def run_load(server, arguments: list[str]) -> dict:
    """One run of the load tool: its report."""
    command = [str(LOAD), *server, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise Failure(done.stderr.strip() or f"the load tool ended with {done.returncode}")
    return json.loads(done.stdout)


def merged(*parts) -> list[str]:
    """Options and their values, of which later ones hold."""
    options = {}
    for part in parts:
        for name, value in zip(part[::2], part[1::2], strict=True):
            options[name] = value
    return [text for pair in options.items() for text in pair]


class Round:
    """One pass over the rows. Rows that need the same run share it."""

    def __init__(self, place: Place, quick: bool):
        self.place = place
        self.quick = quick
        self.done = {}

    def measure(self, row: Row, name: str) -> dict:
        load = merged(row.load, row.quick if self.quick else ())
        key = (name, row.protocol, *load, *row.options.items())
        if key not in self.done:
            with SERVERS[name](self.place, **(row.options if name in OURS else {})) as server:
                more = server.stream if row.streams else []
                more = more + server.publish if row.publishes else more
                self.done[key] = run_load(server.connect(row.protocol), [*load, *more])
        return self.done[key]


def measure_all(rows: list[Row], place: Place, runs: int, quick: bool) -> dict:
    """The medians: by row, figure and server. A run that failed is told and left out."""
    values = {}
    for number in range(1, runs + 1):
        this = Round(place, quick)
        for row in rows:
            for name in row.servers:
                try:
                    report = this.measure(row, name)
                except (Failure, subprocess.TimeoutExpired) as failure:
                    say(f"{row.name} {name}: {failure}")
                    continue
                for failed, count in report.get("failures", []):
                    say(f"{row.name} {name}: {count} x {failed}")
                for figure in row.figures:
                    value = figure.read(report)
                    if value is not None:
                        values.setdefault((row.name, figure.name, name), []).append(value)
                seen = ", ".join(f"{figure.name} {figure.read(report)}" for figure in row.figures)
                say(f"run {number}/{runs} {row.name} {name}: {seen}")
    result = {}
    for (row, figure, name), found in values.items():
        result.setdefault(row, {}).setdefault(figure, {})[name] = {
            "median": statistics.median(found),
            "low": min(found),
            "high": max(found),
        }
    return result
