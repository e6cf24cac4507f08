"""Session cookies that the real npm packages make in this very run open streams of their users."""

import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from deployment import BINARY, HERE, Process, free_port, wait_for
from npm import packages

AUTHJS = HERE / "authjs"
SECRETS = ["the newest secret of ours", "the one before it"]
V5 = "authjs.session-token"
V4 = "next-auth.session-token"

CONFIG = """
[log]
access = "access.log"
[publish]
socket = "publish.sock"
[[listen]]
address = "127.0.0.1:PORT"
[upstreams.app]
servers = ["http://127.0.0.1:9"]
kind = "node"
[auth.authjs]
kind = "authjs"
secret = SECRETS
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/events"
[route.stream]
auth = ["authjs"]
"""


class Site:
    """A running Sidestream that opens session cookies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        config = CONFIG.replace("PORT", str(self.port)).replace("SECRETS", json.dumps(SECRETS))
        (folder / "sidestream.toml").write_text(config)
        command = [str(BINARY), "run", "--config", "sidestream.toml"]
        self.process = Process(command, folder / "sidestream.log", cwd=folder)
        self.process.wait_until((folder / "publish.sock").exists, "the publish socket is there")
        wait_for(self._accepts, 10, "Sidestream accepts")

    def open(self, cookies: list[list[str]]) -> HTTPResponse:
        """Asks for a stream with cookies."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        line = "; ".join(f"{name}={value}" for name, value in [["theme", "dark"], *cookies])
        connection.request("GET", "/events", headers={"Cookie": line})
        return connection.getresponse()

    def publish(self, user: str, data: str) -> dict:
        """Hands in an event."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.folder / "publish.sock"))
            connection.sendall(json.dumps({"user": user, "data": data}).encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def _accepts(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="authjs-") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.process.kill()


def made(*cookies: dict) -> list[list[list[str]]]:
    """Cookies as the libraries set them: for each, the names and values of its pieces."""
    command = ["node", "--input-type=module", "-", json.dumps(cookies)]
    script = (AUTHJS / "cookies.mjs").read_text()
    done = subprocess.run(command, cwd=packages(AUTHJS), input=script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cookie(name: str, **changes) -> dict:
    """What a cookie is to be: of which library, and of which claims."""
    library = "v5" if "authjs" in name else "v4"
    token = {"sub": "42", "name": "Ann", "email": "ann@example.com"}
    return {"library": library, "name": name, "secret": SECRETS[0], "token": token, "maxAge": 3600, **changes}


def reads(stream: HTTPResponse, data: str) -> bool:
    """Whether a stream says this before anything else."""
    while line := stream.readline():
        if line.startswith(b"data: "):
            return line == f"data: {data}\n".encode()
    return False


@pytest.mark.parametrize("name", [V5, V4, f"__Secure-{V5}", f"__Secure-{V4}"])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_cookie_opens_the_stream_of_its_user(site: Site, name: str, secret: str) -> None:
    [pieces] = made(cookie(name, secret=secret))
    assert [piece for piece, _ in pieces] == [name]
    stream = site.open(pieces)
    assert stream.status == 200
    assert site.publish("43", "not for this one")["delivered"] == 0
    assert site.publish("42", name)["delivered"] == 1
    assert reads(stream, name)
    stream.close()
    # The connection's end may be heard of after the next push.
    wait_for(lambda: site.publish("42", "gone")["delivered"] == 0, 10, "the end of the stream")


@pytest.mark.parametrize("name", [V5, V4])
def test_a_large_cookie_comes_in_pieces(site: Site, name: str) -> None:
    [pieces] = made(cookie(name, token={"sub": "77", "groups": ["a group of some length"] * 300}))
    assert [piece for piece, _ in pieces] == [f"{name}.{n}" for n in range(len(pieces))] and len(pieces) > 2
    stream = site.open(list(reversed(pieces)))
    assert stream.status == 200
    assert site.publish("77", "whole")["delivered"] == 1
    assert reads(stream, "whole")
    stream.close()
    assert site.open(pieces[1:]).status == 401
    assert site.open(pieces[:-1]).status == 401


@pytest.mark.parametrize("name", [V5, V4])
def test_any_other_cookie_is_refused(site: Site, name: str) -> None:
    foreign, expired, nobody, good = made(
        cookie(name, secret="somebody else's secret"),
        cookie(name, maxAge=-20),
        cookie(name, token={"name": "Ann"}),
        cookie(name),
    )
    for pieces in (foreign, expired, nobody, []):
        assert site.open(pieces).status == 401
    [[_, value]] = good
    for changed in (value[:-1], value[:-2] + ("A" if value[-2] != "A" else "B") + value[-1], f"{value}A"):
        assert site.open([[name, changed]]).status == 401
    assert site.open([[f"{name}-foo", value]]).status == 401
