"""What the tests of sources share: a Redis of their own, nodes that read it, and streams as the users have them."""

import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

import jwt
import redis
from deployment import BINARY, Process, accepts, free_port, wait_for
from example import RawStream

SECRET = "of-the-tests-of-sources-0123456789abcdef"


class RedisServer:
    """Debian's Redis on a port and in a folder of its own; a context manager that leaves nothing behind."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.options = options
        self.process: Process | None = None

    def __enter__(self) -> "RedisServer":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
        shutil.rmtree(self.folder)

    @property
    def client(self) -> redis.Redis:
        """A connection as an app has it."""
        return redis.Redis(port=self.port, decode_responses=True)

    def start(self) -> None:
        """Starts it, with what it had written down before."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "no", *self.options]
        self.process = Process(command, self.folder / "log")
        self.process.wait_until(lambda: accepts(("127.0.0.1", self.port)), "Redis accepts")
        wait_for(self._answers, 10, "Redis has loaded what it had")

    def stop(self) -> None:
        """Ends it at once, as a crash does."""
        self.process.kill()

    def _answers(self) -> bool:
        try:
            return self.client.ping()
        except redis.RedisError:
            return False


class Node:
    """One Sidestream in front of nothing, with sources; a context manager."""

    def __init__(self, sources: str, store: str = 'kind = "memory"') -> None:
        assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
        self.folder = Path(tempfile.mkdtemp(prefix="node-"))
        self.port = free_port()
        self.socket = self.folder / "publish.sock"
        self.starts = 0
        self.process: Process | None = None
        (self.folder / "sidestream.toml").write_text(f"""
[log]
access = "off"
[publish]
socket = "publish.sock"
[store]
{store}
[[listen]]
address = "127.0.0.1:{self.port}"
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
channels = ["user:{{user}}", "all"]
replay = "unread"
{sources}""")

    def __enter__(self) -> "Node":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.go_on()
            self.process.kill()
            print(f"--- end of {self.process.log}\n{self.log[-4000:]}")
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Starts it and waits until it accepts requests and publications."""
        self.starts += 1
        command = [str(BINARY), "run", "--config", str(self.folder / "sidestream.toml")]
        self.process = Process(command, self.folder / f"log-{self.starts}", cwd=self.folder)
        self.process.wait_until(lambda: accepts(("127.0.0.1", self.port)), "Sidestream accepts")
        self.process.wait_until(lambda: accepts(self.socket), "the publish socket accepts")

    def kill(self) -> None:
        """As a crash does."""
        self.process.kill()

    def pause(self) -> None:
        """Stops it as a debugger or a swapping machine does."""
        self.process.child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it go on if it was stopped."""
        if self.process.child.poll() is None:
            self.process.child.send_signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        """What it has said since it was started."""
        return self.process.log.read_text()

    def says(self, text: str, seconds: float = 20) -> None:
        """Waits until its log has a text."""
        wait_for(lambda: text in self.log, seconds, f"{text!r} in {self.process.log}")

    def health(self) -> dict:
        """What it counts."""
        return self.ask("GET", "/healthz")

    def ask(self, method: str, path: str, body: object = None) -> dict:
        """A request at the publish socket."""
        connection = HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self.socket))
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        connection.close()
        return json.loads(answer)

    def check(self) -> subprocess.CompletedProcess:
        """What `sidestream check` says of its configuration."""
        command = [str(BINARY), "check", "--config", str(self.folder / "sidestream.toml")]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def stream(self, user: str) -> "Stream":
        """A stream of a user."""
        return Stream(self, user)


class Stream:
    """A tab: what it was sent, in order."""

    def __init__(self, node: Node, user: str) -> None:
        token = jwt.encode({"sub": user, "exp": int(time.time()) + 3600}, SECRET, "HS256")
        self.raw = RawStream(node.port, f"/events?token={token}")
        self.raw.read_until(lambda: b"id: " in self.raw.body, 10, "the first id")

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    @property
    def events(self) -> list[tuple[str, object]]:
        """The name and the data of each event."""
        events = []
        for block in self.raw.body.decode().split("\n\n")[:-1]:
            fields = dict(re.findall(r"^(\w+): ?(.*)$", block, re.MULTILINE))
            if "data" in fields:
                events.append((fields.get("event", "message"), json.loads(fields["data"])))
        return events

    @property
    def data(self) -> list[object]:
        """The data of each event that is no word of the protocol's own."""
        return [data for name, data in self.events if name not in ("read", "reset")]

    def until(self, count: int, seconds: float = 20) -> list[object]:
        """Waits for so many events; all there are by then."""
        self.raw.read_until(lambda: len(self.data) >= count, seconds, f"{count} events")
        return self.data


CHANNEL = """
[[source]]
kind = "redis-pubsub"
url = "{url}"
channel = "{channel}"
map = {{ channel = "all", event = "/eventType", data = "/payload" }}
lease = "1s"
"""


def notification(number: int) -> str:
    """As the document's `sendNotification` publishes it."""
    return json.dumps({"eventType": "notification", "payload": {"number": number}, "eventId": 1642678901240 + number})


def holder(*nodes: Node) -> Node:
    """The node that reads a channel."""
    wait_for(lambda: any("is_ours=true" in node.log for node in nodes), 10, "a node reads the channel")
    return next(node for node in nodes if node.log.rfind("is_ours=true") > node.log.rfind("is_ours=false"))


LISTS = """
[[source]]
kind = "redis-list"
url = "{url}"
key = "notifications:{{user}}"
read = {{ key = "read_notifications:{{user}}" }}
{more}
"""


def messages(data: list) -> list[str]:
    """The texts of notifications."""
    return [notification["message"] for notification in data]


STREAM = """
[[source]]
kind = "redis-stream"
url = "{url}"
stream = "{stream}"
map = {{ channel = "all", data = {{ number = "/number" }} }}
"""


def add(server: RedisServer, stream: str, *numbers: int) -> None:
    """Adds entries as an app does."""
    for number in numbers:
        server.client.xadd(stream, {"data": json.dumps({"number": number})})


def pending(server: RedisServer, stream: str) -> int:
    """How many entries were given to a node and are not acknowledged."""
    return server.client.xpending(stream, "sidestream")["pending"]
