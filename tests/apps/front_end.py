"""Parts of the examples that live on npm packages: pages that Vite builds, and programs that Node runs."""

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from example import BUILD, packages

def vite_build(front_end: Path) -> Path:
    """The folder of a built page; built anew when one of its files has changed."""

    def build(folder: Path) -> None:
        done = subprocess.run(["../node_modules/.bin/vite", "build"], cwd=folder, capture_output=True, text=True, timeout=BUILD)
        assert done.returncode == 0, done.stdout + done.stderr

    return beside_packages(front_end, build) / "dist"


def beside_packages(app: Path, prepare: Callable[[Path], None] = lambda _: None) -> Path:
    """A copy of an app where Node finds its packages, prepared once for each state of its files."""
    folder = packages(app)
    files = sorted(path for path in app.rglob("*") if path.is_file() and not _NOT_COPIED & set(path.parts))
    state = hashlib.sha256(b"".join(str(file.relative_to(app)).encode() + file.read_bytes() for file in files))
    copy = folder / f"build-{state.hexdigest()[:16]}"
    with (folder / "build.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (copy / "complete").exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(app, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
            prepare(copy)
            (copy / "complete").touch()
    return copy


_NOT_COPIED = {"node_modules", "dist"}


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """Serves a folder, as an origin of its own; the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""
