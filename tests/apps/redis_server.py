"""A Redis of Debian's, with its own port and folder, for as long as a test needs it."""

import secrets
from pathlib import Path

import redis
from deployment import Process, free_port

SCRIPTS = Path(__file__).parent.parent.parent / "src/store/redis/scripts"


class RedisServer(Process):
    """redis-server without persistence, at a port of 127.0.0.1."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder / f"redis-{self.port}"
        self.folder.mkdir(parents=True)
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        super().__init__([*command, "--save", "", *options], self.folder / "log")
        self.client = self.connect()
        self.wait_until(self.answers, "redis-server")

    def connect(self, **options) -> redis.Redis:
        """A client of it, which gives text."""
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def answers(self) -> bool:
        """Whether it takes commands; an error of its own is an answer too."""
        try:
            return self.client.ping()
        except redis.exceptions.ConnectionError:
            return False

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


class Scripts:
    """Calls the scripts of the store as a node does."""

    AGE = 60_000

    def __init__(self, client: redis.Redis, events: int = 1000, size: int = 1 << 20, grain: int = 1000) -> None:
        self.client = client
        self.prefix = "t:"
        self.node = secrets.token_hex(8)
        self.epoch = ""
        self.bounds = [events, size, self.AGE, grain]
        self.scripts = {path.stem: client.register_script(path.read_text()) for path in SCRIPTS.glob("*.lua")}

    def call(self, name: str, *args: object) -> object:
        """One script, with the prefix before its arguments."""
        return self.scripts[name](args=[self.prefix, *args])

    def attach(self, fresh: str, seen: int = 0, holes: str = "") -> list:
        """Joins the deployment, and knows its epoch from then on."""
        reply = self.call("attach", fresh, self.epoch, seen, holes, 60_000)
        self.epoch = reply[0]
        return reply

    def publish(self, *entries: tuple, ticket: int = 1) -> list:
        """A batch of what `entry` gives."""
        return self.publish_together([(ticket, entries)])

    def publish_together(self, batches: list[tuple[int, tuple]]) -> list:
        """Batches of several orders, each with its ticket, in one call."""
        flat = [(f"{ticket} {place}", *one) for ticket, batch in batches for place, one in enumerate(batch)]
        return self.call("publish", self.epoch, self.node, *self.bounds, *[part for one in flat for part in one])

    def load(self, *channels: str, since: int = 0, events: int = 1000, size: int = 1 << 20) -> tuple[int, list]:
        """The head, and for each channel what `load` says of it."""
        asked = [part for channel in channels for part in (channel, since)]
        head, *found = self.call("load", self.epoch, self.AGE, events, size, *asked)
        return int(head), [Channel(*one) for one in found]

    def mark(self, channel: str, *seqs: int, up_to: int = 0, most: int = 1024) -> None:
        """Marks events as read."""
        self.call("mark", self.epoch, self.node, 1, self.AGE, most, channel, up_to, *seqs)


class Channel:
    """What `load` says of a channel."""

    def __init__(self, all_of_it: int, lost: str, last: str, events: list, marks: list) -> None:
        self.all = bool(all_of_it)
        self.lost = int(lost)
        self.last = int(last)
        self.events = {int(seq): kept.split("\n", 1)[1] for seq, kept in zip(events[::2], events[1::2], strict=True)}
        self.marks = dict(zip(marks[::2], map(int, marks[1::2]), strict=True))


def entry(*channels: str, body: str = "x", ttl: object = "", collapse: str = "", key: str = "", digest: int = 1) -> tuple:
    """A publication as `publish` takes it."""
    keyed = (key, digest, 5000) if key else ("", "", "")
    return (len(channels), *channels, ttl, collapse, *keyed, body)
