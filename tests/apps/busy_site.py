"""A Sidestream under real load, for the status page: clients that ask, streams that are read, one that is not, publishers."""

import contextlib
import http.server
import json
import math
import selectors
import shutil
import socket
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import jwt
import requests
from deployment import BINARY, Process, free_port

SECRET = "a secret of the tests, thirty-two bytes and more"
TOKEN = "the token of the operator"
USERS = ["ana", "ben", "chloe", "dmitri", "elif", "farid", "grace", "hiro", "ines", "jonas"]

CONFIG = """
[server]
workers = 2
[log]
access = "off"
[admin]
address = "127.0.0.1:{admin}"
{token}
[publish]
socket = "publish.sock"
[[listen]]
address = "127.0.0.1:{site}"
[upstreams.shop]
servers = ["http://127.0.0.1:{app}"]
kind = "asgi"
[upstreams.reports]
servers = ["http://127.0.0.1:{app}", "http://127.0.0.1:9"]
kind = "asgi"
[auth.jwt]
kind = "jwt"
secret = "{secret}"
[[route]]
path = "/"
[route.proxy]
upstream = "shop"
[[route]]
path = "/reports/"
[route.proxy]
upstream = "reports"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
allow = ["news", "board:*"]
max_per_user = 0
"""


class App(http.server.BaseHTTPRequestHandler):
    """Answers every GET, now and then late or with an error."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: else the client's delayed acknowledgement is measured
    count = 0

    def do_GET(self) -> None:
        App.count += 1
        time.sleep(0.03 if App.count % 40 == 0 else 0.001)
        self.send_response(500 if App.count % 150 == 0 else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_args) -> None:
        pass


class BusySite:
    """All of it, running; a context manager that leaves nothing behind."""

    def __init__(self, token: bool = True) -> None:
        assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
        self.folder = Path(tempfile.mkdtemp(prefix="status-"))  # short: the path of a Unix socket is bounded
        self.app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
        self.app.daemon_threads = True
        self.port, self.admin = free_port(), free_port()
        self.config = CONFIG.format(
            admin=self.admin,
            site=self.port,
            app=self.app.server_address[1],
            secret=SECRET,
            token=f'token = "{TOKEN}"' if token else "",
        )
        (self.folder / "sidestream.toml").write_text(self.config)
        self.sidestream: Process | None = None
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.app.serve_forever)]
        self.streams: list[socket.socket] = []
        self.came = 0  # bytes that streams were sent

    def __enter__(self) -> "BusySite":
        try:
            self.threads[0].start()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.sidestream is not None:
            self.sidestream.kill()
            print(f"--- end of the log\n{self.sidestream.log.read_text()[-3000:]}")  # shown below a failed test
        self.app.shutdown()
        for thread in self.threads:
            thread.join()
        for stream in self.streams:
            stream.close()
        self.app.server_close()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Starts Sidestream and waits until it is alive."""
        command = [str(BINARY), "run", "--config", "sidestream.toml"]
        self.sidestream = Process(command, self.folder / "log", cwd=self.folder)
        self.sidestream.wait_until(self.is_alive, "it is alive")

    def is_alive(self) -> bool:
        """Whether the address of the operator answers."""
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{self.admin}/healthz", timeout=5).ok
        return False

    def open(self, user: str, channels: str = "") -> socket.socket:
        """Opens a stream that is read from then on, once there is load."""
        token = jwt.encode({"sub": user, "exp": int(time.time()) + 7200}, SECRET)
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        query = f"/events?token={token}" + (f"&channels={channels}" if channels else "")
        stream.sendall(f"GET {query} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
        assert stream.recv(12) == b"HTTP/1.1 200"
        self.streams.append(stream)
        return stream

    def publish(self, **publication: object) -> dict:
        """Publishes at the socket."""
        with socket.socket(socket.AF_UNIX) as publisher:
            publisher.settimeout(30)
            publisher.connect(str(self.folder / "publish.sock"))
            publisher.sendall(json.dumps(publication).encode() + b"\n")
            return json.loads(publisher.makefile().readline())

    def load(self, rate: float) -> None:
        """Begins to ask and to publish about so many times a second, in waves, and to read what streams are sent."""
        for work in (self._ask, self._publish, self._read):
            self.threads.append(threading.Thread(target=work, args=(rate,)))
            self.threads[-1].start()

    def _pause(self, rate: float) -> bool:
        """Waits for its turn; the waves take four minutes. Says whether there is another one."""
        wave = 1 + 0.5 * math.sin(time.monotonic() * math.tau / 240) + 0.2 * math.sin(time.monotonic() / 3)
        return not self.over.wait(1 / (rate * wave))

    def _ask(self, rate: float) -> None:
        with contextlib.suppress(OSError):
            client = HTTPConnection("127.0.0.1", self.port, timeout=30)
            count = 0
            while self._pause(rate):
                count += 1
                client.request("GET", "/reports/week" if count % 4 == 0 else "/")
                client.getresponse().read()
            client.close()

    def _publish(self, rate: float) -> None:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            count = 0
            while self._pause(rate / 4):
                count += 1
                whom = {"channel": "news"} if count % 5 == 0 else {"user": USERS[count % len(USERS)]}
                self.publish(**whom, event="notification", data={"title": f"Order {count} was paid"})

    def _read(self, _rate: float) -> None:
        while not self.over.is_set():
            with selectors.DefaultSelector() as selector:
                for stream in list(self.streams):
                    if stream.fileno() >= 0:
                        selector.register(stream, selectors.EVENT_READ)
                for key, _ in selector.select(0.2):
                    with contextlib.suppress(OSError):
                        data = key.fileobj.recv(65536)
                        self.came += len(data)
                        if not data:
                            self.streams.remove(key.fileobj)
                            key.fileobj.close()
