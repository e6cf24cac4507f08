"""The tables that are printed: one for each work, a line for each fleet."""

from .fleet import TITLES

# Figures in the order in which they are shown, and how a person reads them.
HEADS = {
    "per_second": "published/s",
    "ack_p50_us": "ack p50, us",
    "ack_p99_us": "p99",
    "delivery_p50_us": "delivered p50, us",
    "delivery_p99_us": "p99",
    "added_p50_us": "added p50",
    "added_p99_us": "p99",
    "cpu_us_nodes": "CPU of each node, us",
    "cpu_us_a_delivery": "CPU a delivery, us",
    "cpu_us_redis": "of Redis, us",
    "calls": "script calls",
    "commands": "commands",
    "bytes_to_redis": "bytes to Redis",
    "bytes_from_redis": "bytes from Redis",
    "open_per_second": "opened/s",
    "open_cpu_us_nodes": "CPU to open, nodes, us",
    "open_cpu_us_redis": "Redis, us",
    "open_commands": "commands to open",
    "node_bytes_a_channel": "node bytes",
    "redis_bytes_a_channel": "Redis bytes",
    "subscriptions": "subscriptions",
    "subscriptions_left": "left after",
    "node_bytes_left": "node bytes left",
    "refused": "refused",
    "lost": "lost",
    "twice": "twice",
}
# What is shown only where it is not as it should be.
ALARMS = ("refused", "lost", "twice")


def with_added(records: list[dict]) -> list[dict]:
    """Adds to each latency how much more it is than that of one node with its store in memory, in the same work."""
    base = {entry["work"]: entry["figures"] for entry in records if entry["fleet"] == "memory"}
    for entry in records:
        figures, memory = entry["figures"], base.get(entry["work"], {})
        if entry["fleet"] == "memory" or "delivery_p50_us" not in memory or "delivery_p50_us" not in figures:
            continue
        for part in ("p50", "p99"):
            figures[f"added_{part}_us"] = round(figures[f"delivery_{part}_us"] - memory[f"delivery_{part}_us"], 1)
    return records


def text(records: list[dict]) -> str:
    works = dict.fromkeys(entry["work"] for entry in records)
    return "\n".join(line for work in works for line in of_work(work, [e for e in records if e["work"] == work]))


def of_work(work: str, records: list[dict]) -> list[str]:
    shown = [name for name in HEADS if any(is_shown(name, entry["figures"].get(name)) for entry in records)]
    lines = [[work, "nodes", *(HEADS[name] for name in shown)]]
    for entry in records:
        figures = entry["figures"]
        lines.append([TITLES[entry["fleet"]], str(entry["nodes"]), *(cell(figures.get(name)) for name in shown)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = ["| " + " | ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)) + " |" for line in lines]
    table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return [*table, ""]


def is_shown(name: str, value) -> bool:
    return value is not None and (name not in ALARMS or value != 0)


def cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(cell(part) for part in value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
