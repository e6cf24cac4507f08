"""Deploys of the app under load: gunicorn is reloaded, and stopped and started, and no request fails or is done twice."""

import json
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import BINARY, Process, accepts, free_port, wait_for

CLIENTS = 12
PAUSE = 0.4  # seconds of load between two things that happen to the app

# It says who served, and writes down what it was told to do, and when it began and ended.
APP = """
import os, time

def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    began = time.monotonic()
    time.sleep(0.003)
    line = f"{environ['REQUEST_METHOD']} {body.decode() or '-'} {began} {time.monotonic()}\\n".encode()
    log = os.open("done.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line)
    os.close(log)
    answer = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"""


class Site:
    """gunicorn and Sidestream in a temporary folder."""

    def __init__(self, arguments: list[str], upstream: str, on_unix: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="deploy-"))
        (self.folder / "slow.py").write_text(APP)
        self.address = self.folder / "app.sock" if on_unix else ("127.0.0.1", free_port())
        self.bind = f"unix:{self.address}" if on_unix else f"127.0.0.1:{self.address[1]}"
        self.arguments = arguments
        self.port = free_port()
        server = f"unix:{self.address}" if on_unix else f"http://{self.bind}"
        config = f"""
            [server]
            workers = 2
            [log]
            access = "off"
            [publish]
            socket = "publish.sock"
            [[listen]]
            address = "127.0.0.1:{self.port}"
            [upstreams.app]
            servers = ["{server}"]
            retry_for = "60s"
            {upstream}
            [[route]]
            path = "/"
            [route.proxy]
            upstream = "app"
        """
        (self.folder / "sidestream.toml").write_text(config)
        self.app: Process | None = None
        self.sidestream: Process | None = None

    def start_app(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "slow:app", "--bind", self.bind, "--no-control-socket", *self.arguments]
        self.app = Process(command, self.folder / "gunicorn.log", cwd=self.folder)

    def start(self) -> None:
        self.start_app()
        self.app.wait_until(lambda: accepts(self.address), "gunicorn accepts")
        command = [str(BINARY), "run", "--config", "sidestream.toml"]
        self.sidestream = Process(command, self.folder / "sidestream.log", cwd=self.folder)
        self.sidestream.wait_until(lambda: accepts(("127.0.0.1", self.port)), "Sidestream accepts")

    def stop(self) -> None:
        for process in (self.sidestream, self.app):
            if process is not None:
                process.kill()
                print(f"--- end of {process.log.name}\n{process.log.read_text()[-3000:]}")
        shutil.rmtree(self.folder)

    def done(self) -> list[list[str]]:
        """What the app has done: the method, the body, when it began and ended."""
        return [line.split() for line in (self.folder / "done.log").read_text().splitlines()]

    def counters(self) -> dict:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "publish.sock"))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return json.loads(b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2])


@contextmanager
def running(arguments: list[str], upstream: str = "", on_unix: bool = True) -> Iterator[Site]:
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
    site = Site(arguments, upstream, on_unix)
    try:
        site.start()
        yield site
    finally:
        site.stop()


class Load:
    """Clients that read and write without a pause, each on a connection of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers: Counter = Counter()
        self.served_by: set[str] = set()
        self.posted: list[str] = []
        self.longest = 0.0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with socket.create_connection(("127.0.0.1", self.site.port), timeout=120) as connection:
            answers = connection.makefile("rb")
            count = 0
            while not self._ended.is_set():
                count += 1
                body = f"{number}-{count}" if count % 2 else ""
                method = "POST" if body else "GET"
                head = f"{method} / HTTP/1.1\r\nHost: test\r\n"
                head += f"Content-Length: {len(body)}\r\n\r\n" if body else "\r\n"
                began = time.monotonic()
                connection.sendall((head + body).encode())
                status = answers.readline().split()[1].decode()
                length = 0
                while (line := answers.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answer = answers.read(length).decode()
                self.longest = max(self.longest, time.monotonic() - began)
                self.answers[method, status] += 1
                if status == "200":
                    self.served_by.add(answer)
                    if body:
                        self.posted.append(body)

    def check(self) -> None:
        """Every request was answered by the app, and each order was done once."""
        counters = self.site.counters()
        shown = {name: value for name, value in counters.items() if name.startswith("upstream_")}
        print(dict(self.answers), f"longest {self.longest:.2f} s", shown)
        assert set(status for _, status in self.answers) == {"200"}, (self.answers, shown)
        done = Counter(body for method, body, *_ in self.site.done() if method == "POST")
        assert done == Counter(self.posted)


KINDS = {
    "sync": (["--workers", "2", "--worker-class", "sync"], ""),
    "one-sync": (["--workers", "1", "--worker-class", "sync"], "max_connections = 1"),
    "gthread": (["--workers", "2", "--worker-class", "gthread", "--threads", "4"], ""),
}


@pytest.mark.parametrize("on_unix", [True, False], ids=["unix", "tcp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_fails_no_request(kind: str, on_unix: bool) -> None:
    with running(*KINDS[kind], on_unix) as site, Load(site) as load:
        for _ in range(4):
            time.sleep(PAUSE)
            before = len(load.served_by)
            site.app.child.send_signal(signal.SIGHUP)
            wait_for(lambda before=before: len(load.served_by) > before, 20, "an answer by a new worker")
        time.sleep(PAUSE)
        load.stop()
        load.check()


@pytest.mark.parametrize("on_unix", [True, False], ids=["unix", "tcp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_and_a_start_fail_no_request(kind: str, on_unix: bool) -> None:
    with running(*KINDS[kind], on_unix) as site, Load(site) as load:
        for _ in range(4):
            time.sleep(PAUSE)
            before = len(load.served_by)
            assert site.app.stop() == 0
            site.start_app()
            wait_for(lambda before=before: len(load.served_by) > before, 20, "an answer by a new worker")
        time.sleep(PAUSE)
        load.stop()
        load.check()
        assert site.counters()["upstream_held"] > 0


def test_one_synchronous_worker_is_never_sent_two_requests() -> None:
    queued = {}
    for upstream in ("", "max_connections = 1"):
        with running(["--workers", "1", "--worker-class", "sync"], upstream) as site, Load(site) as load:
            deadline = time.monotonic() + 2
            queued[upstream] = max(iter(lambda site=site: in_queue(site.address, deadline), -1))
            load.stop()
            load.check()
    assert queued[""] > 2, "the control"
    # One that has just been sent, and is not accepted yet.
    assert queued["max_connections = 1"] <= 1, queued


def in_queue(path: Path, deadline: float) -> int:
    """How many connections to a Unix socket its app has not accepted; -1 when it is time to stop."""
    if time.monotonic() > deadline:
        return -1
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(f" {path}") and line.split()[5] == "02" for line in lines)
