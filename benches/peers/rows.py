"""The rows of the table: what is run against whom, and which figures are read from it."""

from dataclasses import dataclass, field

Us, Nchan, Pushpin, Haproxy = "sidestream", "nchan", "pushpin", "haproxy"


@dataclass(frozen=True)
class Figure:
    """A figure that a row shows: where the load tool's report has it, and what ours should be."""

    name: str
    unit: str
    path: tuple[str, ...]
    # Ours must reach and aims at this: numbers as they are, or, with `of`, as multiples of another figure of the same
    # runs, named by row, figure and server. Times depend on the machine, so their targets are multiples.
    must: float | None = None
    aim: float | None = None
    of: tuple[str, str, str] | None = None
    more_is_better: bool = False

    def read(self, report: dict) -> float | None:
        value = report
        for key in self.path:
            value = value.get(key) if value else None
        return value


@dataclass(frozen=True)
class Row:
    """One line of work. `load` is what every server gets; `own` what only one of them does differently."""

    name: str
    title: str
    servers: tuple[str, ...]
    figures: tuple[Figure, ...]
    protocol: str = "h1"
    load: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    publishes: bool = False
    streams: bool = True
    options: dict = field(default_factory=dict)


def like_nchan(row: str, name: str, unit: str, path: tuple[str, ...], must: float, aim: float | None, **more) -> Figure:
    """A figure whose targets are multiples of nginx's or nchan's in the same row."""
    return Figure(name, unit, path, must, aim, (row, name, Nchan), **more)


def memory(must, aim):
    return Figure("memory", "KiB a stream", ("open", "kib_each"), must, aim)


def streams(count: int, *more: str) -> tuple[str, ...]:
    return ("--streams", str(count), *more)


LOSSES = Figure("lost", "events", ("publish", "lost"), 0, 0)
PER_SECOND = ("publish", "per_second")
FANOUT = ("--events", "15", "--rate", "1.5")


def requests(name: str, title: str, protocol: str, path: str) -> Row:
    per_connection = ("--connections", "4", "--per-connection", "16") if protocol == "h2" else ("--connections", "64")
    aim = 1.05 if path == "/small" else 1.25
    return Row(
        name,
        title,
        (Us, Nchan, Haproxy),
        (
            like_nchan(name, "requests", "a second", ("requests", "per_second"), 0.9, aim, more_is_better=True),
            like_nchan(name, "CPU", "us a request", ("requests", "cpu_us_each"), 1 / 0.9, 1 / aim),
            Figure("p99", "us", ("requests", "latency_us", "p99")),
        ),
        protocol,
        ("--requests", "4", "--path", path, *per_connection),
        ("--requests", "1"),
        streams=False,
    )


def files(name: str, title: str, protocol: str, path: str) -> Row:
    """Files that the servers read themselves; nginx by sendfile where nothing is encrypted."""
    connections = "64" if path == "/files/small" else "8"
    return Row(
        name,
        title,
        (Us, Nchan),
        (
            like_nchan(name, "requests", "a second", ("requests", "per_second"), 0.9, 1, more_is_better=True),
            like_nchan(name, "CPU", "us a request", ("requests", "cpu_us_each"), 1 / 0.9, 1),
            Figure("p99", "us", ("requests", "latency_us", "p99")),
        ),
        protocol,
        ("--requests", "4", "--path", path, "--connections", connections),
        ("--requests", "1"),
        streams=False,
    )


ROWS = [
    Row("idle-h1", "idle stream, HTTP/1.1", (Us, Nchan, Pushpin), (memory(3, 2),), load=streams(10_000), quick=streams(2_000)),
    Row("idle-tls", "idle stream, TLS, HTTP/1.1", (Us, Nchan), (memory(12, 6),), "h1-tls", streams(5_000), streams(1_000)),
    Row(
        "idle-h2",
        "idle stream, TLS, HTTP/2, a connection each",
        (Us, Nchan),
        (memory(44, 30),),
        "h2",
        streams(5_000, "--per-connection", "1"),
        streams(1_000),
    ),
    Row(
        "idle-h2-shared",
        "idle stream, TLS, HTTP/2, six on a connection",
        (Us, Nchan),
        (memory(None, None),),
        "h2",
        streams(6_000, "--per-connection", "6"),
        streams(1_200),
    ),
    Row(
        "accept",
        "accept and subscribe (ours verifies a JWT)",
        (Us, Nchan, Pushpin),
        (
            like_nchan("accept", "CPU", "us a stream", ("open", "cpu_us_each"), 40 / 33, 25 / 33),
            Figure("streams", "a second", ("open", "per_second")),
        ),
        load=streams(10_000),
        quick=streams(2_000),
    ),
    Row(
        "fanout-h1",
        "one event to 10,000 streams",
        (Us, Nchan, Pushpin),
        (
            like_nchan("fanout-h1", "CPU", "us a delivery", ("publish", "cpu_us_a_delivery"), 6.5 / 9.7, 5.5 / 9.7),
            Figure("p50", "us", ("publish", "delivery_us", "p50")),
            Figure("p99", "us", ("publish", "delivery_us", "p99")),
            LOSSES,
        ),
        load=streams(10_000, *FANOUT),
        quick=streams(2_000),
        publishes=True,
    ),
    Row(
        "fanout-tls",
        "one event to 5,000 streams, TLS",
        (Us, Nchan),
        (
            like_nchan("fanout-tls", "CPU", "us a delivery", ("publish", "cpu_us_a_delivery"), 10 / 13.9, 8.5 / 13.9),
            Figure("p50", "us", ("publish", "delivery_us", "p50")),
            Figure("p99", "us", ("publish", "delivery_us", "p99")),
            LOSSES,
        ),
        "h1-tls",
        streams(5_000, *FANOUT),
        streams(1_000),
        publishes=True,
    ),
    Row(
        "stalled",
        "5,000 readers, and 5,000 beside them that do not read",
        (Us, Nchan),
        (
            Figure("memory at the worst", "KiB", ("stalled", "memory_worst", "server")),
            Figure("memory after", "KiB", ("stalled", "memory_after", "server")),
            Figure("sockets at the worst", "KiB", ("stalled", "memory_worst", "sockets")),
            Figure("sockets after", "KiB", ("stalled", "memory_after", "sockets")),
            Figure("p50 without them", "us", ("publish", "delivery_us", "p50")),
            Figure("p50 with them", "us", ("stalled", "delivery_us", "p50")),
            Figure("p99 without them", "us", ("publish", "delivery_us", "p99")),
            Figure("p99 with them", "us", ("stalled", "delivery_us", "p99")),
            Figure("lost", "events", ("stalled", "lost"), 0, 0),
        ),
        load=streams(10_000, "--stalled", "5000", "--events", "80", "--rate", "4", "--size", "4096"),
        quick=streams(2_000, "--stalled", "1000"),
        publishes=True,
    ),
    Row(
        "each",
        "10,000 users, 5,000 events/s, each to one user",
        (Us, Nchan),
        (
            like_nchan("each", "p50", "us", ("publish", "delivery_us", "p50"), 1, 0.5),
            like_nchan("each", "p99", "us", ("publish", "delivery_us", "p99"), 1, 0.5),
            like_nchan("each", "CPU", "us an event", ("publish", "cpu_us_an_event"), 1, 0.5),
            LOSSES,
        ),
        load=streams(10_000, "--to", "each", "--events", "25000", "--rate", "5000", "--publishers", "8"),
        quick=streams(2_000),
        publishes=True,
    ),
    Row(
        "publish-http",
        "publishing, 32 publishers over HTTP, nobody listens",
        (Us, Nchan),
        (
            like_nchan("publish-http", "published", "a second", PER_SECOND, 40 / 29.3, 60 / 29.3, more_is_better=True),
            Figure("CPU", "us an event", ("publish", "cpu_us_an_event")),
            Figure("ack p99", "us", ("publish", "ack_us", "p99")),
        ),
        load=streams(0, "--events", "150000", "--publishers", "32"),
        quick=("--events", "30000"),
        publishes=True,
    ),
    Row(
        "publish-lines",
        "publishing, one connection of pipelined NDJSON",
        (Us,),
        (
            like_nchan("publish-http", "published", "a second", PER_SECOND, 150 / 29.3, 300 / 29.3, more_is_better=True),
            Figure("CPU", "us an event", ("publish", "cpu_us_an_event")),
        ),
        load=streams(0, "--events", "600000", "--pipeline", "2048"),
        quick=("--events", "100000"),
        publishes=True,
        options={"publish": "lines"},
    ),
    requests("proxy-h1", "proxied 60 B, HTTP/1.1", "h1", "/small"),
    requests("proxy-tls", "proxied 60 B, TLS, HTTP/1.1", "h1-tls", "/small"),
    requests("proxy-h2", "proxied 60 B, TLS, HTTP/2", "h2", "/small"),
    requests("proxy-large-h1", "proxied 64 KiB, HTTP/1.1", "h1", "/large"),
    requests("proxy-large-tls", "proxied 64 KiB, TLS, HTTP/1.1", "h1-tls", "/large"),
    requests("proxy-large-h2", "proxied 64 KiB, TLS, HTTP/2", "h2", "/large"),
    files("file-h1", "file of 1 KiB, HTTP/1.1", "h1", "/files/small"),
    files("file-tls", "file of 1 KiB, TLS, HTTP/1.1", "h1-tls", "/files/small"),
    files("file-large-h1", "file of 10 MiB, HTTP/1.1", "h1", "/files/large"),
    files("file-large-tls", "file of 10 MiB, TLS, HTTP/1.1", "h1-tls", "/files/large"),
]
BY_NAME = {row.name: row for row in ROWS}
