"""The verdict: what the samples say, as a table, and whether memory, descriptors and latency were flat."""

from dataclasses import dataclass
from statistics import fmean, median

from . import samples
from .probes import APP, ECHO, REQUEST, STREAM

# What is left out at the beginning of the load, in seconds, and of a short run as a part of it: caches and history fill.
WARM_UP, WARM_UP_PART = 300.0, 0.25
# By how much memory may be more in the last quarter than in the first: a part of it, and KiB by which it goes up and down over
# minutes anyway, as the allocator takes and gives back what each worker has. At rest it has given back what it can: there may
# be no more after the load than in the first quarter of it.
MEMORY_PART, MEMORY_SLACK = 0.05, 2048
# What the engine of a store on disk may have more of at any time: 8 MiB for each kind of what it keeps, which are written to
# files when they are full. At a modest load that takes hours.
ENGINE = 6 * 8 * 1024
# By how many descriptors, descriptors of its own and threads the last quarter may have more. The number of streams goes up and
# down by so much, and requests are under way.
MORE = {"fds": 8, "own_fds": 2, "threads": 2}
# How many descriptors of its own there may be more at rest after the load than before: each worker opens the folder of the files
# route when it is first asked for one of them.
FDS_LEFT = 4
# How many events there may be then: a minute of those that the probe itself publishes, and some.
EVENTS_LEFT = 330
# How many times as long the last quarter's probes may take as the first's, by the clock or measured in their controls: on a
# machine that gets busier the first is more, on one that gets quieter the second.
P50_TIMES, P99_TIMES = 1.3, 2.0
# How many probes of a kind a quarter must have for its p99 to be judged; that of few is a matter of luck.
ENOUGH = 1000
# What may not happen at all.
NEVER = {
    "requests_failed": "requests failed",
    "probes_failed": "probes failed",
    "opens_refused": "streams refused",
    "tab_errors": "streams that were no HTTP",
    "publish_failed": "publications refused",
    "lost": "events lost",
    "twice": "events twice",
    "resets": "resets",
    "unwanted_ends": "streams cut by a reload or the store",
    "panics": "panics",
}
# What must have happened, or the run says nothing.
HAPPENED = {
    "opened": "streams opened",
    "resumed": "of them with a last id",
    "http2": "over HTTP/2, with a request",
    "requests": "requests",
    "published": "events published",
    "received": "events received",
    "bursts": "bursts",
    "evictions": "slow readers evicted",
    "expired": "tokens that expired",
    "kicks": "users disconnected",
    "reloads": "reloads",
    "reloads_refused": "reloads of a file with a mistake",
    "restarts": "restarts of the app",
    "rotations": "rotations of the log",
    "asked_in_vain": "502 to a stream, the app that knows the user being away",
}
MAY_BE_NONE = {"http2", "restarts", "rotations", "reloads_refused", "asked_in_vain"}


@dataclass
class Row:
    """A line of the table; `is_flat` is nothing for a line that is only told."""

    name: str
    first: float
    middle: float
    last: float
    slope: float
    bound: float | None = None
    # Whether something else says that it is flat.
    is_excused: bool = False

    @property
    def is_flat(self) -> bool:
        return self.bound is None or self.last <= self.bound or self.is_excused


class Verdict:
    """What came of a run, by its samples."""

    def __init__(self, taken: list[dict]):
        load = [sample for sample in taken if sample["phase"] == samples.LOAD]
        if len(load) < 12:
            raise ValueError("there are not a dozen samples of the load yet")
        self.final = taken[-1]
        self.rest = [[s for s in taken if s["phase"] == phase] for phase in (samples.BEFORE, samples.AFTER)]
        begun, over = load[0]["at_s"], load[-1]["at_s"]
        self.warm_up = min(WARM_UP, (over - begun) * WARM_UP_PART)
        self.taken = [sample for sample in load if sample["at_s"] >= begun + self.warm_up]
        self.minutes = (over - begun) / 60
        self.rows = [*self.sizes(), *self.rates(load), *self.latencies()]

    def quarter(self, number: int) -> list[dict]:
        count = len(self.taken) / 4
        return self.taken[round(count * number) : round(count * (number + 1))]

    def sizes(self) -> list[Row]:
        """What the process holds."""
        rows = []
        for name, key, unit in (
            ("PSS, MiB", "pss_kib", 1024),
            ("anonymous memory, MiB", "anon_kib", 1024),
            ("RSS, MiB", "rss_kib", 1024),
            ("descriptors", "fds", 1),
            ("of its own, without connections", "own_fds", 1),
            ("threads", "threads", 1),
            ("streams", "streams", 1),
            ("events in history", "store_events", 1),
            ("folder of the store, MiB", "disk_kib", 1024),
        ):
            # Of descriptors the mean: those of a listener that every other reload takes away would make a median jump.
            figure = fmean if key in MORE else median
            row = self.row(name, lambda part, figure=figure, key=key, unit=unit: figure(s[key] / unit for s in part))
            row.slope = slope([(s["at_s"] / 3600, s[key] / unit) for s in self.taken])
            if unit == 1024 and key != "disk_kib":
                row.bound = row.first * (1 + MEMORY_PART) + (MEMORY_SLACK + self.engine()) / 1024
            elif key in MORE:
                row.bound = row.first + MORE[key]
            rows.append(row)
        return rows

    def engine(self) -> int:
        return ENGINE if self.final["disk_kib"] else 0

    def rates(self, load: list[dict]) -> list[Row]:
        """What the processor spends, and what for."""

        def share(key: str):
            return lambda part: 100 * (part[-1][key] - part[0][key]) / max(part[-1]["at_s"] - part[0]["at_s"], 1)

        return [
            self.row("CPU of Sidestream, % of a core", share("cpu_s")),
            self.row("CPU of the load, % of a core", share("load_cpu_s")),
            self.row("load average of the machine", lambda part: median(s["machine_load"] for s in part)),
        ]

    def latencies(self) -> list[Row]:
        """What probes waited for, and that by the controls."""
        rows, clock = [], {}
        for name, key in (("probe of a stream", STREAM), ("echo", ECHO), ("probe of a request", REQUEST), ("the app itself", APP)):
            for percent in (50, 99):
                row = self.row(f"{name} p{percent}, ms", lambda part, k=key, p=percent: percentile(part, k, p) / 1000)
                clock[key, percent] = row
                rows.append(row)
        for name, key, control in (("stream / echo", STREAM, ECHO), ("request / the app itself", REQUEST, APP)):
            for percent, times in ((50, P50_TIMES), (99, P99_TIMES)):
                row = self.row(
                    f"{name}, p{percent}",
                    lambda part, k=key, c=control, p=percent: percentile(part, k, p) / percentile(part, c, p),
                )
                if percent == 50 or sum(len(s[key]) for s in self.quarter(0)) >= ENOUGH:
                    row.bound = row.first * times
                    row.is_excused = clock[key, percent].last <= clock[key, percent].first * times
                rows.append(row)
        return rows

    def row(self, name: str, figure) -> Row:
        quarters = [figure(self.quarter(number)) for number in range(4)]
        hours = [median(s["at_s"] for s in self.quarter(number)) / 3600 for number in range(4)]
        trend = slope(list(zip(hours, quarters, strict=True)))
        return Row(name, quarters[0], figure(self.taken), quarters[3], trend)

    def failures(self) -> list[str]:
        """Why it has not passed; nothing if it has."""
        found = [f"{row.name} is not flat: {cell(row.last)}, bound {cell(row.bound)}" for row in self.rows if not row.is_flat]
        found += [f"{words}: {self.final[key]:.0f}" for key, words in NEVER.items() if self.final[key]]
        found += [f"no {words}" for key, words in HAPPENED.items() if not self.final[key] and key not in MAY_BE_NONE]
        if self.final["generation"] != self.final["reloads"] + 1:
            found.append(f"generation {self.final['generation']:.0f} after {self.final['reloads']:.0f} reloads")
        before, after = self.rest
        if before and after:
            was, left = before[-1], after[-1]
            held, bound = left["anon_kib"] / 1024, self.rows[1].first + self.engine() / 1024
            if held > bound:
                found.append(f"anonymous memory at rest after the load: {cell(held)} MiB, bound {cell(bound)}")
            for key, bound in (("own_fds", was["own_fds"] + FDS_LEFT), ("streams", was["streams"]), ("store_events", EVENTS_LEFT)):
                if left[key] > bound:
                    found.append(f"{key} at rest after the load: {left[key]:.0f}, {was[key]:.0f} before it")
        return found

    def text(self) -> str:
        """The whole as Markdown."""
        lines = ["| what | first quarter | all | last quarter | slope an hour | bound | |", "|---|--:|--:|--:|--:|--:|---|"]
        for row in self.rows:
            bound = cell(row.bound) if row.bound is not None else ""
            flat = "" if row.bound is None else "flat" if row.is_flat else "NOT FLAT"
            cells = [row.name, cell(row.first), cell(row.middle), cell(row.last), f"{row.slope:+.2f}", bound, flat]
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", "| what happened | how often | what may not | how often |", "|---|--:|---|--:|"]
        done = [(words, f"{self.final[key]:,.0f}") for key, words in HAPPENED.items()]
        never = [(words, f"{self.final[key]:,.0f}") for key, words in NEVER.items()]
        never += [("", "")] * (len(done) - len(never))
        lines += ["| " + " | ".join([*one, *other]) + " |" for one, other in zip(done, never, strict=True)]
        before, after = self.rest
        if before and after:
            lines += ["", "| at rest | before the load | after it |", "|---|--:|--:|"]
            kept = [("PSS, MiB", "pss_kib", 1024), ("anonymous memory, MiB", "anon_kib", 1024), ("descriptors", "fds", 1)]
            kept += [("of its own, without connections", "own_fds", 1)]
            kept += [("threads", "threads", 1), ("streams", "streams", 1), ("events in history", "store_events", 1)]
            for words, key, unit in kept:
                lines.append(f"| {words} | {cell(before[-1][key] / unit)} | {cell(after[-1][key] / unit)} |")
        failures = self.failures()
        passed = "passed" if not failures else "FAILED: " + "; ".join(failures)
        lines += ["", f"{self.minutes:.0f} minutes of load, of which the first {self.warm_up / 60:.1f} are left out: {passed}"]
        return "\n".join(lines)


def percentile(part: list[dict], key: str, percent: int) -> float:
    values = sorted(value for sample in part for value in sample[key])
    return values[min(len(values) * percent // 100, len(values) - 1)] if values else float("nan")


def slope(points: list[tuple[float, float]]) -> float:
    """How much more in an hour, by least squares."""
    middle_x, middle_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def cell(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
