"""An ASGI app that writes down each request as it was given it: a line of JSON in the file RECORD, and the same as answer."""

import json
import os

_RECORD = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND)


async def application(scope, receive, send):
    """A record has the form that `upstreams.py` describes. A WebSocket is a GET that is refused."""
    if scope["type"] not in ("http", "websocket"):
        return
    fields: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        fields.setdefault(name.decode("latin-1").replace("_", "-").lower(), []).append(value.decode("latin-1"))
    query = scope["query_string"]
    target = (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
    body, whole = b"", True
    if scope["type"] == "http":
        body, whole = await _body(receive)
        whole = whole and len(body) == int(dict(scope["headers"]).get(b"content-length", len(body)))
    record = {"method": scope.get("method", "GET"), "target": target, "fields": fields, "whole": whole}
    line = json.dumps(record | {"body": body.decode("latin-1")}).encode() + b"\n"
    os.write(_RECORD, line)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(line)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": line})


async def _body(receive) -> tuple[bytes, bool]:
    """What came of a body, and whether that was all of it."""
    body = b""
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return body, False
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body, True
