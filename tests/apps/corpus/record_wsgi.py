"""A WSGI app that writes down each request as it was given it: a line of JSON in the file RECORD, and the same as answer."""

import json
import os

_RECORD = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND)


def application(environ, start_response):
    """A record has the form that `upstreams.py` describes."""
    try:
        body = environ["wsgi.input"].read()
        whole = len(body) == int(environ.get("CONTENT_LENGTH") or len(body))
    except Exception:  # whatever the server calls a body that breaks off
        body, whole = b"", False
    fields = {name[5:].replace("_", "-").lower(): [value] for name, value in environ.items() if name.startswith("HTTP_")}
    fields |= {name.replace("_", "-").lower(): [environ[name]] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in environ}
    if environ.get("SCRIPT_NAME"):
        fields["script-name"] = [environ["SCRIPT_NAME"]]
    target = environ["RAW_URI"]
    record = {"method": environ["REQUEST_METHOD"], "target": target, "fields": fields, "whole": whole}
    line = json.dumps(record | {"body": body.decode("latin-1")}).encode() + b"\n"
    os.write(_RECORD, line)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(line)))])
    return [line]
