"""How the costs grow: memory and processor time over streams, channels, subscribers, event size and heartbeats."""

from .machine import ROOT, say
from .measure import merged, run_load
from .plot import Plot
from .servers import SERVERS, Place

FOLDER = ROOT / "docs/plots"


def draw_all(place: Place, quick: bool) -> None:
    """Measures every curve once and writes its picture. `quick` leaves out the large sizes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for curve in (streams, channels, subscribers, sizes, heartbeats):
        for name, plot in curve(place, quick).items():
            path = FOLDER / f"{name}.svg"
            path.write_text(plot.svg())
            say(f"wrote {path}")


def measured(place: Place, name: str, protocol: str, *load: str, publishes: bool = False, **options) -> dict:
    """One run against a fresh server."""
    with SERVERS[name](place, **options) as server:
        more = server.stream + (server.publish if publishes else [])
        report = run_load(server.connect(protocol), [*merged(load), *more])
    say(f"{name} {protocol} {' '.join(load)}: {report}")
    return report


def streams(place: Place, quick: bool) -> dict[str, Plot]:
    """Over the number of streams."""
    counts = [500, 1000, 2000] if quick else [1000, 5000, 10_000, 19_000]
    lines = {
        "Sidestream": ("sidestream", "h1"),
        "Sidestream, TLS": ("sidestream", "h1-tls"),
        "Sidestream, TLS, h2": ("sidestream", "h2"),
        "nchan": ("nchan", "h1"),
        "nchan, TLS": ("nchan", "h1-tls"),
    }
    memory, accept, fanout = {}, {}, {}
    for line, (name, protocol) in lines.items():
        for count in counts:
            load = ("--streams", str(count), "--per-connection", "1", "--events", "10", "--rate", "2")
            report = measured(place, name, protocol, *load, publishes=True)
            memory.setdefault(line, []).append((count, report["open"]["memory_after"] / 1024))
            accept.setdefault(line, []).append((count, report["open"]["cpu_us_each"]))
            fanout.setdefault(line, []).append((count, report["publish"]["cpu_us_a_delivery"]))
    note = "one connection for each stream; all of the server's processes"
    return {
        "memory-streams": Plot("Memory of the server with idle streams", note, "streams", "MiB (PSS)", memory),
        "accept-streams": Plot("Processor time to open a stream", note, "streams", "us a stream", accept),
        "fanout-streams": Plot("Processor time of a delivery, one event to all", note, "streams", "us a delivery", fanout),
    }


def channels(place: Place, quick: bool) -> dict[str, Plot]:
    """Over the number of channels with history, of which most have no subscriber."""
    counts = [10, 100, 1000] if quick else [10, 100, 1000, 10_000, 100_000]
    memory, cpu = {}, {}
    for line, name in {"Sidestream": "sidestream", "nchan": "nchan"}.items():
        for count in counts:
            events = max(count, 10_000)
            load = ("--streams", "10", "--users", str(count), "--to", "each", "--events", str(events), "--publishers", "8")
            report = measured(place, name, "h1", *load, publishes=True)
            used = report["publish"]["memory_after"] - report["open"]["memory_after"]
            memory.setdefault(line, []).append((count, max(used, 0) / 1024))
            cpu.setdefault(line, []).append((count, report["publish"]["cpu_us_an_event"]))
    note = "10,000 events of 64 B spread over the channels, at least one each, all kept"
    return {
        "memory-channels": Plot("Memory of history", note, "channels", "MiB (PSS)", memory),
        "cpu-channels": Plot("Processor time of a publication", note, "channels", "us an event", cpu),
    }


def subscribers(place: Place, quick: bool) -> dict[str, Plot]:
    """Over the subscribers of a channel, with as many deliveries in all."""
    total = 1000 if quick else 10_000
    cpu = {}
    for line, name in {"Sidestream": "sidestream", "nchan": "nchan"}.items():
        each = 1
        while each <= total:
            users = total // each
            events = users * 10
            load = ("--streams", str(total), "--users", str(users), "--to", "each", "--events", str(events))
            report = measured(place, name, "h1", *load, "--rate", str(events / 5), "--publishers", "8", publishes=True)
            cpu.setdefault(line, []).append((each, report["publish"]["cpu_us_a_delivery"]))
            each *= 10
    note = f"{total:,} streams, 10 events to each over 5 s; publications included"
    return {"cpu-subscribers": Plot("Processor time of a delivery", note, "subscribers of a channel", "us a delivery", cpu)}


def sizes(place: Place, quick: bool) -> dict[str, Plot]:
    """Over the size of an event."""
    cpu, p99 = {}, {}
    streams = 200 if quick else 1000
    for line, (name, protocol) in {
        "Sidestream": ("sidestream", "h1"),
        "Sidestream, TLS": ("sidestream", "h1-tls"),
        "nchan": ("nchan", "h1"),
        "nchan, TLS": ("nchan", "h1-tls"),
    }.items():
        for size in (64, 256, 1024, 4096, 16_384, 65_536):
            load = ("--streams", str(streams), "--events", "20", "--rate", "4", "--size", str(size))
            options = {"backlog": "1MiB"} if name == "sidestream" else {}
            report = measured(place, name, protocol, *load, publishes=True, **options)
            cpu.setdefault(line, []).append((size, report["publish"]["cpu_us_a_delivery"]))
            p99.setdefault(line, []).append((size, report["publish"]["delivery_us"]["p99"] / 1000))
    note = f"one event to {streams:,} streams, four times a second"
    return {
        "cpu-size": Plot("Processor time of a delivery", note, "bytes of data", "us a delivery", cpu, log_y=True),
        "latency-size": Plot("Latency to the last streams (p99)", note, "bytes of data", "ms", p99, log_y=True),
    }


def heartbeats(place: Place, quick: bool) -> dict[str, Plot]:
    """Over the time between heartbeats."""
    count, hold = (1000, 5) if quick else (10_000, 30)
    line = []
    for every in (1, 3, 10, 30):
        heartbeat = f'{{ every = "{every}s", comment = "" }}'
        # Streams are opened at once, so the first heartbeats come together; the hold begins after them.
        load = ("--streams", str(count), "--hold", str(hold))
        report = measured(place, "sidestream", "h1", *load, heartbeat=heartbeat)
        line.append((every, report["hold"]["cpu_percent"]))
    report = measured(place, "sidestream", "h1", "--streams", str(count), "--hold", str(hold), heartbeat="false")
    quiet = [(every, report["hold"]["cpu_percent"]) for every, _ in line]
    note = f"{count:,} idle streams, held for {hold} s"
    return {
        "cpu-heartbeats": Plot(
            "Processor time of idle streams", note, "seconds between heartbeats", "% of a core", {"heartbeats": line, "none": quiet}
        )
    }
