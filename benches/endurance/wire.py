"""A client's side of HTTP/1.1 and of event streams, on asyncio and the standard library alone."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
from dataclasses import dataclass

# No answer takes a tenth of this, in seconds, but one that waits for an app that is being started anew.
PATIENCE = 60.0


class Refused(Exception):
    """Answered with another status than 200."""

    def __init__(self, status: int):
        super().__init__(f"answered with {status}")
        self.status = status


@dataclass(frozen=True)
class Door:
    """Where a server listens: a port of this machine, with or without TLS, or the path of a Unix socket."""

    address: int | str
    tls: ssl.SSLContext | None = None

    async def open(self, limit: int = 65536, receive_buffer: int = 0):
        """A connection; with small bounds on what it holds for somebody who does not read."""
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address, limit=limit)
        wire = socket.socket()
        wire.setblocking(False)
        try:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(wire, ("127.0.0.1", self.address))
        except BaseException:
            wire.close()
            raise
        # From here on it is asyncio's to close, also when the handshake fails or is given up.
        name = "localhost" if self.tls else None
        return await asyncio.open_connection(sock=wire, ssl=self.tls, server_hostname=name, limit=limit)


class Client:
    """Requests on one connection that is kept, and opened anew when it is gone."""

    def __init__(self, door: Door):
        self.door = door
        self.reader, self.writer = None, None

    async def ask(self, method: str, path: str, body: bytes = b"", **fields: str) -> tuple[int, bytes]:
        """Sends a request and returns the status and the body of its answer."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.wait_for(self.door.open(), PATIENCE)
        try:
            self.writer.write(head(method, path, len(body), fields) + body)
            return await asyncio.wait_for(self.answer(), PATIENCE)
        except BaseException:
            self.close()
            raise

    async def answer(self) -> tuple[int, bytes]:
        status, names = await answer_head(self.reader)
        if names.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = await self.reader.readexactly(int(names.get(b"content-length", b"0")))
        if names.get(b"connection") == b"close":
            self.close()
        return status, body

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader, self.writer = None, None


class Lines:
    """A connection to the publish socket that speaks lines of JSON."""

    def __init__(self, path: str):
        self.path = path

    async def __aenter__(self) -> "Lines":
        self.reader, self.writer = await Door(self.path).open()
        return self

    async def __aexit__(self, *_) -> None:
        self.writer.close()

    async def publish(self, publications: list[dict]) -> list[dict]:
        """Hands in all of them at once, and returns the replies."""
        self.writer.write(b"".join(json.dumps(one).encode() + b"\n" for one in publications))
        await self.writer.drain()
        lines = [await asyncio.wait_for(self.reader.readline(), PATIENCE) for _ in publications]
        return [json.loads(line) for line in lines]


class Stream:
    """An event stream over HTTP/1.1 that is read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer
        self.bytes, self.text = b"", b""

    @classmethod
    async def open(cls, door: Door, path: str, slow: bool = False, **fields: str) -> "Stream":
        """Opens a stream. `slow` is for a reader for whom nothing is to wait in buffers of this side."""
        reader, writer = await door.open(*((2048, 4096) if slow else ()))
        stream = cls(reader, writer)
        try:
            writer.write(head("GET", path, 0, fields))
            status, _ = await asyncio.wait_for(answer_head(reader), PATIENCE)
            if status != 200:
                raise Refused(status)
        except BaseException:
            stream.close()
            raise
        return stream

    async def events(self) -> list[dict[bytes, bytes]] | None:
        """The fields of the events that came meanwhile, waiting for some bytes; `None` is the end."""
        data = await self.reader.read(65536)
        if not data:
            return None
        self.bytes += data
        while (end := self.bytes.find(b"\r\n")) >= 0:
            size = int(self.bytes[:end], 16)
            whole = end + 2 + size + 2
            if len(self.bytes) < whole:
                break
            self.text += self.bytes[end + 2 : whole - 2]
            self.bytes = self.bytes[whole:]
        *events, self.text = self.text.split(b"\n\n")
        return [dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line) for event in events]

    def close(self) -> None:
        self.writer.transport.abort()


def head(method: str, path: str, length: int, fields: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if length or method == "POST":
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


async def answer_head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    line = await reader.readline()
    if not line:
        raise ConnectionResetError("closed before an answer")
    status, names = int(line.split()[1]), {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        names[name.lower()] = value.strip().lower()
    return status, names


def token(secret: str, user: str, seconds: float) -> str:
    """A token (JWT, HS256) for a user, good for so long."""
    claims = json.dumps({"sub": user, "exp": int(time.time() + seconds)}).encode()
    signed = base64url(b'{"alg":"HS256","typ":"JWT"}') + "." + base64url(claims)
    return signed + "." + base64url(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def trusting(certificate: str) -> ssl.SSLContext:
    """A client's TLS that trusts this one certificate."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context
