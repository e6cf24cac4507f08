"""A Next.js app as `next start` or `next dev` runs it, with Sidestream before it, and visitors who come either way."""

import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from deployment import BINARY, HERE, Process, accepts, behind_tls, free_port, write_certificate
from example import next_build, next_environment
from npm import packages

APP = HERE / "nextpages"
MODULES = HERE / "nextjs"  # whose lockfile it is
PATIENCE = 60.0  # seconds that the app may take to answer


# The same with files from disk: what docs/from-nginx.md says of them.
FILES = """
[[listen]]
address = "127.0.0.1:{files}"
[[route]]
path = "/_next/static/"
hosts = ["files.example"]
[route.files]
root = ".next/static"
index = ""
[[route]]
path = "/"
hosts = ["files.example"]
[route.files]
root = "public"
try_upstream = "app"
index = ""
"""


@dataclass
class Site:
    """The app, and Sidestream before it."""

    app: int
    port: int
    files: int  # where files come from disk, in the clear
    folder: Path  # where the app's files are

    @property
    def url(self) -> str:
        """Where visitors find it."""
        return f"https://localhost:{self.port}"

    @property
    def said(self) -> dict[str, str]:
        """What Sidestream says of a visitor of this machine."""
        host = f"localhost:{self.port}"
        said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Forwarded-Port": str(self.port), "Host": host}
        return said | {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}

    @contextmanager
    def visitor(self, way: str) -> Iterator[httpx.Client]:
        """A visitor of the app itself, who says what a proxy would say, or one who comes through Sidestream."""
        options = {"timeout": PATIENCE, "trust_env": False}
        if way == "direct":
            options |= {"base_url": f"http://127.0.0.1:{self.app}", "headers": self.said}
        else:
            tls = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
            tls.set_alpn_protocols([{"HTTP/1.1": "http/1.1", "HTTP/2": "h2"}[way]])
            options |= {"base_url": self.url, "verify": tls, "http1": way == "HTTP/1.1", "http2": way == "HTTP/2"}
        with httpx.Client(**options) as client:
            yield client


@contextmanager
def running(mode: str) -> Iterator[Site]:
    """The app as `next start` or `next dev` runs it, on files of its own, and Sidestream."""
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
    modules = packages(MODULES)
    # Beside node_modules, where Node looks for them.
    folder = Path(tempfile.mkdtemp(prefix="pages-", dir=modules))
    processes: list[Process] = []
    try:
        source = next_build(APP, MODULES) if mode == "start" else APP
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache", "node_modules"))
        write_certificate(folder)
        app, port, files = free_port(), free_port(), free_port()
        (folder / "sidestream.toml").write_text(behind_tls(port, f"http://127.0.0.1:{app}", "node") + FILES.format(files=files))
        next_js = [str(modules / "node_modules/.bin/next"), mode, "--hostname", "127.0.0.1", "--port", str(app)]
        for command, door in ((next_js, app), ([str(BINARY), "run"], port)):
            process = Process(command, folder / f"{door}.log", cwd=folder, env=next_environment())
            processes.append(process)
            process.wait_until(lambda door=door: accepts(("127.0.0.1", door)), f"{command[0]} accepts")
        yield Site(app, port, files, folder)
    finally:
        for process in reversed(processes):
            process.kill()
            print(process.log.read_text()[-4000:])  # pytest shows this below a test that failed
        shutil.rmtree(folder)
