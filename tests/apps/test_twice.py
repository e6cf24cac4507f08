"""No order is done twice: an app acts on a small POST and breaks its connection before it answers, in every way that
it has, and the request is not sent again."""

import http.client
import sys
import textwrap
from pathlib import Path

import pytest

from deployment import BINARY, Process, accepts, free_port

WSGI = """
    import os, signal, time

    def act():
        log = os.open("done.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, b"done\\n")
        os.close(log)

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            if environ["PATH_INFO"] != "/unread":
                environ["wsgi.input"].read()
            act()
            if environ["PATH_INFO"] == "/late":
                time.sleep(30)
            os.kill(os.getpid(), signal.SIGKILL)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
"""

ASGI = """
    import asyncio, os, signal
    from wsgi import act

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            return await send({"type": "lifespan.shutdown.complete"})
        if scope["method"] == "POST":
            if scope["path"] != "/unread":
                await receive()
            act()
            if scope["path"] == "/late":
                raise SystemExit(1)
            os.kill(os.getpid(), signal.SIGKILL)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""

NODE = """
    const { createServer } = require("node:http");
    const { appendFileSync } = require("node:fs");
    const server = createServer((request, response) => {
        if (request.method !== "POST") return response.end("ok");
        const act = () => {
            appendFileSync("done.log", "done\\n");
            if (request.url === "/late") return request.socket.destroy();
            if (request.url === "/reset" && process.argv[2].match(/^[0-9]/)) return request.socket.resetAndDestroy();
            process.kill(process.pid, "SIGKILL");
        };
        request.url === "/unread" ? act() : request.resume().on("end", act);
    });
    server.keepAliveTimeout = 30000;
    server.listen(/^[0-9]/.test(process.argv[2]) ? Number(process.argv[2]) : process.argv[2]);
"""

PYTHON = [sys.executable, "-m"]
APPS = {
    "sync": ("wsgi", [*PYTHON, "gunicorn", "wsgi:app", "--timeout", "5", "--workers", "2"]),
    "gthread": ("wsgi", [*PYTHON, "gunicorn", "wsgi:app", "--worker-class", "gthread", "--workers", "2"]),
    "uvicorn": ("asgi", [*PYTHON, "uvicorn", "asgi:app", "--workers", "2"]),
    "node": ("node", ["node", "node.js"]),
}


def place(app: str, on_unix: bool, folder: Path) -> tuple[list[str], str, object]:
    """Arguments of the app, the upstream's server, and what a socket connects to."""
    path, port = folder / "app.sock", free_port()
    server = f"unix:{path}" if on_unix else f"http://127.0.0.1:{port}"
    address = path if on_unix else ("127.0.0.1", port)
    match app, on_unix:
        case "node", _:
            arguments = [str(path if on_unix else port)]
        case "uvicorn", True:
            arguments = ["--uds", str(path)]
        case "uvicorn", False:
            arguments = ["--port", str(port)]
        case _:
            arguments = ["--no-control-socket", "--bind", f"unix:{path}" if on_unix else f"127.0.0.1:{port}"]
    return arguments, server, address


ENDS = [(app, end, on_unix) for app in APPS for end in ("/kill", "/late", "/unread", "/reset") for on_unix in (True, False)]
# Only a program on Node has its socket in hand, and can reset one of TCP; a thread of gunicorn has no time of its own.
ENDS = [
    (app, end, on_unix)
    for app, end, on_unix in ENDS
    if (end != "/reset" or (app == "node" and not on_unix)) and (app, end) != ("gthread", "/late")
]


@pytest.mark.parametrize("app, end, on_unix", ENDS, ids=[f"{app}{end}-{'unix' if on_unix else 'tcp'}" for app, end, on_unix in ENDS])
def test_an_order_that_was_begun_is_not_sent_again(app: str, end: str, on_unix: bool, tmp_path: Path) -> None:
    kind, command = APPS[app]
    for name, text in {"wsgi.py": WSGI, "asgi.py": ASGI, "node.js": NODE}.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    arguments, server, address = place(app, on_unix, tmp_path)
    port = free_port()
    (tmp_path / "sidestream.toml").write_text(f"""
        [log]
        access = "off"
        [publish]
        socket = "publish.sock"
        [[listen]]
        address = "127.0.0.1:{port}"
        [upstreams.app]
        servers = ["{server}"]
        kind = "{kind}"
        retry_for = "2s"
        [[route]]
        path = "/"
        [route.proxy]
        upstream = "app"
    """)
    started = Process([*command, *arguments], tmp_path / "app.log", cwd=tmp_path)
    sidestream = None
    try:
        started.wait_until(lambda: accepts(address), "the app accepts")
        sidestream = Process([str(BINARY), "run", "--config", "sidestream.toml"], tmp_path / "sidestream.log", cwd=tmp_path)
        sidestream.wait_until(lambda: accepts(("127.0.0.1", port)), "Sidestream accepts")
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        # On a connection that has been used, and on a new one.
        for is_used in (True, False):
            if is_used:
                client.request("GET", "/")
                assert client.getresponse().read() == b"ok"
            before = len(done(tmp_path))
            client.request("POST", end, body=b"x" * 1000)
            answer = client.getresponse()
            answer.read()
            # gunicorn and uvicorn may say themselves that the app has failed.
            assert answer.status in ((500, 502) if end == "/late" else (502,)), sidestream.log.read_text()
            assert len(done(tmp_path)) == before + 1, sidestream.log.read_text()
            # It is one process, and there is nobody to start it again.
            if app == "node" and end not in ("/late", "/reset" if not on_unix else ""):
                break
    finally:
        for process in (sidestream, started):
            if process is not None:
                process.kill()


def done(folder: Path) -> list[str]:
    log = folder / "done.log"
    return log.read_text().splitlines() if log.exists() else []
