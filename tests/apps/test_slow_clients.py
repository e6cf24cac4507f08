"""Clients that are slow: gunicorn with one sync worker, 200 readers of 1 KiB a second, and others who wait for nobody."""

import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import BINARY, Process, accepts, free_port, wait_for

READERS = 200
LARGE = 6 << 20  # more than the 4 MiB that the system itself may hold for a TCP connection
ROUNDS = 12  # seconds in which the readers read a KiB each
HELD = 500.0  # milliseconds: well below what those would wait who wait for such a client, and above what a busy machine takes
ASKED = 150  # requests of the others, before and meanwhile
NGINX = shutil.which("nginx")

APP = f"""
LARGE = bytes(range(256)) * ({LARGE} // 256)

def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = str(len(body)).encode()
    else:
        answer = LARGE if environ["PATH_INFO"] == "/large" else b"ok"
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"""

# It goes on for ever, and says so when it has been told that nobody listens.
ENDLESS = """
import asyncio
from pathlib import Path

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    leaving = asyncio.ensure_future(disconnected(receive))
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await asyncio.sleep(0)
    Path("gone").touch()

async def disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
"""

GUNICORN = "gunicorn large:app --bind unix:{socket} --workers 1 --no-control-socket"
UVICORN = "uvicorn large:app --uds {socket} --lifespan off"
UPSTREAMS = {
    "sidestream": "",
    "unaided": 'read_ahead = "0B"',
    "endless": 'kind = "asgi"\nread_ahead = "8MiB"',
}


class Front:
    """An app with one worker, and what is in front of it."""

    def __init__(self, folder: Path, app: str, server: str) -> None:
        self.folder = folder
        (folder / "large.py").write_text(app)
        self.app_socket = folder / "app.sock"
        self.port = free_port()
        command = [sys.executable, "-m", *server.format(socket=self.app_socket).split()]
        self.app = Process(command, folder / "app.log", cwd=folder)
        self.proxy: Process | None = None
        self.app.wait_until(lambda: accepts(self.app_socket), "the app accepts")

    def start(self, command: list[str]) -> None:
        self.proxy = Process(command, self.folder / "proxy.log", cwd=self.folder)
        self.proxy.wait_until(lambda: accepts(("127.0.0.1", self.port)), "the proxy accepts")

    def start_sidestream(self, upstream: str) -> None:
        (self.folder / "sidestream.toml").write_text(f"""
            [server]
            workers = 2
            temp_dir = "."
            spool_disk = "2GiB"
            [log]
            access = "off"
            [publish]
            socket = "publish.sock"
            [[listen]]
            address = "127.0.0.1:{self.port}"
            [upstreams.app]
            servers = ["unix:app.sock"]
            {upstream}
            [[route]]
            path = "/"
            [route.proxy]
            upstream = "app"
        """)
        self.start([str(BINARY), "run", "--config", "sidestream.toml"])

    def start_nginx(self) -> None:
        (self.folder / "nginx.conf").write_text(f"""
            user root;
            worker_processes 2;
            pid nginx.pid;
            daemon off;
            error_log error.log;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
                upstream app {{ server unix:{self.app_socket}; }}
                server {{ listen 127.0.0.1:{self.port}; location / {{ proxy_pass http://app; }} }}
            }}
        """)
        self.start([str(NGINX), "-p", str(self.folder), "-c", "nginx.conf", "-e", "error.log"])

    def pss(self) -> int:
        """The memory of the proxy and its workers, in KiB, each page counted once."""
        listed = subprocess.run(["ps", "-o", "pid=", "-g", str(self.proxy.child.pid)], capture_output=True, text=True)
        return sum(pss_of(int(pid)) for pid in listed.stdout.split())

    def kill(self) -> None:
        for process in (self.proxy, self.app):
            if process is not None:
                process.kill()
                print(f"--- end of {process.log.name}\n{process.log.read_text()[-2000:]}")


def pss_of(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


@contextmanager
def front(kind: str) -> Iterator[Front]:
    folder = Path(tempfile.mkdtemp(prefix="slow-"))
    app, server = (ENDLESS, UVICORN) if kind == "endless" else (APP, GUNICORN)
    site = Front(folder, app, server)
    try:
        if kind == "nginx":
            site.start_nginx()
        else:
            site.start_sidestream(UPSTREAMS[kind])
        yield site
    finally:
        site.kill()
        shutil.rmtree(folder)


class Readers:
    """Clients that ask for something large and read a KiB of it a second."""

    def __init__(self, port: int, count: int) -> None:
        self.sockets = []
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(60)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
            self.sockets.append(client)
        self.read = [0] * count
        self.cut = 0
        self.first = b""  # what the first of them has got
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopped.wait(1.0):
            for place, client in enumerate(self.sockets):
                client.setblocking(False)
                try:
                    came = client.recv(1024)
                except BlockingIOError:
                    continue
                if not came:
                    self.cut += 1
                self.read[place] += len(came)
                self.first += came if place == 0 else b""

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()


def files_of(site: Front) -> int:
    """How many files without a name the proxy has open."""
    descriptors = Path(f"/proc/{site.proxy.child.pid}/fd").iterdir()
    return sum(os.readlink(each).endswith("(deleted)") for each in descriptors if each.is_symlink())


def ask(port: int, target: str = "/", seconds: float = 60.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[2]


def latencies(port: int, count: int) -> list[float]:
    """How long small requests take, in milliseconds, sorted."""
    taken = []
    for _ in range(count):
        begun = time.monotonic()
        assert ask(port) == b"ok"
        taken.append((time.monotonic() - begun) * 1000)
        time.sleep(random.uniform(0, 0.02))
    return sorted(taken)


def shown(taken: list[float]) -> str:
    return f"median {statistics.median(taken):.1f} ms, 99 % {taken[int(len(taken) * 0.99)]:.1f} ms, most {taken[-1]:.1f} ms"


@pytest.mark.parametrize("kind", ["sidestream", "nginx"])
def test_readers_of_a_kilobyte_a_second_slow_nobody(kind):
    if kind == "nginx" and NGINX is None:
        pytest.skip("the control needs nginx")
    with front(kind) as site:
        latencies(site.port, 20)
        before, memory = latencies(site.port, ASKED), site.pss()
        asked = time.monotonic()
        readers = Readers(site.port, READERS)
        try:
            wait_for(lambda: min(readers.read) >= 1024, 180, "the readers to read")
            served = (begun := time.monotonic()) - asked
            meanwhile = latencies(site.port, ASKED)
            while time.monotonic() - begun < ROUNDS:
                meanwhile = sorted(meanwhile + latencies(site.port, 20))
            grown = site.pss() - memory
        finally:
            readers.stop()
        print(f"\n{kind}: {READERS} readers of {LARGE >> 20} MiB, served after {served:.1f} s; before: {shown(before)}; meanwhile: {shown(meanwhile)}; PSS {memory} KiB + {grown} KiB")
        assert readers.cut == 0
        if kind == "sidestream":
            # A file for each, and at most 64 KiB here, as much on the way out, and what the allocator keeps.
            assert grown < READERS * 512
            assert statistics.median(meanwhile) < 10 * statistics.median(before) + HELD
        # What they get is what was sent, however long it takes.
        last = readers.sockets[0]
        last.settimeout(60)
        head, _, came = readers.first.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        while len(came) < LARGE:
            assert (piece := last.recv(1 << 20)), f"cut after {len(came)} bytes"
            came += piece
        assert came == bytes(range(256)) * (LARGE // 256)


def test_without_reading_ahead_they_would_hold_the_worker():
    with front("unaided") as site:
        assert ask(site.port) == b"ok"
        readers = Readers(site.port, 5)
        try:
            wait_for(lambda: min(readers.read) >= 0 and sum(readers.read) > 0, 20, "a reader to read")
            with pytest.raises(TimeoutError):
                ask(site.port, seconds=3.0)
        finally:
            readers.stop()


@pytest.mark.parametrize("framing", ["Content-Length: 20000", "Transfer-Encoding: chunked"])
def test_writers_of_a_kilobyte_a_second_hold_no_worker(framing):
    with front("sidestream") as site:
        before = latencies(site.port, ASKED)
        writers = [socket.create_connection(("127.0.0.1", site.port), timeout=60) for _ in range(50)]
        for writer in writers:
            writer.sendall(f"POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode())
        piece = b"x" * 1000 if "Length" in framing else b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        meanwhile = []
        for _ in range(5):
            for writer in writers:
                writer.sendall(piece)
            meanwhile += latencies(site.port, 40)
        print(f"\n50 writers, {framing}: before: {shown(before)}; meanwhile: {shown(sorted(meanwhile))}")
        assert statistics.median(meanwhile) < 10 * statistics.median(before) + HELD
        for writer in writers:
            writer.sendall(piece * 15 + (b"" if "Length" in framing else b"0\r\n\r\n"))
            answer = b""
            while not answer.endswith(b"20000"):
                came = writer.recv(65536)
                assert came, answer
                answer += came


def test_nothing_is_left_of_what_waited_when_it_is_killed():
    with front("sidestream") as site:
        readers = Readers(site.port, 5)
        try:
            wait_for(lambda: files_of(site) == 5, 20, "five files")
            names = {path.name for path in site.folder.iterdir()}
            site.proxy.kill()
            assert {path.name for path in site.folder.iterdir()} <= names
            assert not [name for name in names if name.startswith(".")]
        finally:
            readers.stop()


def test_an_endless_answer_ends_with_its_client():
    with front("endless") as site:
        with socket.create_connection(("127.0.0.1", site.port), timeout=60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
            # As much as may be is read ahead of it, and no more.
            wait_for(lambda: files_of(site) == 1, 20, "a file")
            time.sleep(0.5)
            assert not (site.folder / "gone").exists()
        wait_for((site.folder / "gone").exists, 20, "the app to be told")
        wait_for(lambda: files_of(site) == 0, 20, "the file to be gone")
