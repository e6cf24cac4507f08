"""Event streams over raw TLS sockets, many at once, so that a test sees every byte and how a stream ends."""

import re
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deployment import deadline


@dataclass
class Event:
    """One event as a browser would fire it."""

    id: str
    event: str
    data: str


class Stream:
    """One tab: an HTTP/1.1 request for the stream that is read as bytes come."""

    def __init__(self, port: int, tls: ssl.SSLContext, token: str, last_event_id: str = "") -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(raw, server_hostname="localhost")
        request = f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n"
        if last_event_id:
            request += f"Last-Event-ID: {last_event_id}\r\n"
        self.socket.sendall(request.encode() + b"\r\n")
        self.head = ""
        self.events: list[Event] = []
        self.last_id = ""
        self.ended = False  # the connection is gone
        self.complete = False  # the response came to a clean end, which a stream never should
        self._bytes = b""  # of the response, not yet understood
        self._text = b""  # of the event stream, not yet understood
        read([self], lambda: self.last_id or self.ended, 10, "the head and first id of a stream")
        assert self.head.startswith("HTTP/1.1 200 "), self.head + self._bytes.decode(errors="replace")

    def close(self) -> None:
        """Closes the tab."""
        self.socket.close()

    def pump(self) -> None:
        """Takes what has arrived, without waiting."""
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(65536):
                self._bytes += data
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except OSError:
            self.ended = True
        self._understand()

    def _understand(self) -> None:
        if not self.head:
            head, found, rest = self._bytes.partition(b"\r\n\r\n")
            if not found:
                return
            self.head, self._bytes = head.decode("latin-1"), rest
        while not self.complete and (size := re.match(rb"([0-9a-fA-F]+)\r\n", self._bytes)):
            length = int(size[1], 16)
            if len(self._bytes) < size.end() + length + 2:
                return
            self._text += self._bytes[size.end() : size.end() + length]
            self._bytes = self._bytes[size.end() + length + 2 :]
            self.complete = length == 0
            self._parse()

    def _parse(self) -> None:
        *blocks, self._text = self._text.split(b"\n\n")
        for block in blocks:
            fields: dict[str, list[str]] = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            self.last_id = fields.get("id", [self.last_id])[-1]
            if "data" in fields:
                kind = fields.get("event", ["message"])[-1]
                self.events.append(Event(self.last_id, kind, "\n".join(fields["data"])))


def read(streams: Iterable[Stream], until: Callable[[], object], seconds: float, what: str) -> None:
    """Reads all the streams until a fact holds; fails with `what` as `wait_for` does."""
    end = deadline(seconds)
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            stream.pump()
            if not stream.ended:
                selector.register(stream.socket, selectors.EVENT_READ, stream)
        while not until():
            left = end - time.monotonic()
            assert left > 0, f"waited in vain for {what}"
            for key, _ in selector.select(min(left, 0.1)):
                key.data.pump()
                if key.data.ended:
                    selector.unregister(key.fileobj)
