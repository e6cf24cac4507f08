"""Samples: what is read every few seconds, one line of CSV each, written as they are taken."""

import csv
import os
import re
from pathlib import Path

from .probes import KINDS, Probes
from .site import Site
from .wire import Client

# Phases of a run: nothing but the probes before the load, the load, nothing but the probes once all of it has gone.
BEFORE, LOAD, AFTER = "before", "load", "after"
# Why a stream may not end in a soak.
UNWANTED = ("drain", "revoked", "store_failed")
EVICTED = ("backlog_full", "history_stalled")
# Columns: what the system says of the process, what Sidestream says of itself, what was done to it, what the load saw.
SYSTEM = ["pss_kib", "anon_kib", "rss_kib", "fds", "threads", "cpu_s", "disk_kib", "machine_load"]
OURS = ["streams", "connections", "idle_to_app", "own_fds", "store_events", "store_bytes", "generation", "evictions", "unwanted_ends", "panics"]
DONE = ["reloads", "reloads_refused", "restarts", "rotations"]
SEEN = ["opened", "resumed", "cut", "requests", "requests_failed", "opens_refused", "asked_in_vain", "tab_errors", "published"]
SEEN += ["publish_failed", "received", "lost", "twice", "resets", "expired", "bursts", "kicks", "http2"]
COLUMNS = ["at_s", "phase", *SYSTEM, *OURS, *DONE, *SEEN, "load_cpu_s", "probes_failed", "held_us", *KINDS]
TICKS = os.sysconf("SC_CLK_TCK")


class Writer:
    """Appends samples to a file."""

    def __init__(self, path: Path):
        self.file = path.open("w", newline="")
        self.csv = csv.DictWriter(self.file, COLUMNS)
        self.csv.writeheader()

    def add(self, sample: dict) -> None:
        lists = {kind: " ".join(str(value) for value in sample[kind]) for kind in KINDS}
        self.csv.writerow(sample | lists)
        self.file.flush()


def read(path: Path) -> list[dict]:
    """The samples of a file, without a last line that was broken off."""
    samples = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if None in row.values():
                break
            sample = {name: float(text) for name, text in row.items() if name not in KINDS and name != "phase"}
            sample |= {kind: [int(value) for value in row[kind].split()] for kind in KINDS}
            samples.append(sample | {"phase": row["phase"]})
    return samples


async def take(at: float, phase: str, site: Site, probes: Probes, counts: dict, load: int | None) -> dict:
    """A sample, now."""
    held = probes.held
    sample = {"at_s": round(at, 1), "phase": phase, "held_us": held, "probes_failed": probes.failed}
    sample |= probes.take() | system(site.process.pid) | await ours(site) | {name: counts.get(name, 0) for name in SEEN}
    # Those that are left are listeners, files, and what requests under way have: the same number for hours.
    sample["own_fds"] = sample["fds"] - sample["connections"] - sample["idle_to_app"]
    sample |= {"disk_kib": site.disk() // 1024, "machine_load": os.getloadavg()[0]}
    sample |= {"reloads": site.reloads, "reloads_refused": site.refused, "rotations": site.rotations}
    return sample | {"restarts": site.restarts, "load_cpu_s": cpu(load) if load else 0.0}


def system(pid: int) -> dict:
    """What the system says of a process."""
    memory = sums(Path(f"/proc/{pid}/smaps_rollup"), ("Pss", "Anonymous", "Rss"))
    return {
        "pss_kib": memory["Pss"],
        "anon_kib": memory["Anonymous"],
        "rss_kib": memory["Rss"],
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "cpu_s": cpu(pid),
    }


def sums(path: Path, names: tuple[str, ...]) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {parts[0][:-1]: int(parts[1]) for parts in lines if parts[0][:-1] in names}


def cpu(pid: int) -> float:
    """Seconds that a process has run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


async def ours(site: Site) -> dict:
    """What Sidestream says of itself."""
    client = Client(site.admin())
    _, body = await client.ask("GET", "/metrics")
    client.close()
    values: dict[str, float] = {}
    for name, value in re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", body.decode(), re.MULTILINE):
        values[name] = float(value)
    closed = {reason: values[f'sidestream_streams_closed_total{{reason="{reason}"}}'] for reason in UNWANTED + EVICTED}
    return {
        "streams": values["sidestream_streams"],
        "connections": values["sidestream_connections"],
        "idle_to_app": sum(values[name] for name in values if name.startswith("sidestream_upstream_idle_connections")),
        "store_events": values["sidestream_store_events"],
        "store_bytes": values["sidestream_store_bytes"],
        "generation": values["sidestream_config_generation"],
        "evictions": sum(closed[reason] for reason in EVICTED),
        "unwanted_ends": sum(closed[reason] for reason in UNWANTED),
        "panics": values["sidestream_panics_total"],
    }
