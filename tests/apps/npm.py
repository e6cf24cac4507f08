"""Where tests/all has put the packages of the apps that run on Node."""

import hashlib
import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sidestream-tests"


def packages(app: Path) -> Path:
    """The folder with the node_modules that belong to an app's lockfile. tests/all names it in the same way."""
    lock = (app / "package-lock.json").read_bytes() + (app / "package.json").read_bytes()
    folder = CACHE / f"npm-{hashlib.sha256(lock).hexdigest()[:16]}"
    assert (folder / "complete").exists(), f"run tests/all, or `npm ci` with {app}/package*.json in {folder}"
    return folder
