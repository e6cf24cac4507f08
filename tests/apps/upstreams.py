"""The app servers that a corpus is sent to. Each writes down what it receives, as one line of JSON for a request:

    {"method", "target", "fields": {name: [value, …]}, "body", "whole"}

Names of fields are in lower case with `_` read as `-`, as an app reads them; bytes are Latin-1; `whole` is whether the
body came to its end.
"""

import json
import os
import sys
from pathlib import Path

from deployment import HERE, Process, accepts, free_port

RECORDERS = HERE / "corpus"

_PYTHON = [sys.executable, "-m"]
_GUNICORN = [*_PYTHON, "gunicorn", "record_wsgi", "--no-control-socket", "--log-level", "error", "--bind", "127.0.0.1:PORT"]
_UVICORN = [*_PYTHON, "uvicorn", "record_asgi:application", "--no-access-log", "--port", "PORT", "--http"]

# Each with its command and Sidestream's word for its kind.
SERVERS = {
    "gunicorn sync": ([*_GUNICORN, "--worker-class", "sync"], "wsgi"),
    "gunicorn gthread": ([*_GUNICORN, "--worker-class", "gthread", "--threads", "4"], "wsgi"),
    "uvicorn h11": ([*_UVICORN, "h11"], "asgi"),
    "uvicorn httptools": ([*_UVICORN, "httptools"], "asgi"),
    "hypercorn": ([*_PYTHON, "hypercorn", "record_asgi:application", "--bind", "127.0.0.1:PORT"], "asgi"),
    "daphne": ([*_PYTHON, "daphne", "--verbosity", "0", "--port", "PORT", "record_asgi:application"], "asgi"),
    "node": (["node", "record_node.mjs", "PORT"], "node"),
}


class Upstream:
    """A running recorder."""

    def __init__(self, name: str, folder: Path) -> None:
        command, self.kind = SERVERS[name]
        self.name = name
        self.port = free_port()
        slug = name.replace(" ", "-")
        self._record = folder / f"{slug}.record"
        self._record.touch()
        self._read = 0
        environment = {**os.environ, "RECORD": str(self._record), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [part.replace("PORT", str(self.port)) for part in command]
        self.process = Process(command, folder / f"{slug}.log", cwd=RECORDERS, env=environment)

    def wait(self) -> None:
        """Waits until it accepts."""
        self.process.wait_until(lambda: accepts(("127.0.0.1", self.port)), f"{self.name} accepts")

    def new_records(self) -> list[dict]:
        """What it has received since it was asked last."""
        with self._record.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        self._read += len(lines)
        return [json.loads(line) for line in lines.splitlines()]
