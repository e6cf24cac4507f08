"""A Django site on gunicorn and uvicorn, with and without Sidestream before it: a visitor sees the same but for named headers."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from deployment import BINARY, HERE, Process, accepts, behind_tls, free_port, write_certificate
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PATIENCE = 60.0
UPLOAD = 3 << 20  # bytes: more than Django keeps in memory
LARGE = 100 << 20

MAX_BODY = 'max_body = "101MiB"\n'

# What a proxy may change: the hop's own fields, and when it was.
NAMED = {"connection", "date", "keep-alive", "transfer-encoding"}

SERVERS = {
    "gunicorn sync": "gunicorn pages:wsgi --worker-class sync --no-control-socket --bind",
    "gunicorn gthread": "gunicorn pages:wsgi --worker-class gthread --threads 4 --no-control-socket --bind",
    "uvicorn": "uvicorn pages:asgi --no-access-log --forwarded-allow-ips *",
}


@dataclass
class Site:
    """One app server, and Sidestream before it."""

    app: Path | int  # a Unix socket or a port
    port: int
    folder: Path
    kind: str

    @property
    def url(self) -> str:
        """Where visitors find it."""
        return f"https://localhost:{self.port}"

    @contextmanager
    def direct(self) -> Iterator[httpx.Client]:
        """A visitor of the app itself, which says what a proxy would say."""
        transport = httpx.HTTPTransport(uds=str(self.app)) if isinstance(self.app, Path) else httpx.HTTPTransport()
        host = f"localhost:{self.port}"
        said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Forwarded-Port": str(self.port)}
        said |= {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Host": host, "Referer": self.url}
        base = "http://localhost" if isinstance(self.app, Path) else f"http://localhost:{self.app}"
        with httpx.Client(base_url=base, transport=transport, headers=said, timeout=PATIENCE) as client:
            yield client

    @contextmanager
    def through(self, http2: bool) -> Iterator[httpx.Client]:
        """A visitor who comes through Sidestream."""
        tls = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        tls.set_alpn_protocols(["h2"] if http2 else ["http/1.1"])
        options = {"headers": {"Referer": self.url}, "timeout": PATIENCE, "trust_env": False}
        with httpx.Client(base_url=self.url, verify=tls, http1=not http2, http2=http2, **options) as client:
            yield client


    @property
    def said(self) -> dict[str, str]:
        """What Sidestream says of its visitors to a WebSocket."""
        return {"proto": "https", "host": f"localhost:{self.port}", "port": str(self.port), "for": "127.0.0.1"}

    def talk(self, headers: dict[str, str]) -> list[object]:
        """A conversation through Sidestream."""
        tls = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        return _talk(lambda: connect(f"wss://localhost:{self.port}/chat?room=a%20b", ssl=tls, **_options(headers)))

    def talk_directly(self, headers: dict[str, str]) -> list[object]:
        """A conversation with the app itself."""
        url = f"ws://localhost:{self.port}/chat?room=a%20b"  # the Host, which a proxy passes on
        options = _options(headers | {f"X-Forwarded-{name}": value for name, value in self.said.items()})
        if isinstance(self.app, Path):
            return _talk(lambda: unix_connect(str(self.app), url, **options))
        return _talk(lambda: connect(url, sock=socket.create_connection(("127.0.0.1", self.app)), **options))


def _options(headers: dict[str, str]) -> dict[str, object]:
    return {"additional_headers": headers, "max_size": LARGE, "proxy": None, "open_timeout": PATIENCE}


def _talk(connecting: Callable[[], connect]) -> list[object]:
    """In one thread: a TLS session of Python is not for two, of which one reads and one writes."""

    async def talk() -> list[object]:
        async with connecting() as ws:
            said = [ws.response.headers["X-Chat"], await ws.recv()]
            for message in ("gr\u00fc\u00df dich", b"\0" * 1_000_000):
                await ws.send(message)
                said.append(await ws.recv())
            await ws.send("bye")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            return [*said, ["closed", closed.value.rcvd.code, closed.value.rcvd.reason]]

    try:
        return asyncio.run(asyncio.wait_for(talk(), PATIENCE))
    except InvalidStatus as refused:
        return ["refused", refused.response.status_code]


@pytest.fixture(scope="module", params=[(server, way) for server in SERVERS for way in ("unix", "tcp")], ids=" ".join)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    server, way = request.param
    folder = Path(tempfile.mkdtemp(prefix="forms-"))
    app = folder / "app.sock" if way == "unix" else free_port()
    port = free_port()
    command = [sys.executable, "-m", *SERVERS[server].split()]
    if server == "uvicorn":
        command += ["--uds", str(app)] if way == "unix" else ["--port", str(app)]
    else:
        command += [f"unix:{app}" if way == "unix" else f"127.0.0.1:{app}"]
    config = folder / "sidestream.toml"
    kind = "asgi" if server == "uvicorn" else "wsgi"
    address = f"unix:{app}" if way == "unix" else f"http://127.0.0.1:{app}"
    config.write_text(behind_tls(port, address, kind) + MAX_BODY)
    write_certificate(folder)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    processes = [
        Process(command, folder / "app.log", cwd=HERE / "forms", env=environment),
        Process([str(BINARY), "run", "--config", str(config)], folder / "sidestream.log", cwd=folder),
    ]
    try:
        processes[0].wait_until(lambda: accepts(app if way == "unix" else ("127.0.0.1", app)), f"{server} accepts")
        processes[1].wait_until(lambda: accepts(("127.0.0.1", port)), "Sidestream accepts")
        yield Site(app, port, folder, kind)
    finally:
        for process in processes:
            process.kill()
        print("\n".join(process.log.read_text()[-4000:] for process in processes))
        shutil.rmtree(folder)


def visit(client: httpx.Client) -> list[tuple]:
    """Everything a visitor sees who goes through the site."""
    seen = []

    def note(response: httpx.Response) -> httpx.Response:
        assert response.http_version in ("HTTP/1.1", "HTTP/2")
        text = _steady(response.text)
        # The tag of a text that is new each time is too.
        left_out = NAMED if text == response.text else NAMED | {"etag"}
        fields = sorted((name, _steady(value)) for name, value in response.headers.multi_items() if name not in left_out)
        seen.append((response.request.method, response.request.url.path, response.status_code, fields, text))
        return response

    note(client.get("/where?a=b%20c&d=%2F"))
    note(client.get("/wh%65re", headers={"Accept-Language": "de", "X-Many": "a, b"}))
    note(client.get("/form"))
    for name in ("Ada", "Gr\u00fc\u00dfe & Co", "Bob"):
        posted = note(client.post("/form", data={"name": name, "csrfmiddlewaretoken": client.cookies["csrftoken"]}))
        note(client.get(posted.headers["Location"]))
    note(client.post("/form", data={"name": "Eve"}))
    note(client.post("/form", data={"name": "Eve", "csrfmiddlewaretoken": "x" * 64}))
    note(client.post("/form", data={"csrfmiddlewaretoken": client.cookies["csrftoken"]}, headers={"Referer": "https://evil/"}))
    content = hashlib.shake_128(b"upload").digest(UPLOAD)
    token = {"X-CSRFToken": client.cookies["csrftoken"]}
    files = {"file": ("gr\u00fc\u00dfe.bin", content, "application/x-test")}
    note(client.post("/upload", files=files, data={"note": "\u00e4"}, headers=token))
    note(client.get("/stream"))
    first = note(client.get("/names"))
    note(client.get("/names", headers={"If-None-Match": first.headers["ETag"]}))
    note(client.head("/names"))
    note(client.get("/download"))
    for method, path in [("GET", "/nowhere"), ("GET", "/fail"), ("GET", "/upload"), ("PUT", "/where"), ("OPTIONS", "/where")]:
        note(client.request(method, path))
    return seen


def _steady(text: str) -> str:
    """A text without what is new in each visit: tokens, signatures and times."""
    text = re.sub(r'(csrftoken=|value="|"Csrftoken": ")[A-Za-z0-9]{32,64}', r"\1TOKEN", text)
    text = re.sub(r"sessionid=[^;]+", "sessionid=SESSION", text)
    text = re.sub(r"expires=[^;]+", "expires=THEN", text)
    text = re.sub(r'"X-Csrftoken": "[^"]+"', '"X-Csrftoken": "TOKEN"', text)
    return re.sub(r"boundary=\w+", "boundary=BOUNDARY", text)


def test_a_visitor_sees_the_same_with_and_without_it(site: Site) -> None:
    with site.direct() as client:
        direct = visit(client)
    assert [status for _, _, status, _, _ in direct] == [200] * 3 + [302, 200] * 3 + [403] * 3 + [200] * 3 + [
        304, 200, 200, 404, 500, 405, 403, 200
    ]
    assert f'"url": "{site.url}/where?a=b%20c&d=%2F", "secure": true' in direct[0][4]
    assert "Ada, Gr\u00fc\u00dfe & Co, Bob" in direct[8][4]
    for http2 in (False, True):
        with site.through(http2) as client:
            seen = visit(client)
        for ours, theirs in zip(seen, direct, strict=True):
            assert ours == theirs


def test_a_streamed_answer_comes_as_it_is_made(site: Site) -> None:
    def took(http2: bool) -> float:
        """The time from the first piece to the last."""
        with site.through(http2) as client, client.stream("GET", "/stream") as response:
            came = [(time.monotonic(), piece) for piece in response.iter_raw()]
        assert b"".join(piece for _, piece in came).count(b"piece") == 10
        return came[-1][0] - came[0][0]

    # A visitor on a busy machine may look too late, but not each time.
    for http2 in (False, True):
        assert any(took(http2) > 0.2 for _ in range(5)), "it was held back"


def test_a_websocket_knows_its_visitor(site: Site) -> None:
    with site.through(http2=False) as client:
        client.get("/form")
        client.post("/form", data={"name": "Ada", "csrfmiddlewaretoken": client.cookies["csrftoken"]})
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    good = {"Origin": site.url, "Cookie": cookies}
    for headers in (good, {"Origin": site.url}, good | {"Origin": "https://evil.example"}):
        direct, ours = site.talk_directly(headers), site.talk(headers)
        assert ours == direct
        if site.kind != "asgi":
            assert ours == ["refused", 404], "no app on WSGI has WebSockets"
        elif headers == good:
            assert json.loads(ours[1]) == {"names": ["Ada"], "scheme": "wss", "path": "/chat", "query": "room=a%20b"} | site.said
            assert ours[0] == "yes" and ours[2:] == ["gr\u00fc\u00df dich", b"\0" * 1_000_000, ["closed", 4001, "as you wish"]]
        else:
            assert ours == ["refused", 403]


def test_a_hundred_megabytes_arrive(site: Site) -> None:
    content = hashlib.shake_128(b"large").digest(1 << 20) * (LARGE >> 20)
    with site.through(http2=False) as client:
        client.get("/form")
        token = {"X-CSRFToken": client.cookies["csrftoken"]}
        answer = client.post("/upload", files={"file": ("large.bin", content)}, headers=token)
        assert answer.status_code == 200, answer.text
        assert answer.json()["size"] == LARGE and answer.json()["digest"] == hashlib.sha256(content).hexdigest()
        # One more is more than the route takes.
        answer = client.post("/upload", files={"file": ("large.bin", content + b"x" * (1 << 20))}, headers=token)
        assert answer.status_code == 413
