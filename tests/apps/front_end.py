"""Front ends of the examples that Vite builds, served as a web server would, from an origin of their own."""

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from example import BUILD, packages

_NOT_BUILT = {"node_modules", "dist"}


def vite_build(front_end: Path) -> Path:
    """The folder of a built page; built anew when one of its files has changed."""
    folder = packages(front_end)
    files = sorted(path for path in front_end.rglob("*") if path.is_file() and not _NOT_BUILT & set(path.parts))
    state = hashlib.sha256(b"".join(str(file.relative_to(front_end)).encode() + file.read_bytes() for file in files))
    built = folder / f"build-{state.hexdigest()[:16]}"  # beside node_modules, where Node looks for them
    with (folder / "build.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (built / "complete").exists():
            shutil.rmtree(built, ignore_errors=True)
            shutil.copytree(front_end, built, ignore=shutil.ignore_patterns(*_NOT_BUILT))
            command = [str(folder / "node_modules/.bin/vite"), "build"]
            done = subprocess.run(command, cwd=built, capture_output=True, text=True, timeout=BUILD)
            assert done.returncode == 0, done.stdout + done.stderr
            (built / "complete").touch()
    return built / "dist"


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """Serves a folder; the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""
