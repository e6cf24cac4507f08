"""Clients that send bytes rather than requests: HTTP/1 over TCP, and frames of HTTP/2 over TLS."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

PATIENCE = 60.0  # seconds for a whole exchange
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Answer:
    """A response; `status` is 0 if a stream was reset before it began."""

    status: int
    fields: dict[str, str]
    body: bytes = b""
    whole: bool = True


class Silence(Exception):
    """The server neither answered nor closed."""


def http1(port: int, sent: bytes, methods: list[str], cut: bool = False, patience: float = PATIENCE) -> list[Answer]:
    """Sends bytes on a new connection, and takes what comes until it is closed for answers to these methods, and to GET."""
    with socket.create_connection(("127.0.0.1", port), patience) as connection:
        received = b""
        try:
            connection.sendall(sent)
            if cut:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            raise Silence from None
        except OSError:  # closed with bytes of ours unread
            pass
    return list(_responses(received, methods))


def _responses(received: bytes, methods: list[str]):
    methods = list(methods)
    while received:
        if not received.startswith(b"HTTP/"):  # an answer in HTTP/0.9, or what a proxy took for a body
            yield Answer(200, {}, received)
            return
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        if status < 200 and status != 101:
            continue
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method = methods.pop(0) if methods else "GET"
        answer = Answer(status, fields)
        if method == "HEAD" or status in (101, 204, 304):
            pass
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            answer.body, received, answer.whole = _chunks(received)
        elif "content-length" in fields:
            length = int(fields["content-length"])
            answer.body, received = received[:length], received[length:]
            answer.whole = len(answer.body) == length
        else:
            answer.body, received = received, b""
        yield answer


def _chunks(received: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, found, received = received.partition(b"\r\n")
        if not found:
            return body, b"", False
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            _, found, received = received.partition(b"\r\n")  # of trailers, these servers send none
            return body, received, bool(found)
        body += received[:length]
        received = received[length + 2 :]


@dataclass
class Http2:
    """A connection of HTTP/2 on which every frame is the caller's."""

    port: int
    settings: dict[int, int] = field(default_factory=dict)
    encoder: Encoder = field(default_factory=Encoder)
    answers: dict[int, Answer] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resets: dict[int, int] = field(default_factory=dict)
    goaway: int | None = None
    settled: bool = False  # the server has said its settings
    closed: bool = False

    def __enter__(self) -> "Http2":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        self._received = b""
        self._block: tuple[int, bytes, bool] | None = None
        self._decoder = Decoder()
        self._decoder.max_header_list_size = 1 << 20
        self.socket.sendall(PREFACE + SettingsFrame(0, self.settings).serialize())
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: Frame | bytes) -> bool:
        """Sends frames at once; false if the connection is closed."""
        try:
            self.socket.sendall(b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames))
        except OSError:
            self.closed = True
        return not self.closed

    def headers(self, stream: int, fields: list[tuple[bytes, bytes]], end: bool = True) -> list[Frame]:
        """The frames of a list of fields, whatever they hold."""
        block = self.encoder.encode([(name, value, True) for name, value in fields], huffman=False)
        parts = [block[at : at + 16384] for at in range(0, len(block), 16384)] or [b""]
        frames: list[Frame] = [HeadersFrame(stream, parts[0], flags=["END_STREAM"] if end else [])]
        frames += [ContinuationFrame(stream, part) for part in parts[1:]]
        frames[-1].flags.add("END_HEADERS")
        return frames

    def receive(self, until: Callable[["Http2"], object], seconds: float = PATIENCE) -> bool:
        """Reads frames until a fact holds or the connection is closed; false if neither comes in time."""
        self.socket.settimeout(seconds)
        while not until(self) and not self.closed:
            try:
                part = self.socket.recv(65536)
            except TimeoutError:
                return False
            except OSError:
                part = b""
            self.closed |= not part
            self._received += part
            self._parse()
        return True

    def done(self, stream: int) -> bool:
        """Whether a stream has ended, in whatever way."""
        return stream in self.ended or stream in self.resets

    def _parse(self) -> None:
        while len(self._received) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._received)[:9])
            if len(self._received) < 9 + length:
                return
            frame.parse_body(memoryview(self._received)[9 : 9 + length])
            self._received = self._received[9 + length :]
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self.settled = True
                self.send(SettingsFrame(0, flags=["ACK"]))
            case HeadersFrame() | ContinuationFrame():
                stream, block, end = self._block or (frame.stream_id, b"", "END_STREAM" in frame.flags)
                self._block = (stream, block + frame.data, end)
                if "END_HEADERS" in frame.flags:
                    self._head(*self._block)
                    self._block = None
            case DataFrame():
                self.answers[frame.stream_id].body += frame.data
                if "END_STREAM" in frame.flags:
                    self.ended.add(frame.stream_id)
            case RstStreamFrame():
                self.resets[frame.stream_id] = frame.error_code
            case GoAwayFrame():
                self.goaway = frame.error_code

    def _head(self, stream: int, block: bytes, end: bool) -> None:
        fields = dict(self._decoder.decode(block))
        status = int(fields.get(":status", 0))
        if status >= 200:
            self.answers[stream] = Answer(status, fields)
        if end:
            self.ended.add(stream)
