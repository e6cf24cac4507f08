"""What is read before and after: time of the processor and memory of processes, and what Redis counts of itself."""

import socket
from dataclasses import dataclass
from pathlib import Path

from peers.machine import Failure, processes_of_session

# What the measuring itself asks of Redis.
OUR_OWN = {"info", "pubsub|numsub", "pubsub|numpat", "pubsub|channels", "memory|usage", "dbsize"}


@dataclass(frozen=True)
class Reading:
    """Sums since the start: processor seconds of each node and of Redis, and Redis's counts."""

    nodes: tuple[float, ...]
    redis: float
    commands: dict[str, int]
    out: int
    into: int

    def until(self, later: "Reading") -> "Reading":
        commands = {name: count - self.commands.get(name, 0) for name, count in later.commands.items()}
        return Reading(
            tuple(after - before for before, after in zip(self.nodes, later.nodes, strict=True)),
            later.redis - self.redis,
            {name: count for name, count in commands.items() if count and name not in OUR_OWN},
            later.out - self.out,
            later.into - self.into,
        )


class Redis:
    """A connection to a Redis, in a few words of its protocol, so that nothing is to be installed."""

    def __init__(self, pid: int, port: int):
        self.pid = pid
        self.port = port

    def __enter__(self):
        self.wire = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.file = self.wire.makefile("rb")
        return self

    def __exit__(self, *_):
        self.file.close()
        self.wire.close()

    def ask(self, *words: str):
        parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        self.wire.sendall(f"*{len(words)}\r\n{parts}".encode())
        return self.answer()

    def answer(self):
        line = self.file.readline().decode().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == "-":
            raise Failure(f"Redis: {rest}")
        if kind == ":":
            return int(rest)
        if kind == "$":
            text = self.file.read(int(rest) + 2)[:-2].decode(errors="replace") if int(rest) >= 0 else None
            return text
        return [self.answer() for _ in range(int(rest))] if kind == "*" else rest

    def info(self, section: str) -> dict[str, str]:
        lines = self.ask("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def commands(self) -> dict[str, int]:
        found = self.info("commandstats").items()
        return {name.removeprefix("cmdstat_"): int(text.split("=")[1].split(",")[0]) for name, text in found}

    def memory(self) -> int:
        return int(self.info("memory")["used_memory"])

    def subscriptions(self) -> int:
        return int(self.info("stats")["pubsub_channels"])


def read(fleet) -> Reading:
    redis = fleet.redis
    stats = redis.info("stats") if redis else {}
    return Reading(
        tuple(cpu(node.process.pid) for node in fleet.nodes),
        cpu(redis.pid) if redis else 0.0,
        redis.commands() if redis else {},
        int(stats.get("total_net_output_bytes", 0)),
        int(stats.get("total_net_input_bytes", 0)),
    )


def cpu(session: int) -> float:
    """Seconds that all processes of a session have run, to a nanosecond."""
    total = 0
    for pid in processes_of_session(session):
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


def memory(session: int) -> int:
    """KiB of all processes of a session, shared pages counted by their share (PSS)."""
    total = 0
    for pid in processes_of_session(session):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
