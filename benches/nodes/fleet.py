"""Fleets: some nodes that are one deployment, with what they share, on ports and in folders of their own."""

import http.client
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from peers.machine import SIDESTREAM, Failure, Process, free_port
from peers.servers import SECRET, Place, nginx, nginx_config

from .meters import Redis

# Debian's names of what is needed beside what `benches/compare` needs, and the file that shows that it is there.
PACKAGES = {"nginx-light": "/usr/sbin/nginx", "libnginx-mod-nchan": "/usr/lib/nginx/modules/ngx_nchan_module.so"}
PACKAGES |= {"redis-server": "/usr/bin/redis-server", "openssl": "/usr/bin/openssl"}

# What is compared: how it is called in the table, and its store.
TITLES = {
    "memory": "Sidestream, memory",
    "disk": "Sidestream, disk",
    "redis": "Sidestream, Redis",
    "redis-aof": "Sidestream, Redis with appendonly",
    "nchan": "nchan, memory",
    "nchan-redis": "nchan, Redis",
}
STORES = {
    "memory": 'kind = "memory"',
    "disk": 'kind = "disk"\npath = "store"\nsync = "always"',
    "redis": 'kind = "redis"\nurl = "redis://127.0.0.1:{port}"',
}


@dataclass
class Node:
    process: Process
    port: int
    # Where it is published to, as the load tool has it.
    door: str


@dataclass
class Fleet:
    kind: str
    nodes: list[Node] = field(default_factory=list)
    redis: Redis | None = None

    @property
    def is_ours(self) -> bool:
        return not self.kind.startswith("nchan")

    def streams(self) -> list[str]:
        """What opening streams needs: they go to the nodes in turn."""
        ports = [text for node in self.nodes for text in ("--connect", f"127.0.0.1:{node.port}")]
        if self.is_ours:
            return [*ports, "--path", "/events?token={token}", "--secret", SECRET]
        return [*ports, "--path", "/sub?id={channel}"]

    def publish(self, across: bool = False) -> list[str]:
        """What publishing needs. With `across`, every publisher of a user's events is at another node than the user."""
        nodes = self.nodes[1:] + self.nodes[:1] if across else self.nodes[:1]
        doors = [text for node in nodes for text in ("--publish-connect", node.door)]
        return doors if self.is_ours else [*doors, "--publish-path", "/pub?id={channel}", "--body", "{data}"]


@contextmanager
def fleet(place: Place, kind: str, count: int = 1, binary: Path = SIDESTREAM):
    """A fleet of this kind. Only those over Redis have more than one node."""
    with ExitStack() as stack:
        this = Fleet(kind)
        if "redis" in kind:
            this.redis = stack.enter_context(redis(place, kind.endswith("aof")))
        for number in range(count):
            start = sidestream if this.is_ours else nchan
            this.nodes.append(stack.enter_context(start(place, number, this, binary)))
        yield this


@contextmanager
def redis(place: Place, keeps: bool):
    """A Redis of our own: in memory, or with the append-only file that its documentation advises."""
    folder, port = place.new_folder("redis"), free_port()
    command = ["/usr/bin/redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    command += ["--appendonly", "yes" if keeps else "no", "--maxmemory-policy", "noeviction"]
    with Process(command, folder, [port]) as process, Redis(process.pid, port) as connected:
        yield connected


@contextmanager
def sidestream(place: Place, number: int, of: Fleet, binary: Path):
    folder, port = place.new_folder(f"node-{number}"), free_port()
    store = STORES[of.kind.removesuffix("-aof")].format(port=of.redis.port if of.redis else 0)
    (folder / "sidestream.toml").write_text(f"""
[log]
access = "off"
level = "warn"
[store]
{store}
max_channels = 200000
[publish]
socket = "publish.sock"
[limits]
streams_per_user = 1000000
[[listen]]
address = "127.0.0.1:{port}"
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
""")
    door = folder / "publish.sock"
    with Process([str(binary), "run", "--config", "sidestream.toml"], folder, [port, door]) as process:
        # It refuses until it has found Redis.
        wait_for_answer(str(door), "/publish", b'{"channel":"ready","data":"x"}')
        yield Node(process, port, f"unix:{door}")


@contextmanager
def nchan(place: Place, number: int, of: Fleet, _binary: Path):
    folder, port = place.new_folder(f"nginx-{number}"), free_port()
    url = f'nchan_use_redis on; nchan_redis_url "redis://127.0.0.1:{of.redis.port}";' if of.redis else ""
    config = nginx_config(folder, "auto", "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;", f"""
  nchan_max_reserved_memory 512M;
  {url}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /sub {{
      nchan_subscriber eventsource;
      nchan_channel_id $arg_id;
      nchan_subscriber_first_message newest;
      nchan_eventsource_ping_interval 30;
    }}
    location = /pub {{
      nchan_publisher;
      nchan_channel_id $arg_id;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 24h;
    }}
  }}""")
    with nginx(folder, config, [port]) as process:
        # A worker refuses until it has found Redis, and each connection may meet another worker.
        wait_for_answer(port, "/pub?id=ready", b"x", 40)
        yield Node(process, port, f"127.0.0.1:{port}")


def wait_for_answer(door: int | str, path: str, body: bytes, times: int = 1) -> None:
    """Publishes at a port or a Unix socket until it is taken, so often in a row."""
    until, seen, status = time.monotonic() + 20, 0, None
    while seen < times:
        connection = http.client.HTTPConnection("127.0.0.1", door if isinstance(door, int) else 80, timeout=1)
        try:
            if isinstance(door, str):
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(1)
                connection.sock.connect(door)
            connection.request("POST", path, body=body)
            status = connection.getresponse().status
            seen = seen + 1 if status in (200, 201, 202) else 0
        except OSError as error:
            seen, status = 0, error
        finally:
            connection.close()
        if time.monotonic() > until:
            raise Failure(f"nothing can be published at {door}: {status}")
        if not seen:
            time.sleep(0.05)
