"""What docs/from-nginx.md puts side by side: nginx takes each of its files, and Sidestream answers as nginx does."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from deployment import BINARY, HERE, Process, accepts, free_port, write_certificate

DOCUMENT = (HERE.parent.parent / "docs/from-nginx.md").read_text()
BLOCKS = re.findall(r"^```(\S+)[^\n]*\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
NGINX = ["/usr/sbin/nginx", "-e", "stderr"]

# Around what the document shows: what a package of nginx brings along.
NGINX_CONF = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{}}
http {{
default_type application/octet-stream;
types {{ text/html html; text/css css; text/javascript js; text/plain txt; image/png png; }}
access_log off;
{block}
}}
"""
# Folders that a package makes, and that the document names only where it is about them.
TEMPORARY = [f"{name}_temp_path" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]

# Fields that must be the same, or be missing on both sides.
HELD = ["Content-Type", "Content-Length", "Content-Range", "Content-Encoding", "Location", "Set-Cookie", "X-App"]


class App(ThreadingHTTPServer):
    """The shop, on a Unix socket or a port: it says what it was asked."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.address_family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        super().__init__(address, _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self) -> None:
        """Binds; without the names that the base class looks for, which a Unix socket has not."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "shop", 0
        if isinstance(self.server_address, str):
            Path(self.server_address).chmod(0o666)  # nginx changes to another user

    def __enter__(self) -> "App":
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        names = ("Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "Cookie", "X-Of-Client")
        seen = {name: self.headers[name] for name in names}
        said = json.dumps([self.command, self.path, len(body), seen]).encode()
        self.send_response(200 if self.path.startswith("/app") or self.path == "/download" else 404)
        self.send_header("X-App", "shop")
        self.send_header("Set-Cookie", "a=b; Path=/")
        self.send_header("Content-Type", "application/json")
        if self.path == "/download":
            self.send_header("X-Accel-Redirect", "/protected/secret.txt")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def address_string(self) -> str:
        """Nobody's, on a Unix socket."""
        return "client"

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Front:
    """A proxy with both of its ports, on one machine with the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plain, self.tls = free_port(), free_port()

    def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> tuple:
        """What a request gets: the status, the fields that are held, and the body; None if it gets nothing."""
        scheme, host, target = re.fullmatch(r"(https?)://([^/]*)(.*)", url).groups()
        connection = HTTPConnection(host, timeout=60)
        connection.sock = socket.create_connection(("127.0.0.1", self.tls if scheme == "https" else self.plain), 20)
        try:
            if scheme == "https":
                trusted = ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))
                trusted.check_hostname = False
                connection.sock = trusted.wrap_socket(connection.sock, server_hostname=host)
            connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            fields = {name: answer.headers[name] for name in HELD}
            # nginx says no charset unless it is told to.
            fields["Content-Type"] = (fields["Content-Type"] or "").removesuffix("; charset=utf-8")
            if fields["Location"]:
                # nginx is told no port, Sidestream knows its own.
                fields["Location"] = fields["Location"].replace(f":{self.tls}/", "/")
            content = answer.read()
            return answer.status, fields, content
        except (ssl.SSLError, ConnectionError):
            return None
        finally:
            connection.close()


@contextmanager
def fronts(app: str) -> Iterator[dict[str, Front]]:
    """Both proxies, with the files that the document shows for an app, before that app."""
    folder = Path(tempfile.mkdtemp(prefix="from-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        _furnish(folder)
        port = free_port()
        stack.enter_context(App(str(folder / "gunicorn.sock") if app == "django" else ("127.0.0.1", port)))
        made = {}
        for name, kind in (("nginx", "nginx"), ("Sidestream", "toml")):
            file = "nginx.conf" if kind == "nginx" else "sidestream.toml"
            [text] = [text for found, text in BLOCKS if found == kind and text.startswith(f"# {file} for {app}\n")]
            front = made[name] = Front(folder)
            text = _placed(text, folder).replace("127.0.0.1:3000", f"127.0.0.1:{port}").replace("0.0.0.0:", "listen ")
            for stated, free in (("80", front.plain), ("443", front.tls)):
                text = re.sub(rf"listen {stated}\b", f"listen 127.0.0.1:{free}", text)
            if kind == "nginx":
                text, command = _nginx_conf(text, folder), [*NGINX, "-c", str(folder / file)]
            else:
                text, command = text.replace('"listen ', '"'), [str(BINARY), "run", "--config", str(folder / file)]
            (folder / file).write_text(text)
            process = Process(command, folder / f"{name}.log", cwd=folder)
            stack.callback(lambda process=process: print(process.log.read_text()[-4000:]))
            stack.callback(process.kill)
            for door in (front.plain, front.tls):
                process.wait_until(lambda door=door: accepts(("127.0.0.1", door)), f"{name} accepts")
        yield made


def _furnish(folder: Path) -> None:
    """Makes what the files of the document name, in one folder for all of them."""
    write_certificate(folder)
    for name, source in (("fullchain.pem", "cert.pem"), ("privkey.pem", "key.pem"), ("clients.pem", "cert.pem")):
        (folder / name).write_bytes((folder / source).read_bytes())
    for name, text in {
        "static/site.css": "p { color: teal }\n" * 100,
        "static/app.0123456789ab.js": "1;\n",
        "media/a b.txt": "picture\n",
        "protected/secret.txt": "secret\n",
        "robots.txt": "User-agent: *\n",
        ".next/static/chunks/main-0123456789abcdef.js": "2;\n",
        "public/logo.png": "not really",
        "public/sub/deep.txt": "deep\n",
        "errors/5xx.html": "sorry\n",
        "outside.txt": "not yours\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "static/site.css.gz").write_bytes(b"\x1f\x8b pretended")
    for name in ("static", "media"):
        (folder / name / "empty").mkdir()
    # nginx changes to another user, who has to find its way here.
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _placed(text: str, folder: Path) -> str:
    return re.sub(r"/(etc/ssl/shop|etc/nginx|var/log/shop|var/tmp|run/shop|srv/shop)\b", str(folder), text)


def _nginx_conf(block: str, folder: Path) -> str:
    temporary = "".join(f"{key} {folder}/{key};\n" for key in TEMPORARY if key not in block)
    return NGINX_CONF.format(folder=folder, block=temporary + block)


@pytest.fixture(scope="module")
def django() -> Iterator[dict[str, Front]]:
    with fronts("django") as made:
        yield made


@pytest.fixture(scope="module")
def nextjs() -> Iterator[dict[str, Front]]:
    with fronts("nextjs") as made:
        yield made


SHOP = "https://shop.example"

BOTH = [
    ("GET", "http://shop.example/a/b?c=%2F&d"),
    ("POST", "http://shop.example/a"),
    ("GET", SHOP + "/app?x=%2e%2e&y=a+b"),
    ("GET", SHOP + "/app/%2e%2e/a%20b"),
    ("POST", SHOP + "/app", b"x" * 1_000_000),
    ("PUT", SHOP + "/app", b""),
    ("DELETE", SHOP + "/app"),
    ("HEAD", SHOP + "/app"),
    ("GET", SHOP + "/nowhere"),
]

DJANGO = [
    *BOTH,
    ("GET", "https://www.shop.example/app"),
    ("GET", SHOP + "/static/site.css"),
    ("HEAD", SHOP + "/static/site.css"),
    ("GET", SHOP + "/static/app.0123456789ab.js"),
    ("GET", SHOP + "/static/nowhere.css"),
    ("GET", SHOP + "/static/%2e%2e/outside.txt"),
    ("GET", SHOP + "/media/a%20b.txt"),
    ("GET", SHOP + "/protected/secret.txt"),
    ("GET", SHOP + "/download"),
    ("HEAD", SHOP + "/download"),
    ("GET", SHOP + "/robots.txt"),
    ("POST", SHOP + "/app", b"x" * (21 << 20)),
]

NEXTJS = [
    *BOTH,
    ("GET", SHOP + "/_next/static/chunks/main-0123456789abcdef.js"),
    ("GET", SHOP + "/_next/static/nowhere.js"),
    ("GET", SHOP + "/_next/data/app.json"),
    ("GET", SHOP + "/logo.png"),
    ("GET", SHOP + "/sub/deep.txt"),
    ("GET", SHOP + "/sub"),
    ("GET", SHOP + "/sub/"),
    ("GET", SHOP + "/"),
]


@pytest.mark.parametrize("request_", DJANGO, ids=lambda request: f"{request[0]} {request[1]}")
def test_django_gets_the_same(django: dict[str, Front], request_: tuple) -> None:
    _hold_alike(django, request_)


@pytest.mark.parametrize("request_", NEXTJS, ids=lambda request: f"{request[0]} {request[1]}")
def test_nextjs_gets_the_same(nextjs: dict[str, Front], request_: tuple) -> None:
    _hold_alike(nextjs, request_)


def _hold_alike(made: dict[str, Front], request: tuple) -> None:
    headers = {"X_Of_Client": "yes", "X_Forwarded_For": "6.6.6.6", "X_Real_IP": "6.6.6.6", "X_Forwarded_Proto": "ftp"}
    theirs, ours = (made[name].ask(*request, **headers, Cookie="a=b; c=d") for name in ("nginx", "Sidestream"))
    assert ours[0] == theirs[0]
    if request[1].endswith("/download"):
        theirs[1]["X-App"] = "shop"  # of an app that hands in a file, nginx passes on a few fields only
    if ours[0] < 300 or ours[1]["X-App"]:
        assert ours == theirs  # an error's page is each proxy's own
    assert ours[1]["Location"] == theirs[1]["Location"]


def test_what_is_sent_of_a_file_is_the_same(django: dict[str, Front]) -> None:
    for headers in ({"Range": "bytes=5-9"}, {"Range": "bytes=-4"}, {"Range": "bytes=99999-"}, {"Accept_Encoding": "gzip"}):
        theirs, ours = (django[name].ask("GET", SHOP + "/static/site.css", **headers) for name in ("nginx", "Sidestream"))
        assert ours[0] == theirs[0] and (ours[0] >= 300 or ours == theirs), headers


def test_paths_are_taken_as_they_are_written(django: dict[str, Front], nextjs: dict[str, Front]) -> None:
    for made, target, theirs, ours in (
        (django, "/static/../robots.txt", 200, 404),
        (django, "/x/%2e%2e/static/site.css", 200, 404),
        (django, "/static//site.css", 200, 404),
        (nextjs, "/%2e%2e/outside.txt", 400, 404),
    ):
        answers = {name: front.ask("GET", SHOP + target) for name, front in made.items()}
        assert {name: answer[0] for name, answer in answers.items()} == {"nginx": theirs, "Sidestream": ours}, target
        if not target.startswith("/static/"):
            assert target in answers["Sidestream"][2].decode(), "it is the app's to say"


def test_hosts_that_are_not_named_are_not_served(django: dict[str, Front]) -> None:
    for name, refused in (("nginx", None), ("Sidestream", 404)):
        assert django[name].ask("GET", "https://evil.example/app") is None, f"{name}: no certificate for it"
        answer = django[name].ask("GET", "http://evil.example/app")
        assert (answer and answer[0]) == refused


def test_nginx_takes_every_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    _furnish(tmp_path)
    (tmp_path / "htpasswd").write_text("anna:$2y$05$abcdefghijklmnopqrstuv\n")
    blocks = [text for kind, text in BLOCKS if kind == "nginx"]
    assert len(blocks) >= 10
    for block in blocks:
        file = tmp_path / "nginx.conf"
        text = re.sub(r"listen \d+", lambda _: f"listen 127.0.0.1:{free_port()}", _placed(block, tmp_path))
        file.write_text(_nginx_conf(text, tmp_path))
        done = subprocess.run([*NGINX, "-t", "-c", str(file)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr + block
