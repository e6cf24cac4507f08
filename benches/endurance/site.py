"""What runs: Sidestream, the app behind it, and the changes that an operator makes to both."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from peers.machine import ROOT, Failure, Process, free_port, say

from .wire import Client, Door, trusting

HERE = Path(__file__).parent
SECRET = "a secret for a soak, of thirty-two bytes and more"
ADMIN_TOKEN = "operator"
# Every so many reloads one is of a file with a mistake, which must change nothing.
MISTAKE_EVERY = 10

# The bounds of what is kept are so low that they are reached in the first minutes: what grows later is no cache that fills.
CONFIG = """
[server]
shutdown_timeout = "3s"
[log]
access = "access.log"
level = "info"
[publish]
socket = "publish.sock"
key_window = "1m"
[admin]
address = "127.0.0.1:{admin}"
token = "{token}"
[store]
{store}
age = "1m"
events = 2000
bytes = "2MiB"
[limits]
streams_per_user = {per_user}
[[listen]]
address = "127.0.0.1:{plain}"
idle_timeout = "20s"
[[listen]]
address = "127.0.0.1:{tls}"
tls = [{{ cert = "cert.pem", key = "key.pem" }}]
idle_timeout = "20s"
[upstreams.app]
servers = ["unix:app.sock"]
retry_for = "30s"
max_connections = {connections}
[auth.jwt]
kind = "jwt"
secret = "{secret}"
[auth.app]
kind = "ask"
upstream = "app"
path = "/me"
user = "/id"
cache = "5s"
recheck = "30s"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
request_headers = {{ set = {{ X-Generation = "{generation}" }} }}
compress = true
[[route]]
path = "/files/"
[route.files]
root = "files"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt", "app"]
max_age = "3m"
retry = "1s"
heartbeat = {{ every = "10s" }}
"""
# What every other reload adds and the next takes away again.
MORE = """
[[listen]]
address = "127.0.0.1:{more}"
tls = [{{ cert = "cert.pem", key = "key.pem" }}]
[upstreams.more]
servers = ["unix:app.sock"]
[auth.more]
kind = "jwt"
secret = "{secret}"
[[route]]
path = "/more/"
rate = {{ requests = 10 }}
[route.proxy]
upstream = "more"
[[route]]
path = "/more/events"
[route.stream]
auth = ["more"]
"""
STORES = {"memory": 'kind = "memory"', "disk": 'kind = "disk"\npath = "store"\nsync = "interval"'}


class Site:
    """Sidestream and an app, in a folder of their own."""

    def __init__(self, folder: Path, binary: Path, python: Path, store: str):
        self.folder, self.python, self.store = folder, python, store
        # A copy, since PSS counts by halves what another process of the same file has in memory too.
        self.binary = Path(shutil.copy(binary, folder / "sidestream"))
        self.ports = {name: free_port() for name in ("plain", "tls", "more", "admin")}
        self.socket = str(folder / "publish.sock")
        self.asked = self.reloads = self.refused = self.restarts = self.rotations = 0
        # Whether the app is being stopped or started now.
        self.is_restarting = False
        certificate(folder)
        (folder / "files").mkdir()
        (folder / "files/page.css").write_bytes(b"a{}\n" * 2000)
        self.configure()

    @contextmanager
    def running(self):
        """Both run for so long."""
        command = [str(self.binary), "run", "--config", "sidestream.toml"]
        self.app = self.new_app().__enter__()
        try:
            with Process(command, self.folder, [self.ports["plain"], self.ports["tls"], self.socket]) as self.process:
                yield self
        finally:
            self.app.__exit__()

    def plain(self) -> Door:
        return Door(self.ports["plain"])

    def tls(self) -> Door:
        return Door(self.ports["tls"], trusting(str(self.folder / "cert.pem")))

    def admin(self) -> Door:
        return Door(self.ports["admin"])

    def straight(self) -> Door:
        """To the app, past Sidestream."""
        return Door(str(self.folder / "app.sock"))

    async def reload(self) -> None:
        """Changes the file and has it read again: by SIGHUP and by the operator's address in turn."""
        self.asked += 1
        mistake = self.asked % MISTAKE_EVERY == 0
        self.configure("mistake = true\n" if mistake else "")
        if self.asked % 2:
            os.kill(self.process.pid, signal.SIGHUP)
        else:
            operator = Client(self.admin())
            status, body = await operator.ask("POST", "/reload", authorization=f"Bearer {ADMIN_TOKEN}")
            operator.close()
            if status != (422 if mistake else 200):
                raise Failure(f"a reload was answered with {status}: {body.decode(errors='replace')}")
        self.reloads += not mistake
        self.refused += mistake

    def configure(self, mistake: str = "") -> None:
        values = self.ports | {
            "token": ADMIN_TOKEN,
            "secret": SECRET,
            "store": STORES[self.store],
            "generation": self.asked,
            "per_user": 100 + self.asked % 3,
            "connections": 50 + self.asked % 5,
        }
        text = mistake + CONFIG + (MORE if self.asked % 2 else "")
        path = self.folder / "sidestream.toml"
        path.with_suffix(".new").write_text(text.format(**values))
        path.with_suffix(".new").rename(path)

    def restart_app(self) -> None:
        """Stops the app as an operator would, and starts it again. Takes a second or two."""
        self.is_restarting = True
        try:
            self.app.__exit__()
            self.app = self.new_app().__enter__()
            self.restarts += 1
        finally:
            self.is_restarting = False

    def new_app(self) -> Process:
        command = [str(self.python), "-m", "gunicorn", "app:app", "--bind", "unix:app.sock", "--threads", "4"]
        command += ["--pythonpath", str(HERE), "--worker-class", "gthread", "--log-level", "warning", "--no-control-socket"]
        return Process(command, self.folder, [self.folder / "app.sock"])

    def rotate_log(self) -> None:
        """Moves the access log away, as logrotate does, and has a new one begun."""
        (self.folder / "access.log").rename(self.folder / "access.log.1")
        os.kill(self.process.pid, signal.SIGUSR1)
        self.rotations += 1

    def disk(self) -> int:
        """Bytes in the folder of the store."""
        paths = (self.folder / "store").rglob("*")
        return sum(path.stat().st_blocks * 512 for path in paths if path.is_file())


def certificate(folder: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, stderr=subprocess.DEVNULL)


def python_with_gunicorn(given: Path | None) -> Path:
    """The Python that runs the app: one that has gunicorn, or one of our own below target/, with gunicorn put into it."""
    for candidate in [given] if given else [Path(sys.executable)]:
        if subprocess.run([candidate, "-c", "import gunicorn"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return candidate
        if given:
            raise Failure(f"{given} has no gunicorn; name a Python that has, or leave out --python")
    own = ROOT / "target/soak-python"
    if not (own / "complete").exists():
        say(f"installing gunicorn in {own}")
        lines = (ROOT / "tests/apps/requirements.txt").read_text().splitlines()
        wanted = [line for line in lines if line.startswith(("gunicorn==", "packaging=="))]
        subprocess.run([sys.executable, "-m", "venv", own], check=True)
        subprocess.run([own / "bin/python", "-m", "pip", "install", "--quiet", *wanted], check=True)
        (own / "complete").touch()
    return own / "bin/python"
