"""Notifications from the app to its users' pages, through Sidestream. Nothing but the standard library and Django."""

import json
import socket
import time

from django.conf import settings
from django.db import transaction

TIMEOUT = 2.0  # seconds that Sidestream may take to answer


def add_notification(user_id, message):
    """Tells a user something, as soon as what it tells of is committed.

    Never raises: when Sidestream can't be reached, Django logs why, and the request goes on.
    """
    notification = {"id": time.time_ns() // 1_000_000, "message": message}
    transaction.on_commit(lambda: _publish({"user": user_id, "data": notification}), robust=True)


def _publish(publication):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(settings.SIDESTREAM_SOCKET))
        connection.sendall(json.dumps(publication).encode() + b"\n")
        answer = connection.makefile("rb").readline()
    if not answer.endswith(b"\n"):
        raise ConnectionError("Sidestream closed the connection before it answered")
    answer = json.loads(answer)
    if "error" in answer:
        raise ValueError(answer.get("message", answer["error"]))
