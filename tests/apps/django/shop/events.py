"""Events from a Python app to its users' browsers, through Sidestream. Standard library only: copy this file into your app.

    transaction.on_commit(lambda: publish(user=42, event="notification", data={"title": "hi"}), robust=True)

Environment: SIDESTREAM_SOCKET is [publish] socket, SIDESTREAM_SECRET the [auth] secret of sidestream.toml.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import time


class PublishError(Exception):
    """The event was not accepted; says why in Sidestream's words."""


def publish(*, timeout: float = 2.0, **publication) -> dict:
    """Hands one event to Sidestream and returns its reply: {"id": "k3f9q-118", "delivered": 3}.

    Takes `user`, `users`, `channel` or `channels`, and optionally `event`, `data`, `ttl`, `key`, `collapse`.
    Raises PublishError when Sidestream refuses it, OSError when it can't be reached within `timeout` seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(os.environ["SIDESTREAM_SOCKET"])
        connection.sendall(json.dumps(publication).encode() + b"\n")
        line = connection.makefile("rb").readline()
    if not line.endswith(b"\n"):
        raise PublishError("Sidestream closed the connection before it answered")
    reply = json.loads(line)
    if "error" in reply:
        raise PublishError(reply.get("message", reply["error"]))
    return reply


def stream_token(user: object, lifetime: int = 3600) -> str:
    """A token (JWT, HS256) with which the browser of `user` opens the stream; good for `lifetime` seconds."""
    if user is None:
        raise ValueError("nobody is signed in, so there is nobody to make a token for")
    header = _encode(b'{"alg":"HS256","typ":"JWT"}')
    claims = _encode(json.dumps({"sub": str(user), "exp": int(time.time()) + lifetime}).encode())
    signature = hmac.digest(os.environ["SIDESTREAM_SECRET"].encode(), header + b"." + claims, hashlib.sha256)
    return b".".join([header, claims, _encode(signature)]).decode()


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
