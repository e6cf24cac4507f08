"""`sidestream run -- APP`: one process to start, as in a container; the app learns from it where it listens and publishes."""

import json
import os
import shutil
import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path

from deployment import BINARY, Process, accepts, free_port

APP = '''
import json, os, signal, socket, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

time.sleep(1)  # An app that takes a while to start.


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with socket.socket(socket.AF_UNIX) as publisher:
            publisher.connect(os.environ["SIDESTREAM_SOCKET"])
            publisher.sendall(b'{"user": 42, "data": "hi"}\\n')
            reply = publisher.makefile().readline().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
'''

CONFIG = """
[log]
access = "off"
[publish]
socket = "publish.sock"
[[listen]]
address = "127.0.0.1:{port}"
[upstreams.app]
servers = ["http://127.0.0.1:{app}"]
retry_for = "20s"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
"""


def test_an_app_that_is_started_by_sidestream_serves_publishes_and_ends_with_it() -> None:
    folder = Path(tempfile.mkdtemp(prefix="child-"))
    port, app = free_port(), free_port()
    (folder / "app.py").write_text(APP)
    (folder / "sidestream.toml").write_text(CONFIG.format(port=port, app=app))
    command = [str(BINARY), "run", "--", sys.executable, "app.py"]
    environment = {name: value for name, value in os.environ.items() if name != "SIDESTREAM_SOCKET"}
    process = Process(command, folder / "log", cwd=folder, env=environment)
    try:
        process.wait_until(lambda: accepts(("127.0.0.1", port)), "it listens")
        assert not accepts(("127.0.0.1", app)), "clients come before the app is there"
        client = HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("GET", "/")
        response = client.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["id"]
        client.close()
        assert process.stop() == 3, "the exit code is the app's"
        assert not accepts(("127.0.0.1", app)), "the app is left behind"
    finally:
        process.kill()
        print((folder / "log").read_text()[-4000:])
        shutil.rmtree(folder)
