"""The shop as it would be deployed: gunicorn with one sync worker on a Unix socket, Sidestream in front of it on HTTPS."""

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import requests

sys.path.insert(0, str(Path(__file__).parent / "django"))
from shop import events  # noqa: E402 - the app's own file, which a user would copy

HERE = Path(__file__).parent
APP = HERE / "django"
BINARY = Path(os.environ.get("SIDESTREAM", HERE.parent.parent / "target/release/sidestream"))
PASSWORD = "correct horse battery"
START = 60.0  # seconds a process may take to start or to stop
PATIENCE = 60.0  # seconds that anything may take on a machine that is busy with something else


def deadline(seconds: float) -> float:
    """When to give up what takes less than `seconds` where nothing else runs."""
    return time.monotonic() + max(seconds, PATIENCE)


def wait_for(fact: Callable[[], object], seconds: float, what: str) -> None:
    """Asks for a fact until it holds, which takes less than `seconds` where nothing else runs; fails with `what`."""
    end = deadline(seconds)
    while not fact():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def _candidates() -> Iterator[int]:
    """Ports below those that the kernel hands out by itself: no connection takes one between our look and its use."""
    low, high = 10_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    first = os.getpid() * 97 % (high - low)
    return itertools.cycle(itertools.chain(range(low + first, high), range(low, low + first)))


_ports = _candidates()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now, and that this run of the tests has not given to anyone yet."""
    for port in _ports:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable: the ports come round for ever")


class Process:
    """A child process in a group of its own, with its output in a file."""

    def __init__(self, command: list[str], log: Path, **options) -> None:
        self.log = log
        with log.open("ab") as output:
            options |= {"stdin": subprocess.DEVNULL, "start_new_session": True}
            self.child = subprocess.Popen(command, stdout=output, stderr=output, **options)

    def wait_until(self, fact: Callable[[], object], what: str) -> None:
        """Waits for a fact that the process brings about; fails with its output when it ends before."""

        def alive_and_ready() -> object:
            assert self.child.poll() is None, f"exit {self.child.returncode} before {what}:\n{self.log.read_text()}"
            return fact()

        wait_for(alive_and_ready, START, f"{what}; see {self.log}")

    def stop(self, seconds: float = START) -> int:
        """SIGTERM, then the exit code; SIGKILL and a failure when it takes longer than `seconds`."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still there {seconds} s after SIGTERM:\n{self.log.read_text()[-4000:]}") from None

    def kill(self) -> None:
        """Ends it and its workers at once, if it is still there."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


def behind_tls(port: int, server: str, kind: str) -> str:
    """A configuration of TLS before one app, by the certificate of [`write_certificate`]; its last table is the route's."""
    return f"""
[log]
access = "off"
[publish]
socket = ""
[[listen]]
address = "127.0.0.1:{port}"
tls = [{{ cert = "cert.pem", key = "key.pem" }}]
[upstreams.app]
servers = ["{server}"]
kind = "{kind}"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
"""


def write_certificate(folder: Path) -> None:
    """Makes a self-signed certificate for localhost: cert.pem and key.pem in a folder."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost -addext keyUsage=critical,digitalSignature,keyCertSign"
    command += " -out cert.pem -keyout key.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


class Deployment:
    """One running shop in a temporary folder; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        # Not pytest's folder: its names are longer than the path of a Unix socket may be.
        self.folder = Path(tempfile.mkdtemp(prefix="shop-"))
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.app: Process | None = None
        self.sidestream: Process | None = None
        self.environment = {
            **os.environ,
            "SHOP_DATA": str(self.folder),
            "SHOP_SECRET_KEY": secrets.token_urlsafe(50),
            "SIDESTREAM_SOCKET": str(self.folder / "publish.sock"),
            "SIDESTREAM_SECRET": secrets.token_urlsafe(50),
        }

    def __enter__(self) -> "Deployment":
        try:
            write_certificate(self.folder)
            self._write_config()
            self._manage("migrate", "--verbosity", "0")
            self._manage("shell", "--verbosity", "0", "--command", _CREATE_USERS)
            self.start_app()
            self.start_sidestream()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        processes = [process for process in (self.sidestream, self.app) if process is not None]
        for process in processes:
            process.kill()
        logs = [f"--- end of {process.log.name}\n{process.log.read_text()[-4000:]}" for process in processes]
        shutil.rmtree(self.folder)
        print("\n".join(logs))  # pytest shows this below a test that failed

    @property
    def certificate(self) -> Path:
        """The self-signed certificate, which is its own authority."""
        return self.folder / "cert.pem"

    def start_app(self) -> None:
        """Starts gunicorn and waits until it accepts."""
        command = [sys.executable, "-m", "gunicorn", "shop.wsgi", "--workers", "1", "--worker-class", "sync"]
        command += ["--bind", f"unix:{self.folder / 'gunicorn.sock'}", "--chdir", str(APP), "--no-control-socket"]
        self.app = Process(command, self.folder / "gunicorn.log", cwd=self.folder, env=self.environment)
        self.app.wait_until(lambda: accepts(self.folder / "gunicorn.sock"), "gunicorn accepts")

    def stop_app(self) -> None:
        """Stops gunicorn as an operator would."""
        assert self.app is not None and self.app.stop() == 0

    def start_sidestream(self) -> None:
        """Starts Sidestream and waits until it accepts requests and publications."""
        command = [str(BINARY), "run", "--config", str(self.folder / "sidestream.toml")]
        self.sidestream = Process(command, self.folder / "sidestream.log", cwd=self.folder, env=self.environment)
        self.sidestream.wait_until(lambda: accepts(("127.0.0.1", self.port)), "Sidestream accepts")
        self.sidestream.wait_until(lambda: accepts(self.folder / "publish.sock"), "the publish socket accepts")

    def login(self, name: str) -> "Visitor":
        """Signs a user in through the login form."""
        visitor = Visitor(self)
        visitor.sign_in(name)
        return visitor

    def tls(self) -> ssl.SSLContext:
        """A client's TLS that trusts only this shop."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def token(self, user: int) -> str:
        """A stream token as the shop makes them."""
        with mock.patch.dict(os.environ, self.environment):
            return events.stream_token(user)

    def _write_config(self) -> None:
        text = (APP / "sidestream.toml").read_text()
        assert text.count('"0.0.0.0:8443"') == 1
        (self.folder / "sidestream.toml").write_text(text.replace("0.0.0.0:8443", f"127.0.0.1:{self.port}"))

    def _manage(self, *arguments: str) -> None:
        command = [sys.executable, str(APP / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


class Visitor(requests.Session):
    """A browser without JavaScript: keeps cookies, follows redirects, fills in forms."""

    TIMEOUT = 60.0

    def __init__(self, shop: Deployment) -> None:
        super().__init__()
        self.shop = shop
        self.verify = str(shop.certificate)
        self.headers["Referer"] = shop.url
        self.trust_env = False
        self.user_id = 0

    def request(self, method, url, **options):
        """As in `requests`, with paths of the shop and a deadline."""
        options.setdefault("timeout", self.TIMEOUT)
        return super().request(method, self.shop.url + url if url.startswith("/") else url, **options)

    def sign_in(self, name: str) -> None:
        """Fills in the login form."""
        assert self.get("/").url == f"{self.shop.url}/login?next=/"
        page = self.post("/login?next=/", data={**self.form(), "username": name, "password": PASSWORD})
        assert page.url == f"{self.shop.url}/" and f"Hello {name}" in page.text
        self.user_id = USERS.index(name) + 1

    def form(self) -> dict[str, str]:
        """The field that proves that a form came from the shop."""
        return {"csrfmiddlewaretoken": self.cookies["csrftoken"]}

    def order(self, item: str) -> dict:
        """Orders an item; the app tells the user's tabs."""
        response = self.post("/api/orders", data={**self.form(), "item": item})
        assert response.status_code == 200, response.text
        return response.json()

    def token(self) -> str:
        """A stream token from the app."""
        return self.get("/api/token").json()["token"]


USERS = ["alice", "bob"]

_CREATE_USERS = f"""
from django.contrib.auth.models import User
for name in {USERS!r}:
    User.objects.create_user(name, password={PASSWORD!r})
"""


def accepts(address: Path | tuple[str, int]) -> bool:
    """Whether somebody listens on a Unix socket or a TCP address."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(10.0)
        return connection.connect_ex(str(address) if isinstance(address, Path) else address) == 0
