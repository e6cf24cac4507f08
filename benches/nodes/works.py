"""What fleets are given to do, and the figures that are read meanwhile.

Each work yields records: what was done, by which fleet with how many nodes, and figures by name.
"""

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from peers.machine import LOAD, SIDESTREAM, Failure, say
from peers.servers import Place

from . import meters
from .fleet import Fleet, fleet

# No run takes a tenth of this, in seconds.
LIMIT = 120
# How long a node still follows a channel that nobody holds, in seconds, and a little more.
LINGER = 60 + 5
OURS = ("memory", "disk", "redis")


@dataclass(frozen=True)
class Setting:
    place: Place
    quick: bool
    binary: Path = SIDESTREAM

    def fleet(self, kind: str, count: int = 1):
        return fleet(self.place, kind, count, self.binary)

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def record(work: str, on: Fleet, **figures) -> dict:
    return {"work": work, "fleet": on.kind, "nodes": len(on.nodes), "figures": figures}


def publishing(setting: Setting):
    """Nobody listens: publications a second, and what each costs."""
    events = setting.pick(40_000, 8_000)
    for kind in (*OURS, "redis-aof", "nchan", "nchan-redis"):
        with setting.fleet(kind) as on:
            load = ["--streams", "0", "--publishers", "32", "--events", str(events)]
            report, reading = run(on, [*load, *on.publish()])
            yield record("32 publishers over HTTP", on, **published(report, reading, events))


def pipelining(setting: Setting):
    """One connection with more and more in flight, and batches that are one step."""
    for depth in (1, 16, 256, 2048):
        events = setting.pick(60_000 if depth > 1 else 10_000, 4_000)
        for kind in OURS:
            with setting.fleet(kind) as on:
                load = ["--streams", "0", "--publish", "lines", "--pipeline", str(depth), "--events", str(events)]
                report, reading = run(on, [*load, *on.publish()])
                yield record(f"lines of JSON, {depth} in flight", on, **published(report, reading, events))
    for batch in (10, 100):
        calls = setting.pick(40_000, 4_000) // batch
        body = "[" + ",".join(['{"channel":"{channel}","data":"{data}"}'] * batch) + "]"
        for kind in OURS:
            with setting.fleet(kind) as on:
                load = ["--streams", "0", "--publishers", "8", "--events", str(calls), "--body", body]
                report, reading = run(on, [*load, *on.publish()])
                yield record(f"batches of {batch}", on, **published(report, reading, calls * batch))


def latency(setting: Setting):
    """An event to one user each, published at another node than the user's: what the way over Redis adds."""
    streams = setting.pick(10_000, 2_000)
    for rate in (500, 5_000, 0):
        events = rate * setting.pick(4, 2) if rate else setting.pick(40_000, 8_000)
        publishers = 8 if rate else 64
        how_fast = f"{rate:,} events/s" if rate else "as fast as they are acknowledged"
        for kind, count in (("memory", 1), ("disk", 1), ("redis", 1), ("redis", 2), ("nchan", 1), ("nchan-redis", 2)):
            with setting.fleet(kind, count) as on:
                load = ["--streams", str(streams), "--to", "each", "--publishers", str(publishers)]
                load += ["--events", str(events), "--rate", str(rate), *on.streams()]
                report, reading = run(on, [*load, *on.publish(across=True)])
                title = f"{streams:,} users, {how_fast}, each to one user"
                yield record(title, on, **published(report, reading, events))


def scaling(setting: Setting):
    """The same streams and events over one, two and three nodes: each has its share of the deliveries."""
    streams = setting.pick(6_000, 1_500)
    rate = 5
    events = rate * setting.pick(6, 2)
    for kind in ("redis", "nchan-redis"):
        for count in (1, 2, 3):
            with setting.fleet(kind, count) as on:
                load = ["--streams", str(streams), "--events", str(events), "--rate", str(rate), *on.streams()]
                report, reading = run(on, [*load, *on.publish()])
                title = f"one event to {streams:,} streams, {rate}/s"
                yield record(title, on, **published(report, reading, events))


def channels(setting: Setting):
    """A channel for each subscriber: what it costs to come, to be there with one event, and whether all of it goes."""
    streams = setting.pick(10_000, 2_000)
    title = f"{streams:,} channels with a subscriber each"
    load = ["--streams", str(streams), "--to", "each", "--publishers", "8", "--events", str(streams), "--rate", "5000"]
    for kind, count in (("memory", 1), ("redis", 2), ("nchan-redis", 2)):
        with setting.fleet(kind, count) as on:
            for number in (1, 2):
                before = state(on)
                begun = meters.read(on)
                report, reading = run(on, [*load, *on.streams(), *on.publish(across=True)], until=lambda: state(on))
                figures = published(report, reading, streams)
                opened, there = begun.until(reading["begun"]), reading["there"]
                figures["open_per_second"] = round(report["open"]["per_second"])
                figures["open_cpu_us_nodes"] = us(sum(opened.nodes), streams)
                if on.redis:
                    figures["open_cpu_us_redis"] = us(opened.redis, streams)
                    figures["open_commands"] = round(sum(opened.commands.values()) / streams, 2)
                    figures["redis_bytes_a_channel"] = round((there["redis"] - before["redis"]) / streams)
                    figures["subscriptions"] = there["subscriptions"]
                figures["node_bytes_a_channel"] = round((there["nodes"] - before["nodes"]) * 1024 / streams)
                if on.is_ours and on.redis and number == 1 and not setting.quick:
                    say(f"waiting {LINGER} s until nobody follows what nobody holds")
                    time.sleep(LINGER)
                    gone = state(on)
                    figures["subscriptions_left"] = gone["subscriptions"]
                    figures["node_bytes_left"] = round((gone["nodes"] - before["nodes"]) * 1024 / streams)
                yield record(f"{title}, {'the first time' if number == 1 else 'once more'}", on, **figures)


WORKS = {
    "publishing": publishing,
    "pipelining": pipelining,
    "latency": latency,
    "scaling": scaling,
    "channels": channels,
}


def run(on: Fleet, arguments: list[str], until=None) -> tuple[dict, dict]:
    """Runs the load tool. What the fleet did between its two marks comes with its report: as `during`, with the reading
    at the first mark, as `begun`, and what `until` gave at the second one, as `there`."""
    command = [str(LOAD), *arguments, "--json", "--step"]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    limit = threading.Timer(LIMIT, child.kill)
    limit.start()
    readings, rest = {}, []
    try:
        for line in child.stderr:
            if line.strip() == "publish":
                readings["begun"] = meters.read(on)
            elif line.strip() == "published":
                readings["during"] = readings["begun"].until(meters.read(on))
                readings["there"] = until() if until else None
            else:
                rest.append(line)
                continue
            child.stdin.write("\n")
            child.stdin.flush()
        report = child.stdout.read()
        if child.wait() != 0:
            raise Failure("".join(rest).strip() or f"the load tool ended with {child.returncode}")
    finally:
        limit.cancel()
        child.kill()
        child.wait()
    report = json.loads(report)
    for failed, count in report.get("failures", []):
        say(f"{on.kind}: {count} x {failed}")
    return report, readings


def published(report: dict, readings: dict, events: int) -> dict:
    """Figures of publications; times in microseconds, each for one publication."""
    during, seen = readings["during"], report["publish"]
    figures = {"per_second": round(events / seen["seconds"]), "refused": seen["refused"]}
    for name, key in (("ack", "ack_us"), ("delivery", "delivery_us")):
        if seen.get(key):
            figures |= {f"{name}_p50_us": round(seen[key]["p50"], 1), f"{name}_p99_us": round(seen[key]["p99"], 1)}
    figures |= {"delivered": seen["delivered"], "lost": seen["lost"], "twice": seen["twice"]}
    figures["cpu_us_nodes"] = [us(seconds, events) for seconds in during.nodes]
    if seen["delivered"]:
        figures["cpu_us_a_delivery"] = us(sum(during.nodes), seen["delivered"])
    if readings["during"].redis:
        # Those that came over the wire are calls; the others are what scripts did.
        figures["cpu_us_redis"] = us(during.redis, events)
        figures["calls"] = round(during.commands.get("evalsha", 0) / events, 3)
        figures["commands"] = round(sum(during.commands.values()) / events, 2)
        figures["bytes_from_redis"] = round(during.out / events)
        figures["bytes_to_redis"] = round(during.into / events)
    return figures


def us(seconds: float, count: int) -> float:
    return round(seconds * 1e6 / max(count, 1), 2)


def state(on: Fleet) -> dict:
    """What is held now: KiB of the nodes, bytes of Redis, and what is subscribed to there."""
    nodes = sum(meters.memory(node.process.pid) for node in on.nodes)
    if not on.redis:
        return {"nodes": nodes}
    return {"nodes": nodes, "redis": on.redis.memory(), "subscriptions": on.redis.subscriptions()}
