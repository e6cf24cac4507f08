"""The unit of systemd: systemd has nothing against it, and the binary works within what it leaves."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import confined
import pytest
import requests
from deployment import BINARY, Process, free_port, wait_for, write_certificate

EXPOSURE = 20  # in tenths, of 100; what stands against less is in docs/operations.md


def analyze(unit: str, *args: str) -> subprocess.CompletedProcess:
    """What systemd-analyze says of a unit whose program is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sidestream.service"
        path.write_text(unit.replace("/usr/bin/sidestream", "/usr/bin/true"))
        return subprocess.run(["systemd-analyze", *args, path], capture_output=True, text=True)


def security(unit: str) -> subprocess.CompletedProcess:
    return analyze(unit, "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}")


def test_systemd_takes_the_unit():
    said = analyze(confined.UNIT.read_text(), "verify", "--man=no")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_systemd_sees_a_mistake():
    """So that the test above may fail."""
    said = analyze(confined.UNIT.read_text().replace("ProtectSystem=", "ProtectSystems="), "verify", "--man=no")
    assert "ProtectSystems" in said.stderr


def test_little_is_exposed():
    unit = confined.UNIT.read_text()
    said = security(unit)
    assert said.returncode == 0, said.stdout
    assert security(unit.replace("SystemCallFilter=", "#")).returncode != 0


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that is the whole machine to the service."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("to confine a process takes root, and a system that lets it mount")
    folder = Path(tempfile.mkdtemp(prefix="root-"))
    try:
        confined.make_root(folder, BINARY)
        yield folder
    finally:
        shutil.rmtree(folder)


CONFIG = """
[log]
access = "/var/log/sidestream/access.log"
[publish]
socket = "/run/sidestream/publish.sock"
[store]
kind = "disk"
path = "/var/lib/sidestream"
[server]
spool_memory = "0B"
[[listen]]
address = "127.0.0.1:{low}"
[[listen]]
address = "127.0.0.1:{port}"
tls = [{{ cert = "cert.pem", key = "key.pem" }}]
[upstreams.app]
servers = ["http://127.0.0.1:{app}"]
[auth.jwt]
kind = "jwt"
secret = "env:JWT_SECRET"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
compress = true
[[route]]
path = "/files/"
[route.files]
root = "/usr/share/common-licenses"
[[route]]
path = "/events"
[route.stream]
auth = []
channels = ["all"]
"""


def free_low_port() -> int:
    """A port that only root, or who has the capability, may listen at."""
    for port in range(1023, 600, -1):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port below 1024 is free")


def test_it_works_within_the_unit(root):
    """Low port, TLS, disk store, log, spooled upload, files, publish socket, stream, reload and end: no call is refused."""
    low, port, app = free_low_port(), free_port(), free_port()
    etc = root / "etc/sidestream"
    write_certificate(etc)
    (etc / "key.pem").chmod(0o644)
    (etc / "sidestream.toml").write_text(CONFIG.format(low=low, port=port, app=app))
    upstream = Process(["python3", "-c", ECHO, str(app)], root / "app.log")
    args = ("run", "--config", "/etc/sidestream/sidestream.toml")
    service = Process(
        confined.command(root, *args), root / "service.log", env={**os.environ, "JWT_SECRET": "s" * 32}
    )
    try:
        log = root / "service.log"
        service.wait_until(lambda: "publish socket open" in log.read_text(), "the service listens")
        plain = f"http://127.0.0.1:{low}"
        status = Path(f"/proc/{service.child.pid}/status").read_text()
        for line in (f"Uid:\t{confined.USER}\t", "NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000400"):
            assert line in status, status
        body = os.urandom(3_000_000)
        wait_for(lambda: requests.get(f"{plain}/", timeout=60).status_code == 200, 60, "the app")
        assert requests.post(f"{plain}/", data=body, timeout=60).content == body
        assert "Apache" in requests.get(f"{plain}/files/Apache-2.0", timeout=60).text
        assert requests.get(f"https://localhost:{port}/", verify=etc / "cert.pem", timeout=60).status_code == 200
        with requests.get(f"{plain}/events", stream=True, timeout=60) as events:
            socket_path = str(root / "run/sidestream/publish.sock")
            publish = [BINARY, "publish", "--socket", socket_path, "--channel", "all", "--data", "hi"]
            said = subprocess.run(publish, check=True, capture_output=True, text=True).stdout
            assert '"delivered":1' in said, said
            assert "data: hi" in events.iter_lines(decode_unicode=True)
        # What `systemctl reload` does.
        check = confined.command(root, "check", *args[1:])
        checked = subprocess.run(check, env={**os.environ, "JWT_SECRET": "s" * 32}, capture_output=True, text=True)
        assert checked.returncode == 0, checked
        service.child.send_signal(signal.SIGHUP)
        service.wait_until(lambda: "nothing has changed" in log.read_text(), "the reload")
        assert service.stop() == 0
        assert "/files/Apache-2.0" in (root / "var/log/sidestream/access.log").read_text()
    finally:
        service.kill()
        upstream.kill()


ECHO = """
import http.server, sys
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"well")
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["content-length"])))
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


def test_what_the_unit_forbids_ends_a_process(root):
    """So that the test above may fail: a socket of another family, and a call that is not in the filter."""
    for forbidden in ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", "os.nice(1)"):
        wrapped = confined.command(root)
        assert wrapped[-1] == confined.BINARY
        program = [*wrapped[:-1], "/usr/bin/python3", "-c", f"import os, socket; {forbidden}"]
        ended = subprocess.run(program, capture_output=True, text=True)
        assert ended.returncode == -signal.SIGSYS, (forbidden, ended)
