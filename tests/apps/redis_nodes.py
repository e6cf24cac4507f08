"""Several nodes over one Redis, and tabs that go to any of them."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from deployment import free_port, wait_for
from example import RawStream
from sources import Node, RedisServer

# Behind the keys of the users' route: one that anybody may follow `c…` on, and a proxied path.
ROUTES = """
[[route]]
path = "/plain"
[route.stream]
auth = []
channels = []
allow = ["c*"]
[upstreams.app]
servers = ["http://127.0.0.1:{app}"]
[[route]]
path = "/"
[route.proxy]
upstream = "app"
"""


def store(server: RedisServer) -> str:
    """The `[store]` of a node over this Redis."""
    return f'kind = "redis"\nurl = "{server.url}"'


@contextlib.contextmanager
def deployment(store: str, count: int = 3, app: int | None = None) -> Iterator[list[Node]]:
    """So many nodes that are well; stops them behind it."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Node(ROUTES.format(app=app or free_port()), store)) for _ in range(count)]
        for node in nodes:
            is_well(node)
        yield nodes


def is_well(node: Node, well: bool = True, seconds: float = 10) -> None:
    """Waits until a node says that it is well, or that it is not."""
    status = "ok" if well else "degraded"
    wait_for(lambda: node.health()["status"] == status, seconds, f"a node that is {status}")


def publish(node: Node, **publication: object) -> dict:
    """Publishes at a node, and gives the reply."""
    return node.ask("POST", "/publish", publication)


@dataclass
class Event:
    """What a browser would fire."""

    id: str
    event: str
    data: str


class Tab:
    """An anonymous stream of some channels of `c…`."""

    def __init__(self, node: Node, channels: str, last_id: str = "") -> None:
        headers = {"Last_Event_ID": last_id} if last_id else {}
        self.raw = RawStream(node.port, f"/plain?channels={channels}", **headers)
        self.raw.read_until(lambda: b"\n\n" in self.raw.body, 10, "the begin of a stream")

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    @property
    def events(self) -> list[Event]:
        """All that came."""
        events = []
        for block in self.raw.body.decode().split("\n\n")[:-1]:
            fields = dict(re.findall(r"^(\w+): ?(.*)$", block, re.MULTILINE))
            if "data" in fields:
                events.append(Event(fields.get("id", ""), fields.get("event", "message"), fields["data"]))
        return events

    @property
    def last_id(self) -> str:
        """The id with which it would come back."""
        return re.findall(r"^id: (.*)$", self.raw.body.decode(), re.MULTILINE)[-1]

    def until(self, count: int) -> list[Event]:
        """Waits for so many events; all there are by then."""
        self.raw.read_until(lambda: len(self.events) >= count, 20, f"{count} events")
        return self.events

    def data(self, count: int) -> list[str]:
        """The same, only their data."""
        return [event.data for event in self.until(count)]

    def until_end(self) -> bytes:
        """Waits until it is ended; what came."""
        try:
            self.raw.read_until(lambda: False, 20, "the end of a stream")
        except AssertionError as ended:
            assert "no the end" in str(ended)
        return self.raw.body


def unread(node: Node, user: str) -> list[object]:
    """The data of what a user has not read, as a node says it."""
    return [event["data"] for event in node.ask("GET", f"/inbox/{user}")["events"]]


def resets(events: list[Event]) -> list[str]:
    """Why the gaps are."""
    return [json.loads(event.data)["reason"] for event in events if event.event == "reset"]
