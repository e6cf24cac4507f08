"""Notifications from the app to its users' pages, through Sidestream. Nothing but the standard library and Django."""

import json
import secrets
import socket
import time

from django.conf import settings
from django.db import transaction

TIMEOUT = 2.0  # seconds that Sidestream may take to answer
PATIENCE = 2.0  # seconds for which it is tried again, so that a restart of Sidestream loses nothing


def add_notification(user_id, message):
    """Tells a user something, as soon as what it tells of is committed.

    Never raises: when Sidestream can't be reached for long, Django logs why, and the request goes on.
    """
    notification = {"id": time.time_ns() // 1_000_000, "message": message}
    transaction.on_commit(lambda: _publish({"user": user_id, "data": notification}), robust=True)


def _publish(publication):
    # The key makes one notification of what was handed in twice.
    line = json.dumps({**publication, "key": secrets.token_hex(16)}).encode() + b"\n"
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return _hand_in(line)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _hand_in(line):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(settings.SIDESTREAM_SOCKET))
        connection.sendall(line)
        answer = connection.makefile("rb").readline()
    if not answer.endswith(b"\n"):
        raise ConnectionError("Sidestream closed the connection before it answered")
    answer = json.loads(answer)
    if "error" in answer:
        raise ValueError(answer.get("message", answer["error"]))
