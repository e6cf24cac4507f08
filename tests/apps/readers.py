"""A site for client libraries: Sidestream, an app that serves their page and knows their sessions, and the network."""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

from deployment import BINARY, HERE, Process, accepts, events, free_port, write_certificate
from npm import packages
from relay import Relay
from selenium.webdriver import Chrome

CLIENTS = HERE / "clients"
SECRET = "what the tokens of the tests are signed with"
PATIENT = 1.5  # seconds, the `retry` of /patient: more than fetch-event-source's own, less than that of all others

CONFIG = """
[log]
access = "access.log"
[publish]
socket = "publish.sock"
[limits]
streams_per_user = 1
[[listen]]
address = "127.0.0.1:CLEAR"
[[listen]]
address = "127.0.0.1:TLS"
tls = [{ cert = "cert.pem", key = "key.pem" }]
[upstreams.app]
servers = ["http://127.0.0.1:APP"]
kind = "wsgi"
[auth.jwt]
kind = "jwt"
secret = "SECRET"
leeway = "0s"
[auth.session]
kind = "ask"
upstream = "app"
path = "/api/me"
user = "/id"
cache = "0s"

[[route]]
path = "/"
[route.proxy]
upstream = "app"

[[route]]
path = "/events"
cors = { origins = ["http://127.0.0.1:APP"], credentials = true }
[route.stream]
auth = ["jwt"]
retry = "300ms"
max_age = "2s"
max_per_user = 0
heartbeat = { every = "200ms", comment = "" }

[[route]]
path = "/asked"
cors = { origins = ["http://127.0.0.1:APP"], credentials = true }
[route.stream]
auth = ["jwt", "session"]
retry = "300ms"
max_per_user = 0

[[route]]
path = "/patient"
[route.stream]
auth = ["jwt"]
retry = "1500ms"
max_per_user = 0

[[route]]
path = "/one"
[route.stream]
auth = ["jwt"]
retry = "1s"

[[route]]
path = "/greeted"
[route.stream]
auth = ["jwt"]
hello = { event = "connected", data = "{}" }

[[route]]
path = "/told"
[route.stream]
auth = ["jwt", "session"]
retry = "300ms"
max_per_user = 0
unauthorized = "event"
"""


class Site:
    """All of it, running; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
        self.folder = Path(tempfile.mkdtemp(prefix="clients-"))  # short: the path of a Unix socket is bounded
        self.app = App()
        clear, tls = free_port(), free_port()
        self.doors = [("127.0.0.1", clear), ("127.0.0.1", tls), self.folder / "publish.sock"]
        # The networks to both doors, which can be cut.
        self.clear, self.tls = Relay(clear), Relay(tls)
        config = CONFIG.replace("SECRET", SECRET)
        for name, port in (("CLEAR", clear), ("TLS", tls), ("APP", self.app.server_port)):
            config = config.replace(name, str(port))
        (self.folder / "sidestream.toml").write_text(config)
        write_certificate(self.folder)
        self.sidestream: Process | None = None
        self.scripts: list[Process] = []

    def __enter__(self) -> "Site":
        threading.Thread(target=self.app.serve_forever, daemon=True).start()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.scripts, self.sidestream]:
            if process is not None:
                process.kill()
                print(f"--- end of {process.log.name}\n{process.log.read_text()[-4000:]}")  # shown below a failed test
        self.clear.__exit__()
        self.tls.__exit__()
        self.app.shutdown()
        self.app.server_close()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Starts Sidestream and waits until it accepts requests and publications."""
        self.sidestream = Process([str(BINARY), "run"], self.folder / "sidestream.log", cwd=self.folder)
        for door in self.doors:
            self.sidestream.wait_until(lambda door=door: accepts(door), f"Sidestream accepts at {door}")

    def restart(self) -> None:
        """Kills Sidestream, as a crash would, and starts it again."""
        self.sidestream.kill()
        self.start()

    def publish(self, user: str, event: str, data: str) -> tuple[str, str, str]:
        """Hands in an event; what each of the user's clients is to see of it."""
        reply = self._tell("/publish", {"user": user, "event": event, "data": data})
        return event, data, reply["id"]

    def disconnect(self, user: str) -> int:
        """Ends a user's streams; how many they were."""
        return self._tell("/disconnect", {"user": user})["disconnected"]

    def _tell(self, path: str, body: object) -> dict:
        connection = HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.doors[-1]))
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200, answer
        return answer

    def log(self, kind: str, user: str) -> list[dict]:
        """The lines of the access log that tell of a user's streams: of their "open", or of their "close"."""
        *whole, _ = (self.folder / "access.log").read_text().split("\n")
        return [line for line in map(json.loads, whole) if (line["kind"], line.get("user")) == (kind, user)]

    def requests(self, path: str) -> list[dict]:
        """The lines of the access log for requests that became no stream."""
        *whole, _ = (self.folder / "access.log").read_text().split("\n")
        lines = [line for line in map(json.loads, whole) if line["kind"] == "request"]
        return [line for line in lines if line["target"].startswith(path)]

    def script(self, name: str, url: str, user: str, lifetime: int = 3600) -> "Script":
        """Starts a client that needs no browser, with a token."""
        if name == "eventsource":
            command = ["node", str(CLIENTS / "listen.mjs"), str(packages(CLIENTS) / "node_modules/eventsource")]
        else:
            command = [sys.executable, str(CLIENTS / "listen.py")]
        process = Process([*command, url, token(user, lifetime)], self.folder / f"{name}-{user}.log")
        self.scripts.append(process)
        return Script(process)


def token(user: str, lifetime: int = 3600) -> str:
    """A token that the site takes."""
    with mock.patch.dict(os.environ, {"SIDESTREAM_SECRET": SECRET}):
        return events.stream_token(user, lifetime)


class Script:
    """A client that prints what it sees."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def lines(self) -> list[dict]:
        """What it saw, in order."""
        assert self.process.child.poll() in (None, 0), self.process.log.read_text()
        *whole, _ = self.process.log.read_text().split("\n")
        return [json.loads(line) for line in whole]

    def close(self) -> None:
        """Ends it."""
        self.process.kill()


class Reader:
    """A client in a page."""

    def __init__(self, browser: Chrome, name: str, library: str, url: str, **options: object) -> None:
        self.browser = browser
        self.name = name
        browser.execute_script("clients.start(...arguments)", name, library, url, options)

    def lines(self) -> list[dict]:
        """What it saw, in order."""
        return self.browser.execute_script("return clients.lines(arguments[0])", self.name)

    def close(self) -> None:
        """Closes the stream, as the page's own code would."""
        self.browser.execute_script("clients.close(arguments[0])", self.name)


class App(ThreadingHTTPServer):
    """Serves the page and its libraries, and knows who has a session."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.is_down = False  # it answers that it cannot say who is signed in


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers a request."""
        path = self.path.partition("?")[0]
        if path == "/api/me":
            self._say_who()
        elif path.startswith("/packages/"):
            self._send_file(packages(CLIENTS) / "node_modules" / path.removeprefix("/packages/"))
        else:
            self._send_file(CLIENTS / ("page.html" if path == "/" else path[1:]))

    def _say_who(self) -> None:
        session = SimpleCookie(self.headers["Cookie"]).get("sessionid")
        status = 503 if self.server.is_down else 200 if session else 401
        self._send(status, "application/json", json.dumps({"id": session and session.value}).encode())

    def _send_file(self, file: Path) -> None:
        if not file.suffix:
            file = file.with_suffix(".js")  # libraries built for bundlers leave it out when they import their own files
        kind = {".html": "text/html", ".js": "text/javascript"}.get(file.suffix)
        if kind is None or not file.is_file():
            return self._send(404, "text/plain", b"not here")
        self._send(200, kind, file.read_bytes())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
