"""WebSockets through Sidestream: both libraries, as client and as server, see what they see without it."""

import asyncio
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import BINARY, HERE, Process, accepts, behind_tls, free_port, wait_for, write_certificate
from npm import packages
from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.sync.server import ServerConnection, serve

APP = HERE / "websocket"
PATIENCE = 300.0  # seconds for all conversations of a client
LARGE = 1 << 26

# What either side closes with: codes of the standard, of libraries, and of an app's own; an empty reason, and the longest.
CODES = [(1000, ""), (1001, "going"), (1011, "broken"), (3000, ""), (4001, "gr\u00fc\u00df dich"), (4999, "r" * 123)]

PLAIN = """
[[listen]]
address = "127.0.0.1:{port}"
"""

Line = list[object]


class Proxy:
    """Sidestream before the port of an app."""

    def __init__(self, app: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="websocket-"))
        self.plain, self.tls = free_port(), free_port()
        write_certificate(self.folder)
        config = self.folder / "sidestream.toml"
        config.write_text(behind_tls(self.tls, f"http://127.0.0.1:{app}", "asgi") + PLAIN.format(port=self.plain))
        self.process = Process([str(BINARY), "run", "--config", str(config)], self.folder / "sidestream.log", cwd=self.folder)

    def __enter__(self) -> "Proxy":
        for port in (self.plain, self.tls):
            self.process.wait_until(lambda port=port: accepts(("127.0.0.1", port)), "Sidestream accepts")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        print(self.process.log.read_text()[-4000:])
        shutil.rmtree(self.folder)


@contextmanager
def python_server() -> Iterator[tuple[int, Callable[[], list[Line]]]]:
    """A server on `websockets`: its port, and what it has seen."""
    seen: list[Line] = []

    def handle(ws: ServerConnection) -> None:
        fields = ws.request.headers
        extensions = ws.response.headers.get("Sec-WebSocket-Extensions", "")
        seen.append(["open", ws.request.path, fields["Origin"], fields["Cookie"], ws.subprotocol or "", extensions])
        try:
            while True:
                _answer(ws, list(ws.recv_streaming()), seen)
        except ConnectionClosed as closed:
            seen.append(["closed", closed.rcvd.code if closed.rcvd else 1006, closed.rcvd.reason if closed.rcvd else ""])

    def refuse(ws: ServerConnection, request) -> object:
        if request.path == "/refused":
            answer = ws.respond(401, "go away")
            answer.headers["X-Reason"] = "none"
            return answer
        return None

    deflate = [ServerPerMessageDeflateFactory()]
    options = {"process_request": refuse, "extensions": deflate, "max_size": LARGE}
    options["select_subprotocol"] = lambda _, offered: offered[0] if offered else None
    with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None, **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1], lambda: seen
        server.shutdown()


def _answer(ws: ServerConnection, parts: list[str] | list[bytes], seen: list[Line]) -> None:
    whole = type(parts[0])().join(parts)
    seen.append(["message", *_described(whole), len(parts)])
    if not isinstance(whole, str) or not whole.startswith("do "):
        ws.send(parts if len(parts) > 1 else whole)
        return
    _, order, *rest = whole.split(" ", 3)
    match order:
        case "close":
            ws.close(int(rest[0]), rest[1])
        case "abort":
            _reset(ws.socket)
        case "ping":
            assert ws.ping(rest[0]).wait(PATIENCE)
            seen.append(["pong", rest[0]])
            ws.send(f"pong {rest[0]}")


@contextmanager
def node_server() -> Iterator[tuple[int, Callable[[], list[Line]]]]:
    """A server on `ws`: its port, and what it has seen."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = ["node", str(APP / "serve.mjs"), str(packages(APP) / "node_modules/ws"), str(port)]
        process = Process(command, Path(folder) / "node.log")
        try:
            process.wait_until(lambda: accepts(("127.0.0.1", port)), "the server accepts")
            yield port, lambda: [json.loads(line) for line in process.log.read_text().splitlines()]
        finally:
            process.kill()


def python_client(url: str) -> list[Line]:
    """All conversations of a client on `websockets`; what it has seen."""
    return asyncio.run(asyncio.wait_for(_python_client(url), PATIENCE))


async def _python_client(url: str) -> list[Line]:
    seen: list[Line] = []
    async with _connected(url + "/a/b?c=%2F", subprotocols=["chat.v2", "chat.v1"]) as ws:
        seen.append(["open", ws.subprotocol, ws.response.headers.get("Sec-WebSocket-Extensions", "")])
        for message in ["hello", "", b"", "gr\u00fc\u00df \U0001f980 dich", _noise(8 << 20), "lorem ipsum " * 100_000]:
            await _echo(ws, message, seen)
        await _echo(ws, [_noise(100_000), _noise(4), _noise(70_000)], seen)
        await _echo(ws, ["a", "", "b" * 20_000], seen)
        await (await ws.ping("alone"))
        seen.append(["pong", "alone"])
        await ws.send("do ping anybody")
        seen.append(["message", await ws.recv()])
        await ws.close(1000, "enough")
        seen.append(await _ended(ws))
    for code, reason in CODES:
        async with _connected(url + "/mine") as ws:
            await ws.close(code, reason)
            seen.append(await _ended(ws))
        async with _connected(url + "/theirs") as ws:
            await ws.send(f"do close {code} {reason}")
            seen.append(await _ended(ws))
    async with _connected(url + "/cut") as ws:
        await ws.send("do abort")
        seen.append(await _ended(ws))
    async with _connected(url + "/cutting") as ws:
        await _echo(ws, "x", seen)
        ws.transport.abort()
        seen.append(await _ended(ws))
    try:
        await _connected(url + "/refused")
    except InvalidStatus as refused:
        answer = refused.response
        seen.append(["refused", answer.status_code, answer.headers.get("X-Reason", ""), (answer.body or b"").decode()])
    return seen


def node_client(url: str) -> list[Line]:
    """All conversations of a client on `ws`; what it has seen."""
    command = ["node", str(APP / "talk.mjs"), str(packages(APP) / "node_modules/ws"), url, json.dumps(CODES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _connected(url: str, **options) -> connect:
    # Not the library's client on threads: two of them on one TLS connection lose what is written, now and then.
    tls = ssl._create_unverified_context() if url.startswith("wss:") else None
    deflate = [ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})]
    headers = Headers(Cookie="a=1; b=2")
    options |= {"origin": "https://shop.example", "additional_headers": headers, "extensions": deflate, "max_size": LARGE}
    return connect(url, ssl=tls, compression=None, ping_interval=None, proxy=None, open_timeout=PATIENCE, **options)


async def _echo(ws: ClientConnection, message: str | bytes | list, seen: list[Line]) -> None:
    await ws.send(message)
    parts = [part async for part in ws.recv_streaming()]
    seen.append(["message", *_described(type(parts[0])().join(parts)), len(parts)])


async def _ended(ws: ClientConnection) -> Line:
    try:
        while True:
            await ws.recv()
    except ConnectionClosed as closed:
        return ["closed", closed.rcvd.code if closed.rcvd else 1006, closed.rcvd.reason if closed.rcvd else ""]


def _described(message: str | bytes) -> Line:
    data = message.encode() if isinstance(message, str) else message
    return ["text" if isinstance(message, str) else "binary", len(data), hashlib.sha256(data).hexdigest()[:16]]


def _noise(size: int) -> bytes:
    """Bytes that do not get smaller."""
    return hashlib.shake_128(b"noise").digest(size)


def _reset(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("client", [python_client, node_client])
@pytest.mark.parametrize("server", [python_server, node_server])
def test_both_sides_see_what_they_see_without_it(server: Callable, client: Callable[[str], list[Line]]) -> None:
    with server() as (app, seen), Proxy(app) as proxy:
        transcripts: list[tuple[list[Line], list[Line]]] = []
        for url in (f"ws://127.0.0.1:{app}", f"ws://127.0.0.1:{proxy.plain}", f"wss://localhost:{proxy.tls}"):
            before = len(seen())
            said = client(url)
            # Each conversation but the refused one has an end for the server too, in whatever order those come.
            opened = 1 + 2 * len(CODES) + 2
            wait_for(lambda: sum(line[0] == "closed" for line in seen()[before:]) == opened, PATIENCE, "the ends")
            transcripts.append((said, sorted(seen()[before:], key=json.dumps)))
        direct, *through = transcripts
        assert len(direct[0]) > 20 and any(line[0] == "refused" for line in direct[0])
        assert ["message", "binary", 8 << 20] in [line[:3] for line in direct[0]]
        assert "permessage-deflate" in str(direct[0][0])
        for transcript in through:
            assert transcript == direct


def test_a_side_that_is_done_may_still_listen() -> None:
    answer = _noise(3 << 20)
    for first in ("client", "server"):
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            results: dict[str, bytes] = {}

            def serve_one(listener=listener, results=results, first=first) -> None:
                # The proxy looks whether the app is there.
                while b"GET /half" not in (head := _head(connection := listener.accept()[0])):
                    connection.close()
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                results["server"] = _converse(connection, answer, first == "server")
                results["head"] = head

            thread = threading.Thread(target=serve_one, daemon=True)
            thread.start()
            with socket.create_connection(("127.0.0.1", proxy.plain), PATIENCE) as client:
                client.sendall(
                    b"GET /half HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
                assert _head(client).startswith(b"HTTP/1.1 101 ")
                results["client"] = _converse(client, answer, first == "client")
            thread.join(PATIENCE)
            assert results["client"] == answer and results["server"] == answer, first


def _head(connection: socket.socket) -> bytes:
    """Reads to the end of a head, and no further."""
    connection.settimeout(PATIENCE)
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
        head += byte
    return head


def _converse(connection: socket.socket, answer: bytes, speaks_first: bool) -> bytes:
    """Says all and closes its side, then listens; or the other way around."""
    received = b""
    if speaks_first:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
    while part := connection.recv(65536):
        received += part
    if not speaks_first:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
    return received
